"""Norms of vectors and matrices, and of tensors read as such."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, dimensions, function, normalized
from pycnn.autograd.function import Function, once_differentiable

_plain_norm = _core.norm


def converted(name: str, input: Tensor, dtype: Any) -> Tensor:
    """The input in the dtype asked for; RuntimeError where that is not floating."""
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {input.dtype}")
    if dtype is None:
        return input
    if not dtype.is_floating_point:
        raise RuntimeError(f"{name}: dtype should be floating point, but got {dtype}")
    return input.to(dtype)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """sum(|x| ** ord) ** (1 / ord) over dimensions, with its limits for 0 and plus and minus infinity.

    Args:
        x: floating, any shape.
        ord: a number.
        dim: one or several dimensions; None for all.
        keepdim: keep them with size 1.
        dtype: what x is converted to first.

    Errors: RuntimeError for integers, or nothing to take an extreme of; IndexError for a dimension out of range.
    """
    x = converted("linalg.vector_norm", x, dtype)
    if isinstance(ord, str) or ord is None:
        raise TypeError(f"linalg_vector_norm(): argument 'ord' must be Number, not {type(ord).__name__}")
    places = dimensions(None if dim is not None and not isinstance(dim, int) and len(dim) == 0 else dim, x.dim())
    if ord >= 0 and (ord != math.inf or x.numel() > 0):
        if ord == 0:
            counted = _core.where(x.isnan(), 1.0, x.sign().abs()).to(x.dtype)
            return counted.sum(places, keepdim) if x.dim() else counted
        return _plain_norm(x, ord, places if x.dim() else None, keepdim)
    if any(x.shape[d] == 0 for d in places[: x.dim()]):
        raise RuntimeError(f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation "
                           f"does not have an identity")  # fmt: skip
    if x.dim() == 0:
        return x.abs()
    if ord == math.inf:
        return x.abs().amax(places, keepdim)
    if ord == -math.inf:
        return x.abs().amin(places, keepdim)
    return x.abs().pow(ord).sum(places, keepdim).pow(1 / ord)


class _SingularNorm(Function):
    """The sum of the singular values of matrices (..., M, N) ("nuc"), the largest (2) or the smallest (-2)."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, kind: Any) -> Tensor:
        u, s, v = np.linalg.svd(A.detach().double().cpu().numpy(), full_matrices=False)
        if kind != "nuc":
            at = slice(0, 1) if kind == 2 else slice(s.shape[-1] - 1, None)
            u, s, v = u[..., :, at], s[..., at], v[..., at, :]
        ctx.save_for_backward(_core.tensor(np.ascontiguousarray(u @ v)).to(A.device, A.dtype))
        return _core.tensor(s.sum(-1)).to(A.device, A.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient[..., None, None] * ctx.saved_tensors[0], None


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Norms of matrices: "fro", "nuc" (the sum of the singular values), plus or minus infinity (the extreme sum of
    |A| along a row), 1 (along a column), 2 (the extreme singular value). Those of singular values can be differentiated
    once.

    Args:
        A: floating, of shape (..., M, N).
        ord: which norm.
        dim: the matrices' two dimensions.
        keepdim: keep them with size 1.
        dtype: what A is converted to first.

    Errors: RuntimeError for integers, fewer than two dimensions, or an ord that there is not.
    """
    name = "linalg.matrix_norm"
    A = converted(name, A, dtype)
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {dim}")
    if A.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    rows, columns = (normalized(d, A.dim()) for d in dim)
    if rows == columns:
        raise RuntimeError(f"{name}: dims must be different. Got {dim}")
    if ord == "fro":
        return vector_norm(A, 2, (rows, columns), keepdim)
    if isinstance(ord, str) and ord != "nuc" or not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if ord == "nuc" or abs(ord) == 2:
        moved = A.movedim((rows, columns), (-2, -1))
        if 0 in moved.shape[-2:]:
            if ord == -2:
                raise IndexError(f"{name}: Expected the matrices to have singular values, got shape {list(A.shape)}")
            result = moved.sum((-2, -1))
        else:
            result = _SingularNorm.apply(moved, ord)
        for d in sorted((rows, columns)) if keepdim else ():
            result = result.unsqueeze(d)
        return result
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = A.abs().sum(summed, keepdim=True)
    if sums.shape[kept] == 0 and ord < 0:
        raise IndexError(f"{name}: Expected reduction dim {kept} to have non-zero size.")
    if sums.shape[kept] == 0:
        result = sums.sum(kept, keepdim=True)
    else:
        result = sums.amax(kept, keepdim=True) if ord > 0 else sums.amin(kept, keepdim=True)
    return result if keepdim else result.squeeze((rows, columns))


@both
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """sum(|input| ** p) ** (1 / p) over all elements or some dimensions, any shape; "fro" means 2, "nuc" the sum of a
    matrix's singular values.

    Arguments and errors as in PyTorch: RuntimeError for integers; IndexError for a dimension out of range.
    """
    if p == "nuc":
        if dim is None and input.dim() != 2:
            raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(p, (int, float)) and p <= 0:
        return vector_norm(input, p, dim, keepdim, dtype=dtype)
    return _plain_norm(input, p, dim, keepdim, dtype)


@function
def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares over some dimensions, see `norm`.

    Arguments, shapes and errors as in PyTorch.
    """
    return norm(input, 2, dim, keepdim)


@function
def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of matrices, see `norm`.

    Arguments, shapes and errors as in PyTorch.
    """
    return norm(input, "nuc", dim, keepdim)
