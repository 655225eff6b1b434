"""torch.linalg as far as networks need it: norms, products, determinants, inverses and systems of equations."""

from __future__ import annotations

import math
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._core import matmul as matmul
from pycnn._tensor.creation import vander as _vander
from pycnn._tensor.linear_algebra import det as det
from pycnn._tensor.linear_algebra import matrix_exp as matrix_exp
from pycnn._tensor.linear_algebra import slogdet as slogdet
from pycnn._tensor.norms import matrix_norm as matrix_norm
from pycnn._tensor.norms import vector_norm as vector_norm
from pycnn._tensor.products import chain_matmul, matrix_power
from pycnn._tensor.products import cross as _cross
from pycnn._tensor.registry import broadcast as _broadcast
from pycnn._tensor.shaping import diagonal as _diagonal

# A matrix that cannot be inverted.
LinAlgError: type[RuntimeError] = vars(_core)["_LinAlgError"]

__all__ = [
    "LinAlgError",
    "cross",
    "det",
    "diagonal",
    "inv",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A norm of all elements, of vectors or of matrices.

    Args:
        A: floating, any shape.
        ord: None for the 2-norm of what `dim` spans; else as in `vector_norm` (one dimension) or `matrix_norm` (two).
        dim: one or two dimensions; None for all (with an ord, A must have one or two).
        keepdim: keep them with size 1.
        dtype: what A is converted to first.

    Errors: RuntimeError for integers or a rank that does not fit.
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is not None:
        count = 1 if isinstance(dim, int) else len(dim)
        if count not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dim}")
    else:
        count = A.dim()
        if count not in (1, 2):
            raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                               f"{count}D.")  # fmt: skip
    if count == 1:
        return vector_norm(A, ord, dim, keepdim, dtype=dtype)
    return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of size 3 along dim, shapes broadcast.

    Errors: RuntimeError if ranks or sizes do not fit.
    """
    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and "
                           f"{other.shape[dim]}")  # fmt: skip
    return _cross(input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices of shape (..., M, N), as a last dimension."""
    return _diagonal(A, offset, dim1, dim2)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0, 1, ... N - 1 of a vector's elements as columns, of shape (x.numel(), N)."""
    return _vander(x, N, True)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along dim, shapes broadcast."""
    if x.is_floating_point() and x.dim() and y.dim() and x.shape[dim] == y.shape[dim]:
        a, b = x.movedim(dim, -1), y.movedim(dim, -1)
        return (a.unsqueeze(-2) @ b.unsqueeze(-1)).squeeze(-1).squeeze(-1)
    return _core.sum(x * y, dim, dtype=_core.promote_types(x.dtype, y.dtype))


def multi_dot(tensors: Any) -> Tensor:
    """The product of two or more matrices (the first and last may be vectors) in the cheapest order.

    Errors: RuntimeError for fewer than two, or other ranks; and as in `matmul`.
    """
    matrices = list(tensors)
    if len(matrices) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(matrices)}")
    for i, matrix in enumerate(matrices):
        ends = i in (0, len(matrices) - 1)
        if matrix.dim() != 2 and not (ends and matrix.dim() == 1):
            raise RuntimeError(f"multi_dot(): tensor {i} must be {'1D or ' * ends}2D but got {matrix.dim()}D")
        if matrix.dtype is not matrices[0].dtype:
            raise RuntimeError("multi_dot(): all tensors must have be the same dtype but got different ones")
    first, last = matrices[0].dim() == 1, matrices[-1].dim() == 1
    if first:
        matrices[0] = matrices[0].unsqueeze(0)
    if last:
        matrices[-1] = matrices[-1].unsqueeze(1)
    product = chain_matmul(*matrices)
    if last:
        product = product.squeeze(1)
    return product.squeeze(0) if first else product


def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices, of shape (..., N, N). Whether there are any is looked up at the call.

    Errors: LinAlgError for a singular matrix; RuntimeError for other shapes and integers.
    """
    return _core._inverse(A)


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B unless `left`.

    Args:
        A: (..., N, N), floating.
        B: (..., N, K), leading dimensions broadcast; or vectors of shape (N,), or A's shape without the last size.
        left: on which side A stands.

    Errors: LinAlgError for a singular matrix, found at the call; RuntimeError for shapes or dtypes that do not fit.
    """
    return _core._solve(A, B, left)


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B unless `left`), where only the upper or lower triangle of A counts; with ones on its
    diagonal if `unitriangular`.

    Args:
        A: (..., N, N), floating.
        B: (..., N, K), or (..., K, N) unless `left`; leading dimensions broadcast.

    A zero on the diagonal divides: infinities and NaN, no error. Errors: RuntimeError for shapes that do not fit;
    NotImplementedError for integers.
    """
    for name, matrices in (("A", A), ("B", B)):
        if matrices.dim() < 2:
            raise RuntimeError(f"linalg.solve_triangular: The input tensor {name} must have at least 2 dimensions.")
    size, columns = A.shape[-2:]
    if size != columns:
        raise RuntimeError("linalg.solve_triangular: A must be batches of square matrices, but they are "
                           f"{size} by {columns} matrices")  # fmt: skip
    if B.shape[-2 if left else -1] != size:
        raise RuntimeError("linalg.solve_triangular: Incompatible shapes of A and B for the equation "
                           f"{'AX' if left else 'XA'} = B ({size}x{size} and {B.shape[-2]}x{B.shape[-1]})")  # fmt: skip
    if not A.is_floating_point() or not B.is_floating_point():
        raise NotImplementedError(f"linalg.solve_triangular: not implemented for {A.dtype} and {B.dtype}")
    B = B.expand([*_broadcast(A.shape[:-2], B.shape[:-2]), *B.shape[-2:]])
    if left:
        return _substitute(A, B, upper, unitriangular)
    return _substitute(A.transpose(-2, -1), B.transpose(-2, -1), not upper, unitriangular).transpose(-2, -1)


def _substitute(A: Tensor, B: Tensor, upper: bool, unitriangular: bool) -> Tensor:
    """Forward or back substitution by halves: first the unknowns that stand alone, then those that need them."""
    size = A.shape[-1]
    if size < 2:
        return B if unitriangular or size == 0 else B / A
    half = size // 2
    parts = slice(None, half), slice(half, None)
    first, last = reversed(parts) if upper else parts
    known = _substitute(A[..., first, first], B[..., first, :], upper, unitriangular)
    rest = B[..., last, :] - A[..., last, first] @ known
    found = _substitute(A[..., last, last], rest, upper, unitriangular)
    return _core.cat([found, known] if upper else [known, found], -2)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A read as a map from its last dimensions to the first `ind`, which have as many elements.

    Errors: RuntimeError for other sizes; LinAlgError if there is none.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    rows, columns = list(A.shape[:ind]), list(A.shape[ind:])
    if math.prod(rows) != math.prod(columns):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == "
                           f"prod(self.shape[:ind]), but got {math.prod(columns)} != {math.prod(rows)}")  # fmt: skip
    return inv(A.reshape(math.prod(rows), -1)).reshape(columns + rows)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.dim()) = B; `dims` of A are moved to its end first.

    Errors: RuntimeError for sizes that do not fit; LinAlgError if A is singular.
    """
    if dims is not None:
        last = [d % A.dim() for d in dims]
        A = A.permute([*(d for d in range(A.dim()) if d not in last), *last])
    shape = list(A.shape[B.dim() :])
    if math.prod(shape) != B.numel():
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
                           f"prod(self.shape[:other.ndim]), but got {math.prod(shape)} != {B.numel()}")  # fmt: skip
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape)
