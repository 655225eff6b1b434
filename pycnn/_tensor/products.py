"""Products of vectors, matrices and tensors."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, broadcast, everywhere, function, normalized
from pycnn._tensor.shaping import diagonal


def _subscripts(given: str, rank: int, ellipsis_rank: list[int]) -> list[str]:
    """The labels of one operand, "..." as labels of its own counted from the right."""
    before, dots, after = given.partition("...")
    if "." in before + after:
        raise RuntimeError("einsum(): found '.' for operand that is not part of any ellipsis")
    for label in before + after:
        if label not in string.ascii_letters:
            raise RuntimeError(f"einsum(): invalid subscript given, subscripts must be in [a-zA-Z], got {label}")
    covered = rank - len(before) - len(after)
    if covered < 0 or (covered > 0 and not dots):
        raise RuntimeError(f"einsum(): the number of subscripts in the equation ({len(before + after)}) does not match "
                           f"the number of dimensions ({rank}) for an operand and no ellipsis was given")  # fmt: skip
    if dots:
        ellipsis_rank[0] = max(ellipsis_rank[0], covered)
    return [*before, *([f"...{i}" for i in reversed(range(covered))] if dots else []), *after]


def _without_repetition(tensor: Tensor, labels: list[str]) -> tuple[Tensor, list[str]]:
    """Diagonals in place of labels that occur twice."""
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if tensor.shape[first] != tensor.shape[second]:
                raise RuntimeError(f"einsum(): subscript {label} is repeated for an operand but the sizes don't match, "
                                   f"{tensor.shape[second]} != {tensor.shape[first]}")  # fmt: skip
            tensor = diagonal(tensor, 0, first, second)
            labels = [x for i, x in enumerate(labels) if i not in (first, second)] + [label]
    return tensor, labels


def _contracted(a: Tensor, left: list[str], b: Tensor, right: list[str], kept: set[str]) -> tuple[Tensor, list[str]]:
    """One matrix product over the labels of both that nothing else needs."""
    only_left = [x for x in left if x not in right and x not in kept]
    only_right = [x for x in right if x not in left and x not in kept]
    for name, tensor_labels in ((only_left, left), (only_right, right)):
        if name:
            places = [tensor_labels.index(x) for x in name]
            if tensor_labels is left:
                a = a.sum(places)
            else:
                b = b.sum(places)
    left = [x for x in left if x not in only_left]
    right = [x for x in right if x not in only_right]
    shared = [x for x in left if x in right]
    # What is broadcast is summed on the side that has it.
    for label in [x for x in shared if x not in kept]:
        i, j = left.index(label), right.index(label)
        if a.shape[i] != b.shape[j]:
            if a.shape[i] == 1:
                a, b = a.squeeze(i), b.sum(j)
            else:
                a, b = a.sum(i), b.squeeze(j)
            left, right = [x for x in left if x != label], [x for x in right if x != label]
    shared = [x for x in left if x in right]
    summed = [x for x in shared if x not in kept]
    batch = [x for x in shared if x in kept]
    rows, columns = [x for x in left if x not in shared], [x for x in right if x not in shared]
    a = a.permute([left.index(x) for x in [*batch, *rows, *summed]])
    b = b.permute([right.index(x) for x in [*batch, *summed, *columns]])
    m, n, k = len(batch), len(rows), len(columns)
    sizes = [
        *broadcast(a.shape[:m], b.shape[:m]),
        *a.shape[m : m + n],
        *b.shape[b.dim() - k :],
    ]
    inner = math.prod(a.shape[m + n :])
    a = a.reshape([*a.shape[:m], math.prod(a.shape[m : m + n]), inner])
    b = b.reshape([*b.shape[:m], inner, math.prod(b.shape[b.dim() - k :])])
    return (a @ b).reshape(sizes), [*batch, *rows, *columns]


@function
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products after Einstein: "ij,jk->ik". Operands one by one, as a sequence, or each followed by its
    list of subscripts. Repeated labels take diagonals, "..." broadcasts.

    Arguments, shapes and errors as in PyTorch.
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_lists((equation, *operands))
    if len(operands) == 1 and not isinstance(operands[0], Tensor):
        operands = tuple(operands[0])
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not operands:
        raise RuntimeError("einsum(): must provide at least one operand")
    if len(terms) != len(operands):
        more = "more" if len(terms) < len(operands) else "fewer"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    widest = [0]
    labels = [_subscripts(term, t.dim(), widest) for term, t in zip(terms, operands, strict=True)]
    dots = [f"...{i}" for i in reversed(range(widest[0]))]
    if arrow:
        before, has_dots, after = output.partition("...")
        result = [*before, *(dots if has_dots else []), *after]
        known = {x for each in labels for x in each}
        for label in before + after:
            if label not in known:
                raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input "
                                   f"operand")  # fmt: skip
            if result.count(label) > 1:
                raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    else:
        letters = [x for term in terms for x in term if x in string.ascii_letters]
        result = [*dots, *sorted(x for x in set(letters) if letters.count(x) == 1)]
    sizes: dict[str, int] = {}
    for t, each in zip(operands, labels, strict=True):
        for label, size in zip(each, t.shape, strict=True):
            if size != 1 and sizes.get(label, 1) not in (1, size):
                raise RuntimeError(f"einsum(): subscript {label} has size {size} for operand which does not broadcast "
                                   f"with previously seen size {sizes[label]}")  # fmt: skip
            sizes[label] = max(sizes.get(label, 1), size) if size != 0 else 0
    parts = [_without_repetition(t, each) for t, each in zip(operands, labels, strict=True)]
    total, found = parts[0]
    for i, (tensor, each) in enumerate(parts[1:], 2):
        kept = {*result, *(x for _, others in parts[i:] for x in others)}
        total, found = _contracted(total, found, tensor, each, kept)
    summed = [i for i, x in enumerate(found) if x not in result]
    if summed:
        total = total.sum(summed)
        found = [x for x in found if x in result]
    return total.permute([found.index(x) for x in result]) if found else total


def _from_lists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The form einsum(tensor, [0, 1], tensor, [1, 2], [0, 2])."""

    def text(subscripts: Any) -> str:
        return "".join("..." if s is Ellipsis else string.ascii_letters[s] for s in subscripts)

    count = len(arguments) // 2
    equation = ",".join(text(arguments[2 * i + 1]) for i in range(count))
    if len(arguments) % 2:
        equation += "->" + text(arguments[-1])
    return equation, tuple(arguments[2 * i] for i in range(count))


@function
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over the last `dims` dimensions of a and the first of b, or over two lists of
    dimensions.

    Arguments, shapes and errors as in PyTorch.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
        left, right = [normalized(d, a.dim()) for d in left], [normalized(d, b.dim()) for d in right]
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j] and 1 not in (a.shape[i], b.shape[j]):
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and "
                               f"second has size {b.shape[j]} in dim {j}")  # fmt: skip
    names = string.ascii_letters
    first = list(names[: a.dim()])
    second = list(names[a.dim() : a.dim() + b.dim()])
    for i, j in zip(left, right, strict=True):
        second[j] = first[i]
    result = [x for i, x in enumerate(first) if i not in left] + [x for j, x in enumerate(second) if j not in right]
    return einsum(f"{''.join(first)},{''.join(second)}->{''.join(result)}", a, b)


@both
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product, of shape (a_i * b_i, ...).

    Arguments and errors as in PyTorch.
    """
    rank = max(input.dim(), other.dim())
    left = [1] * (rank - input.dim()) + list(input.shape)
    right = [1] * (rank - other.dim()) + list(other.shape)
    a = input.reshape([n for size in left for n in (size, 1)])
    b = other.reshape([n for size in right for n in (1, size)])
    return (a * b).reshape([x * y for x, y in zip(left, right, strict=True)])


@both
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dimensions, of shape (*input.shape[:-1], *other.shape[:-1]).

    Arguments and errors as in PyTorch.
    """
    if input.dim() == 0 or other.dim() == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes "
                           f"{list(input.shape)} and {list(other.shape)}")  # fmt: skip
    return tensordot(input, other, ([-1], [-1]))


@both
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors, of shape (N, M): see `outer`.

    Arguments and errors as in PyTorch.
    """
    return _core.outer(input, vec2)


@both
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products of two vectors, of shape (): see `dot`.

    Arguments and errors as in PyTorch.
    """
    return _core.dot(input, other)


@both
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors along dim (without it: the first dimension of size 3).

    Arguments, shapes and errors as in PyTorch.
    """
    shape = broadcast(input.shape, other.shape)
    if dim is None:
        threes = [i for i, n in enumerate(shape) if n == 3]
        if not threes:
            raise RuntimeError("no dimension of size 3 in input")
        d = threes[0]
    else:
        d = normalized(dim, len(shape))
    a, b = input.expand(shape), other.expand(shape)
    if shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {d} must have length 3. Got {a.shape[d]} and {b.shape[d]}")

    def rolled(t: Tensor, first: int) -> Tensor:
        return _core.cat([t.narrow(d, first, 3 - first), t.narrow(d, 0, first)], d)

    return rolled(a, 1) * rolled(b, 2) - rolled(a, 2) * rolled(b, 1)


def _whole(number: float, dtype: Any) -> float:
    """A factor of integers is an integer, too."""
    return number if dtype.is_floating_point else int(number)


def _scaled_sum(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    if product.dtype is _core.bool:
        kept = product & bool(alpha)
        return kept | input if beta else kept | _core.zeros_like(input)
    alpha, beta = _whole(alpha, product.dtype), _whole(beta, product.dtype)
    scaled = product if alpha == 1 else product * alpha
    # With beta 0 not even NaN in input counts.
    if beta == 0:
        return scaled + _core.zeros_like(input)
    return scaled + (input if beta == 1 else input * beta)


@everywhere
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha batch1 @ batch2, of shape (B, N, M).

    Arguments and errors as in `bmm`.
    """
    return _scaled_sum(input, _core.bmm(batch1, batch2), beta, alpha)


@everywhere
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha (batch1 @ batch2).sum(0), of shape (N, M).

    Arguments and errors as in `bmm`.
    """
    if batch1.dim() != 3 or batch2.dim() != 3 or batch1.shape[::2] != (batch2.shape[0], batch2.shape[1]):
        raise RuntimeError(f"addbmm: expected batches of matrices that fit, got shapes {list(batch1.shape)} and "
                           f"{list(batch2.shape)}")  # fmt: skip
    batches, rows, inner = batch1.shape
    joined = batch1.movedim(0, 1).reshape(rows, batches * inner)
    return _scaled_sum(input, joined @ batch2.reshape(batches * inner, batch2.shape[2]), beta, alpha)


@everywhere
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat @ vec, of shape (N,).

    Arguments and errors as in `mv`.
    """
    return _scaled_sum(input, _core.mv(mat, vec), beta, alpha)


@everywhere
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha outer(vec1, vec2), of shape (N, M).

    Arguments and errors as in `outer`.
    """
    return _scaled_sum(input, _core.outer(vec1, vec2), beta, alpha)


def _cheapest(sizes: list[int]) -> list[list[int]]:
    """Where to split the product of matrices i to j for the fewest operations; matrix i is sizes[i] by sizes[i + 1]."""
    count = len(sizes) - 1
    costs = [[0] * count for _ in range(count)]
    splits = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [(costs[i][k] + costs[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            costs[i][j], splits[i][j] = min(options)
    return splits


@function
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices in the order that takes the fewest operations, of shape (N, M).

    Arguments and errors as in `matmul`.
    """
    for left, right in zip(matrices, matrices[1:], strict=False):
        if left.dim() != 2 or right.dim() != 2 or left.shape[1] != right.shape[0]:
            raise RuntimeError(f"chain_matmul: shapes {list(left.shape)} and {list(right.shape)} cannot be multiplied")
    splits = _cheapest([matrices[0].shape[0], *(m.shape[1] for m in matrices)])

    def product(i: int, j: int) -> Tensor:
        return matrices[i] if i == j else product(i, splits[i][j]) @ product(splits[i][j] + 1, j)

    return product(0, len(matrices) - 1)


@both
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices of shape (..., N, N) to an integer power; a negative one is that of their inverses.

    Arguments and errors as in PyTorch.
    """
    if input.dim() < 2:
        raise RuntimeError("linalg.matrix_power: The input tensor A must have at least 2 dimensions.")
    if input.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"linalg.matrix_power: A must be batches of square matrices, but they are "
                           f"{input.shape[-2]} by {input.shape[-1]} matrices")  # fmt: skip
    if n < 0:
        return matrix_power(_core._inverse(input), -n)
    result = _core.eye(input.shape[-1], dtype=input.dtype).expand(input.shape)
    square = input
    while n:
        result = result @ square if n % 2 else result
        square, n = square @ square if n > 1 else square, n // 2
    return result


_COMPUTE_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist",
)  # fmt: skip


@function
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """The p-norm distances of all pairs of rows: (..., P, M) and (..., R, M) give (..., P, R).

    2-norms come from one matrix product, which loses digits where rows are near, if `compute_mode` is
    "use_mm_for_euclid_dist", and with more than 25 rows on a side unless it is "donot_use_mm_for_euclid_dist".

    Arguments and errors as in PyTorch.
    """
    if compute_mode not in (None, *_COMPUTE_MODES):
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x.is_floating_point():
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {x.dtype}")
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if x1.shape[-1] == 0:
        return (x1.sum(-1).unsqueeze(-1) + x2.sum(-1).unsqueeze(-2)) * 0
    mode = _COMPUTE_MODES.index(compute_mode or _COMPUTE_MODES[0])
    many = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and (mode == 1 or (mode == 0 and many)):
        return _euclidean_distances(x1, x2)
    return (x1.unsqueeze(-2) - x2.unsqueeze(-3)).norm(p, -1)


def _euclidean_distances(x1: Tensor, x2: Tensor) -> Tensor:
    """Through one matrix product: |x|² - 2xy + |y|²."""
    squares = (x1 * x1).sum(-1, keepdim=True) + (x2 * x2).sum(-1).unsqueeze(-2) - 2 * (x1 @ x2.transpose(-2, -1))
    apart = squares > 0
    return _core.where(apart, _core.where(apart, squares, 1).sqrt(), _core.where(squares.isnan(), squares, 0))


@function
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances of all pairs of a matrix's rows, of shape (N (N - 1) / 2,).

    Arguments and errors as in PyTorch.
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    places = _core.arange(input.shape[0], device=input.device)
    rows, columns = (places.unsqueeze(1) < places).nonzero().unbind(1)
    return (input.index_select(0, rows) - input.index_select(0, columns)).norm(p, -1)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices (the first and last may be vectors), of shape (N, M). Errors as in `matmul`."""
    return chain_matmul(*tensors)
