"""Sums and moments that leave out NaN, differences, histograms, covariances."""

from __future__ import annotations

import collections
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.ordering import searchsorted
from pycnn._tensor.registry import both, dimensions, function, normalized
from pycnn._tensor.shaping import diag

_RESULTS: Any = {
    "aminmax": collections.namedtuple("aminmax", ("min", "max")),
    "histogram": collections.namedtuple("histogram", ("hist", "bin_edges")),
}


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
    if n == 0:
        return input.clone()
    result = _core.cat([t for t in (prepend, input, append) if t is not None], d)
    for _ in range(min(n, result.shape[d])):
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
    if input.is_floating_point() or input.dtype is _core.bool:
        raise NotImplementedError(f"bincount: not implemented for '{input.dtype}'")
    if input.dim() != 1:
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
    if not input.is_floating_point():
        raise NotImplementedError(f"histc: not implemented for '{input.dtype}'")
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
def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): how many elements of input (the sum of whose weights) lie in each of `bins` equal intervals of
    the range (of the elements, if it is None), or between the bins' edges given as a vector; with density divided by
    the sum and the widths. Vectors of shape (bins,) and (bins + 1,).

    Arguments and errors as in PyTorch: RuntimeError for integers or shapes that do not fit.
    """
    if not input.is_floating_point():
        raise RuntimeError(f"histogram: not implemented for '{input.dtype}'")
    if weight is not None and (tuple(weight.shape) != tuple(input.shape) or weight.dtype is not input.dtype):
        raise RuntimeError("torch.histogram: if weight tensor is provided it should have the same shape and dtype as "
                           "the input tensor")  # fmt: skip
    flat = input.detach().reshape(-1)
    if isinstance(bins, Tensor):
        edges = bins
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins}")
        low, high = (float(flat.min()), float(flat.max())) if range is None and flat.numel() else range or (0.0, 1.0)
        if low == high:
            low, high = (low - 0.5, high + 0.5) if range is None else (low - 0.5, high + 0.5)
        edges = _core.linspace(low, high, bins + 1, dtype=input.dtype)
    inside = (flat >= edges[0]) & (flat <= edges[-1])
    count = edges.numel() - 1
    places = searchsorted(edges, flat[inside], right=True).clamp(max=count) - 1
    added = _core.ones_like(flat) if weight is None else weight.detach().reshape(-1)
    hist = _core.zeros(count, dtype=input.dtype).scatter_add(0, places, added[inside])
    if density:
        hist = hist / hist.sum() / (edges[1:] - edges[:-1])
    return _RESULTS["histogram"](hist, edges)


def _slope(input: Tensor, spacing: Any, d: int, edge_order: int) -> Tensor:
    """Differences along d of second order inside, with the spacing a number or a vector of coordinates."""
    size = input.shape[d]
    if size < edge_order + 1:
        raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")

    def part(first: int, last: int) -> Tensor:
        return input.narrow(d, first, last - first)

    if isinstance(spacing, Tensor):
        steps = (spacing[1:] - spacing[:-1]).reshape([-1] + [1] * (input.dim() - d - 1))
    else:
        steps = _core.full([size - 1] + [1] * (input.dim() - d - 1), float(spacing), dtype=input.dtype)
    before, after = steps[:-1], steps[1:]
    inner = (
        part(0, size - 2) * (-after / (before * (before + after)))
        + part(1, size - 1) * ((after - before) / (before * after))
        + part(2, size) * (before / (after * (before + after)))
    )
    first, last = steps[:1], steps[-1:]
    if edge_order == 1:
        left = (part(1, 2) - part(0, 1)) / first
        right = (part(size - 1, size) - part(size - 2, size - 1)) / last
    else:
        a, b = first, steps[1:2]
        left = (
            part(0, 1) * (-(2 * a + b) / (a * (a + b)))
            + part(1, 2) * ((a + b) / (a * b))
            - part(2, 3) * (a / (b * (a + b)))
        )
        a, b = steps[-2:-1], last
        right = (
            part(size - 3, size - 2) * (b / (a * (a + b)))
            - part(size - 2, size - 1) * ((a + b) / (a * b))
            + part(size - 1, size) * ((a + 2 * b) / (b * (a + b)))
        )
    return _core.cat([left, inner, right] if size > 2 else [left, right], d)


@function
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> list[Tensor]:
    """The derivative along each dimension, by differences of second order, each of input's shape.

    Args:
        input: values at the points of a grid, any shape.
        spacing: the distance of points, one for all or one per dimension, or the coordinates as vectors.
        dim: which dimensions; None for all.
        edge_order: 1 or 2, the order at the ends.

    Errors: RuntimeError if sizes do not fit.
    """
    places = dimensions(dim, input.dim())
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    steps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(places)
    if len(steps) != len(places):
        raise RuntimeError(f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
                           f"{len(places)}, but got a list of length {len(steps)}")  # fmt: skip
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    return [_slope(x, step, d, edge_order) for step, d in zip(steps, places, strict=True)]


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
