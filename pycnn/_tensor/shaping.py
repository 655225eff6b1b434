"""Shapes: splitting and joining, diagonals and triangles, rolling and repeating."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, dimensions, everywhere, function, method, normalized


def _each(f: Any, tensors: tuple[Any, ...]) -> Any:
    if len(tensors) == 1:
        return f(tensors[0]) if isinstance(tensors[0], Tensor) else tuple(f(t) for t in tensors[0])
    return tuple(f(t) for t in tensors)


@function
def atleast_1d(*tensors: Any) -> Any:
    """Tensors (given one by one or as a sequence) with shape () made (1,).

    Arguments and errors as in PyTorch.
    """
    return _each(lambda t: t.reshape(1) if t.dim() == 0 else t, tensors)


@function
def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dimensions, added in front of the shape.

    Arguments and errors as in PyTorch.
    """
    return _each(lambda t: t.reshape(1, 1) if t.dim() == 0 else t.unsqueeze(0) if t.dim() == 1 else t, tensors)


@function
def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dimensions: shape () becomes (1, 1, 1), (N,) becomes (1, N, 1), (M, N) becomes
    (M, N, 1).

    Arguments and errors as in PyTorch.
    """

    def at_least(t: Tensor) -> Tensor:
        return t.reshape(1, 1, 1) if t.dim() == 0 else t[None, :, None] if t.dim() == 1 else t[..., None]

    return _each(lambda t: at_least(t) if t.dim() < 3 else t, tensors)


@function
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Vectors of shape (N,) as columns and matrices side by side.

    Arguments and errors as in `cat`.
    """
    return _core.cat([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in tensors], 1)


@function
def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of any shape one below the other: see `vstack`.

    Arguments and errors as in PyTorch.
    """
    return _core.vstack(tensors)


@function
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of any shape behind each other, along dimension 2.

    Arguments and errors as in `cat`.
    """
    if not tensors:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return _core.cat([atleast_3d(t) for t in tensors], 2)


@both
def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: int | None = None
) -> tuple[Tensor, ...]:
    """Views along dim, of shapes as equal as can be (an int) or cut at these indices.

    Arguments and errors as in PyTorch.
    """
    cuts: Any = next((x for x in (indices_or_sections, indices, sections) if x is not None), None)
    if isinstance(cuts, Tensor):
        cuts = cuts.tolist()
    if input.dim() == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    along = normalized(dim, input.dim())
    size = input.shape[along]
    if isinstance(cuts, int):
        if cuts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cuts}")
        small, extra = divmod(size, cuts)
        cuts = list(itertools.accumulate([small + (i < extra) for i in range(cuts)]))[:-1]
    bounds = list(zip([0, *cuts], [*cuts, size], strict=True))
    return tuple(input[(slice(None),) * along + (slice(a, b),)] for a, b in bounds)


def _split_at(input: Tensor, indices_or_sections: Any, dim: int, name: str, least: int) -> tuple[Tensor, ...]:
    if input.dim() < least:
        raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with "
                           f"{input.dim()} dimensions!")  # fmt: skip
    sections = indices_or_sections
    if isinstance(sections, int) and (sections <= 0 or input.shape[dim] % sections != 0):
        raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension "
                           f"{input.shape[dim]} is not divisible by the split_size {sections}!")  # fmt: skip
    return tensor_split(input, sections, dim)


@both
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views cut along dimension 1 (0 for shape (N,)).

    Arguments and errors as in `tensor_split`.
    """
    return _split_at(input, indices_or_sections, 0 if input.dim() == 1 else 1, "hsplit", 1)


@both
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views cut along dimension 0, of any shape.

    Arguments and errors as in `tensor_split`.
    """
    return _split_at(input, indices_or_sections, 0, "vsplit", 2)


@both
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Views cut along dimension 2, of any shape.

    Arguments and errors as in `tensor_split`.
    """
    return _split_at(input, indices_or_sections, 2, "dsplit", 3)


@both
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of these sizes along dim.

    Arguments, shapes and errors as in `split`.
    """
    return _core.split(input, list(split_sizes), dim)


@both
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """PyTorch gives views that in-place changes of tensors may invalidate; here it is the plain function.

    Arguments, shapes and errors as in `chunk`.
    """
    return _core.chunk(input, chunks, dim)


@both
def unsafe_split(tensor: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """PyTorch gives views that in-place changes of tensors may invalidate; here it is the plain function.

    Arguments, shapes and errors as in `split`.
    """
    return _core.split(tensor, split_size, dim)


@both
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal `offset` places right of the main one, dim1 and dim2 replaced by a last dimension: of a
    contiguous matrix a view.

    Arguments, shapes and errors as in PyTorch.
    """
    first, second = normalized(dim1, input.dim()), normalized(dim2, input.dim())
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    moved = input.movedim((first, second), (-2, -1))
    rows, columns = moved.shape[-2:]
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    if count == 0:
        return moved[..., 0][..., :0] if columns else moved.reshape(*moved.shape[:-2], 0)
    start = offset if offset >= 0 else -offset * columns
    flat = moved.reshape(*moved.shape[:-2], rows * columns)
    return flat[..., start : start + (count - 1) * (columns + 1) + 1 : columns + 1]


@both
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension as the diagonal `offset` of square matrices in dimensions dim1 and dim2, zeros
    elsewhere.

    Arguments, shapes and errors as in PyTorch.
    """
    first, second = normalized(dim1, input.dim() + 1), normalized(dim2, input.dim() + 1)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    count = input.shape[-1]
    size = count + abs(offset)
    start = offset if offset >= 0 else -offset * size
    lead = list(input.shape[:-1])
    spread = _core.cat([input.unsqueeze(-1), _core.zeros([*input.shape, size], dtype=input.dtype)], -1)
    flat = spread.reshape([*lead, count * (size + 1)])
    parts = [_core.zeros([*lead, start], dtype=input.dtype), flat]
    missing = size * size - start - count * (size + 1)
    if missing > 0:
        parts.append(_core.zeros([*lead, missing], dtype=input.dtype))
    square = _core.cat(parts, -1)[..., : size * size].reshape([*lead, size, size])
    return square.movedim((-2, -1), (first, second))


@both
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A square matrix with this diagonal for shape (N,), the diagonal of a matrix.

    Arguments and errors as in PyTorch.
    """
    if input.dim() == 1:
        return diag_embed(input, diagonal)
    if input.dim() != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")
    return _diagonal(input, diagonal).clone()


_diagonal = diagonal


@both
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A square matrix with all elements, of any shape, on the diagonal `offset`.

    Arguments and errors as in `diag_embed`.
    """
    return diag_embed(input.reshape(-1), offset)


@both
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal, of shape ().

    Errors: RuntimeError for other ranks.
    Arguments as in PyTorch.
    """
    if input.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.dim()}")
    if input.dtype is _core.bool:
        raise NotImplementedError("trace: not implemented for 'Bool'")
    return diagonal(input).sum()


@method
def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """The main diagonal of self takes the value, in place.

    Arguments, shapes and errors as in PyTorch.
    """
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(math.prod(self.shape[d + 1 :]) for d in range(self.dim()))
    end = self.numel() if wrap or self.dim() > 2 else min(self.shape[1] * self.shape[1], self.numel())
    places = _core.arange(self.numel()).reshape(self.shape)
    chosen = (places % step == 0) & (places < end)
    return self.masked_fill_(chosen, fill_value)


@function
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one, zeros elsewhere.

    Arguments, shapes and errors as in PyTorch.
    """
    blocks = [atleast_2d(t) for t in tensors]
    if any(b.dim() > 2 for b in blocks):
        raise RuntimeError("torch.block_diag: Input tensors must have 2 or fewer dimensions.")
    width = sum(b.shape[1] for b in blocks)
    dtype = _core.float32
    for i, b in enumerate(blocks):
        dtype = b.dtype if i == 0 else _core.promote_types(dtype, b.dtype)
    rows, before = [], 0
    for b in blocks:
        after = width - before - b.shape[1]
        zeros = [_core.zeros(b.shape[0], n, dtype=dtype) for n in (before, after)]
        rows.append(_core.cat([zeros[0], b.to(dtype), zeros[1]], 1))
        before += b.shape[1]
    return _core.cat(rows, 0) if rows else _core.zeros(1, 0)


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.dim() < 2:
        name = "tril" if lower else "triu"
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    rows, columns = _core.arange(input.shape[-2]).unsqueeze(1), _core.arange(input.shape[-1])
    distance = columns - rows
    kept = distance <= diagonal if lower else distance >= diagonal
    return _core.where(kept, input, _core.zeros([], dtype=input.dtype))


@everywhere
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices, of shape (..., M, N), with zeros above the diagonal.

    Arguments and errors as in PyTorch.
    """
    return _triangle(input, diagonal, True)


@everywhere
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices, of shape (..., M, N), with zeros below the diagonal.

    Arguments and errors as in PyTorch.
    """
    return _triangle(input, diagonal, False)


@both
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved on by `shifts` along `dims`, from the end to the start; without dims as if flat.

    Arguments, shapes and errors as in PyTorch.
    """
    amounts = [shifts] if isinstance(shifts, int) else list(shifts)
    if not amounts:
        raise RuntimeError("`shifts` required")
    along = [] if dims is None else [dims] if isinstance(dims, int) else list(dims)
    if not along:
        if len(amounts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:0")
        return roll(input.reshape(-1), amounts, 0).reshape(input.shape)
    if len(amounts) != len(along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(amounts)}, dims:{len(along)}")
    if input.dim() == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    result = input.clone()
    for amount, dim in zip(amounts, along, strict=True):
        d = normalized(dim, input.dim())
        size = input.shape[d] if input.dim() else 1
        if size > 1 and amount % size:
            cut = size - amount % size
            result = _core.cat([result.narrow(d, cut, size - cut), result.narrow(d, 0, cut)], d)
    return result


@both
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Rotated by k quarter turns from the first to the second of dims.

    Arguments, shapes and errors as in PyTorch.
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.dim()}")
    a, b = (normalized(d, input.dim()) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    if k % 4 == 0:
        return input.clone()
    if k % 4 == 2:
        return input.flip((a, b))
    return input.flip(b).transpose(a, b) if k % 4 == 1 else input.transpose(a, b).flip(b)


@both
def fliplr(input: Tensor) -> Tensor:
    """Dimension 1 reversed, any shape of two or more dimensions.

    Errors: RuntimeError for fewer.
    Arguments as in PyTorch.
    """
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return input.flip(1)


@both
def flipud(input: Tensor) -> Tensor:
    """Dimension 0 reversed, any shape of one or more dimensions.

    Errors: RuntimeError for fewer.
    Arguments as in PyTorch.
    """
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return input.flip(0)


@both
def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: Any = None) -> Tensor:
    """Every element along dim (of all, flat, for None) `repeats` times, which may differ.

    Arguments, shapes and errors as in PyTorch.
    """
    if repeats is None:
        if input.dim() != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        return _repeated_places(input, output_size)
    if not isinstance(repeats, Tensor) and type(repeats) is not int and not isinstance(repeats, np.integer):
        raise TypeError(f"repeat_interleave(): argument 'repeats' must be Tensor or int, not {type(repeats).__name__}")
    source, along = (input.reshape(-1), 0) if dim is None else (input, normalized(dim, input.dim()))
    if source.dim() == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    size = source.shape[along]
    if isinstance(repeats, Tensor):
        _check_counts(repeats)
    if not isinstance(repeats, Tensor) or repeats.numel() == 1:
        times = int(repeats)
        if times < 0:
            raise RuntimeError("Repeats must be non-negative")
        _check_output_size(size * times, output_size)
        shape = list(source.shape)
        shape.insert(along + 1, times)
        return source.unsqueeze(along + 1).expand(shape).flatten(along, along + 1).clone()
    if repeats.dim() != 1 or repeats.numel() != size:
        raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = "
                           f"{repeats.numel()} and input.size({along}) = {size}")  # fmt: skip
    return source.index_select(along, _repeated_places(repeats, output_size))


def _check_counts(counts: Tensor) -> None:
    if counts.dtype not in (_core.int64, _core.int32):
        raise NotImplementedError(f"repeat_interleave: not implemented for repeats of {counts.dtype}")
    if counts.dim() > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")


def _check_output_size(size: int, expected: int | None) -> None:
    if expected is not None and expected != size:
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {size} but got {expected}")


def _repeated_places(counts: Tensor, output_size: int | None) -> Tensor:
    _check_counts(counts)
    if bool((counts < 0).any()):
        raise RuntimeError("repeats can not be negative")
    ends = counts.cumsum(0)
    total = int(ends[-1]) if counts.numel() else 0
    _check_output_size(total, output_size)
    return _core._searchsorted(ends, _core.arange(total), True)


@function
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Grids of coordinates from vectors of shape (N,) each; indexing "ij" or "xy" (the first two dimensions
    exchanged).

    Arguments and errors as in PyTorch.
    """
    axes = list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else list(tensors)
    if not axes:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if any(a.dim() > 1 for a in axes):
        raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list")
    if any(a.dtype is not axes[0].dtype for a in axes):
        raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    swapped = indexing == "xy" and len(axes) >= 2
    if swapped:
        axes[0], axes[1] = axes[1], axes[0]
    shape = [a.numel() for a in axes]
    grids = [a.reshape([-1 if i == d else 1 for i in range(len(axes))]).expand(shape) for d, a in enumerate(axes)]
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@function
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, of shape (count, len(tensors)).

    Arguments and errors as in PyTorch.
    """
    if any(t.dim() != 1 for t in tensors):
        raise RuntimeError("Expect a 1D vector")
    if len(tensors) == 1:
        return tensors[0]
    return _core.stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


@function
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, of shape (count, r).

    Arguments and errors as in PyTorch.
    """
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = list(choose(range(input.numel()), r))
    if not places or r == 0:
        return input[:0] if r == 0 else input[:0].reshape(0, 1).expand(0, r)
    return input[_core.tensor(places)]


@both
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, shape (..., N, M): see `transpose`.

    Arguments and errors as in PyTorch.
    """
    if input.dim() == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return input.transpose(-2, -1) if input.dim() else input


@function
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Coordinates in a tensor of `shape` of flat indices, one tensor per dimension.

    Arguments and errors as in PyTorch.
    """
    sizes = [shape] if isinstance(shape, int) else list(shape)
    found = []
    for size in reversed(sizes):
        found.append(indices % size)
        indices = indices // size
    return tuple(reversed(found))


@everywhere
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along dim scaled down to a p-norm of maxnorm.

    Arguments, shapes and errors as in PyTorch.
    """
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions")
    d = normalized(dim, input.dim())
    if p <= 0:
        raise RuntimeError("non-positive-norm not supported")
    others = [i for i in dimensions(None, input.dim()) if i != d]
    norms = input.norm(p, others, keepdim=True)
    return input * _core.where(norms > maxnorm, maxnorm / (norms + 1e-7), _core.ones_like(norms))
