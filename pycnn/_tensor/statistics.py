"""Sums and moments that leave out NaN, differences, histograms, covariances."""

from __future__ import annotations

import collections
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, function, normalized
from pycnn._tensor.shaping import diag

_RESULTS: Any = {"aminmax": collections.namedtuple("aminmax", ("min", "max"))}


@both
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum with NaN as 0.

    Arguments, shapes and errors as in `sum`.
    """
    return _core.sum(_core.where(input.isnan(), 0, input), dim, keepdim, dtype=dtype)


@both
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of what is not NaN.

    Arguments, shapes and errors as in `mean`.
    """
    if not input.is_floating_point():
        raise RuntimeError("nanmean(): expected input to have floating point or complex dtype")
    return nansum(input, dim, keepdim, dtype=dtype) / _core.sum(~input.isnan(), dim, keepdim)


@both
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max) over everything or along dim.

    Arguments, shapes and errors as in `amin`.
    """
    return _RESULTS["aminmax"](_core.amin(input, () if dim is None else dim, keepdim),
                    _core.amax(input, () if dim is None else dim, keepdim))  # fmt: skip


@both
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along dim, n times.

    Arguments, shapes and errors as in PyTorch.
    """
    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = normalized(dim, input.dim())
    result = _core.cat([t for t in (prepend, input, append) if t is not None], d)
    for _ in range(n):
        size = max(result.shape[d] - 1, 0)
        after, before = result.narrow(d, result.shape[d] - size, size), result.narrow(d, 0, size)
        result = after ^ before if result.dtype is _core.bool else after - before
    return result


def _steps(y: Tensor, x: Tensor | None, dx: float, d: int) -> Any:
    """Distances along d, ready to be multiplied."""
    if x is None:
        return dx
    steps = diff(x, dim=-1 if x.dim() == 1 else d)
    return steps.reshape([-1] + [1] * (y.dim() - d - 1)) if x.dim() == 1 else steps


def _trapezoids(y: Tensor, x: Tensor | None, dx: float | None, dim: int) -> tuple[Tensor, int]:
    d = normalized(dim, y.dim())
    size = y.shape[d]
    areas = (y.narrow(d, 1, size - 1) + y.narrow(d, 0, size - 1)) * _steps(y, x, 1.0 if dx is None else dx, d) / 2
    return areas, d


@function
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """The integral along dim by the trapezoidal rule.

    Arguments, shapes and errors as in PyTorch.
    """
    areas, d = _trapezoids(y, x, dx, dim)
    return areas.sum(d)


@function
def trapz(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """trapezoid under its other name.

    Arguments, shapes and errors as in `trapezoid`.
    """
    return trapezoid(y, x, dx=dx, dim=dim)


@function
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """The integral up to each place along dim.

    Arguments, shapes and errors as in `trapezoid`.
    """
    areas, d = _trapezoids(y, x, dx, dim)
    return areas.cumsum(d)


@both
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number 0, 1, ... occurs in a vector of integers (or the sum of the weights there), of shape
    (largest + 1,) at least minlength.

    Arguments and errors as in PyTorch.
    """
    if input.dim() != 1 or input.is_floating_point():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = minlength
    if input.numel():
        if int(input.min()) < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        size = max(size, int(input.max()) + 1)
    added = _core.ones(input.numel(), dtype=_core.int64) if weights is None else weights
    if weights is not None and weights.dtype is not _core.float32:
        added = added.double()
    return _core.zeros(size, dtype=added.dtype).scatter_add(0, input.long(), added)


@both
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from min to max (of the elements, if both are 0),
    of shape (bins,).

    Arguments and errors as in PyTorch.
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    flat = input.detach().reshape(-1)
    low, high = float(min), float(max)
    if low == high and flat.numel():
        low, high = float(flat.min()), float(flat.max())
    if low == high:
        low, high = low - 1, high + 1
    if low > high:
        raise RuntimeError("max must be larger than min")
    inside = (flat >= low) & (flat <= high)
    chosen = flat[inside]
    places = ((chosen - low) * bins / (high - low)).long().clamp(0, bins - 1)
    return _core.zeros(bins, dtype=input.dtype).scatter_add(0, places, _core.ones_like(chosen))


@both
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns), of shape (rows, rows).

    Arguments and errors as in PyTorch.
    """
    if input.dim() > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} "
                           f"dimensions")  # fmt: skip
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    rows = x.reshape(1, -1) if x.dim() < 2 else x
    weights = None
    if fweights is not None:
        weights = fweights.to(rows.dtype)
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    count: Any = rows.shape[1] if weights is None else weights.sum()
    average = rows.mean(1, keepdim=True) if weights is None else (rows * weights).sum(1, keepdim=True) / count
    norm: Any = count - correction
    if aweights is not None and correction != 0 and weights is not None:
        norm = count - correction * (weights * aweights).sum() / count
    centered = rows - average
    product = centered @ (centered if weights is None else centered * weights).mT
    norm = _core.clamp_min(norm, 0) if isinstance(norm, Tensor) else _core.tensor(float(_at_least_zero(norm)))
    result = product / norm.to(product.dtype)
    return result.reshape([]) if input.dim() < 2 else result


def _at_least_zero(value: float) -> float:
    return value if value > 0 else 0


@both
def corrcoef(input: Tensor) -> Tensor:
    """The matrix of correlation coefficients of variables (rows), of shape (rows, rows).

    Arguments and errors as in `cov`.
    """
    covariance = cov(input)
    if covariance.dim() == 0:
        return covariance / covariance
    deviation = diag(covariance).sqrt()
    return (covariance / deviation.unsqueeze(1) / deviation).clamp(-1, 1)
