"""Determinants, inverses, systems of equations and functions of square matrices."""

from __future__ import annotations

import collections
import math
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both

_RESULTS: Any = {"slogdet": collections.namedtuple("slogdet", ("sign", "logabsdet"))}


def check_square(name: str, input: Tensor) -> None:
    """RuntimeError unless these are floating square matrices."""
    if not input.is_floating_point():
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {input.dtype}")
    if input.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    rows, columns = input.shape[-2:]
    if rows != columns:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {rows} by {columns} matrices")


@both
def det(input: Tensor) -> Tensor:
    """The determinants of square matrices, of shape (..., N, N): shape (...).

    Arguments and errors as in PyTorch: RuntimeError for other shapes and integers.
    """
    return _core._det(input)


@both
def slogdet(input: Tensor) -> Any:
    """The signs and the logarithms of the absolute values of square matrices' determinants, both of shape (...).

    Arguments and errors as in `det`.
    """
    return _RESULTS["slogdet"](*_core._slogdet(input))


@both
def logdet(input: Tensor) -> Tensor:
    """The logarithms of square matrices' determinants, NaN for negative ones, of shape (...).

    Arguments and errors as in `det`.
    """
    sign, logarithm = _core._slogdet(input)
    return _core.where(sign < 0, math.nan, logarithm)


@both
def inverse(input: Tensor) -> Tensor:
    """The inverses of square matrices, of input's shape. Whether there are any is looked up at the call.

    Arguments and errors as in PyTorch: linalg.LinAlgError, a RuntimeError, for a singular matrix.
    """
    return _core._inverse(input)


@both
def matrix_exp(input: Tensor) -> Tensor:
    """The exponential series of square matrices, of input's shape.

    Each halved until Taylor's polynomial is exact to the last digits, then squared as often. The norms are looked at,
    hence evaluated, at the call. Arguments and errors as in PyTorch.
    """
    check_square("linalg.matrix_exp", input)
    if input.numel() == 0:
        return input.clone()
    norms = input.detach().double().abs().sum(-2).amax(-1).cpu().numpy()
    norms = np.where(np.isfinite(norms), np.maximum(norms, 1), 1)
    halvings = np.ceil(np.log2(norms)).astype(np.int64)[..., np.newaxis, np.newaxis]
    scaled = input * _core.tensor(np.ldexp(1.0, -halvings), dtype=input.dtype, device=input.device)
    identity = _core.eye(input.shape[-1], dtype=input.dtype, device=input.device)
    result = identity.expand(input.shape)
    for k in range(18 if input.dtype is _core.float64 else 12, 0, -1):
        result = identity + scaled @ result / k
    left = _core.tensor(halvings, device=input.device)
    for done in range(int(halvings.max())):
        result = _core.where(left > done, result @ result, result)
    return result
