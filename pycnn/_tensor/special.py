"""Special functions that are compositions of the core's."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import broadcast, everywhere
from pycnn.autograd.function import Function

Context = Any


def _wide(input: Tensor) -> tuple[Tensor, Any]:
    """float64 without a gradient, and the dtype of the result."""
    dtype = input.dtype if input.is_floating_point() else _core.get_default_dtype()
    return input.detach().double(), dtype


_NEAR = 32.0
_POINTS = 64
_TERMS = 20


def _bessel(input: Tensor, order: int, scaled: bool) -> Tensor:
    """exp(-|x|) times the integral of exp(x cos t) over the circle (times x sin^2 t for order 1), by the trapezoidal
    rule, whose error vanishes like exp(-points^2 / 2 |x|); above _NEAR Hankel's asymptotic series
    (Abramowitz & Stegun 9.6.18, 9.7.1)."""
    x, dtype = _wide(input)
    size = x.abs()
    angles = _core.arange(_POINTS, dtype=_core.float64, device=x.device) * (2 * math.pi / _POINTS)
    weights = angles.sin().square() if order else _core.ones_like(angles)
    inner = ((size.clamp(max=_NEAR).unsqueeze(-1) * (angles.cos() - 1)).exp() * weights).sum(-1) / _POINTS
    away = size.clamp(min=_NEAR)
    outer = _core.ones_like(away)
    for n in range(_TERMS, 0, -1):
        outer = 1 - outer * ((4 * order - (2 * n - 1) ** 2) / (8 * n)) / away
    outer = outer / (2 * math.pi * away).sqrt()
    result = _core.where(size <= _NEAR, inner * size if order else inner, outer)
    result = _core.where(x.isnan(), x, result)
    result = _core.where(x < 0, -result, result) if order else result
    return (result if scaled else result * size.exp()).to(dtype)


class _I0(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, scaled: bool) -> Tensor:  # type: ignore[override]
        result = _bessel(x, 0, scaled)
        ctx.scaled = scaled
        ctx.save_for_backward(x)
        return result

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return gradient * (
            _I1.apply(x, True) - x.sgn() * _I0.apply(x, True) if ctx.scaled else _I1.apply(x, False)
        ), None


class _I1(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, scaled: bool) -> Tensor:  # type: ignore[override]
        ctx.scaled = scaled
        ctx.save_for_backward(x)
        return _bessel(x, 1, scaled)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        scaled = ctx.scaled
        zero = x == 0
        ratio = _core.where(zero, 0.5, _I1.apply(x, scaled) / _core.where(zero, 1.0, x))
        slope = _I0.apply(x, scaled) - ratio
        if scaled:
            slope = slope - x.sgn() * _I1.apply(x, True)
        return gradient * slope, None


class _Erfcx(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:  # type: ignore[override]
        wide, dtype = _wide(x)
        # exp(x^2) erfc(x) while both are moderate, then the asymptotic series.
        near = wide.clamp(max=8)
        direct = (near * near).exp() * near.erfc()
        far = wide.clamp(min=8)
        squared = 1 / (2 * far * far)
        tail = _core.ones_like(far)
        for n in range(23, 0, -2):
            tail = 1 - n * squared * tail
        result = _core.where(wide < 8, direct, tail / (far * math.sqrt(math.pi)))
        result = result.to(dtype)
        ctx.save_for_backward(x, result)
        return result

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        x, result = ctx.saved_tensors
        return gradient * (2 * x * result - 2 / math.sqrt(math.pi))


def _as_float(input: Tensor) -> Tensor:
    return input if input.is_floating_point() else input.to(_core.get_default_dtype())


@everywhere
def i0(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 0, elementwise, any shape.

    Arguments and errors as in PyTorch.
    """
    return _I0.apply(_as_float(input), False)


def i0e(input: Tensor) -> Tensor:
    """exp(-|x|) i0(x), elementwise, any shape."""
    return _I0.apply(_as_float(input), True)


def i1(input: Tensor) -> Tensor:
    """The modified Bessel function of the first kind of order 1, elementwise, any shape."""
    return _I1.apply(_as_float(input), False)


def i1e(input: Tensor) -> Tensor:
    """exp(-|x|) i1(x), elementwise, any shape."""
    return _I1.apply(_as_float(input), True)


def erfcx(input: Tensor) -> Tensor:
    """exp(x^2) erfc(x), elementwise, any shape."""
    return _Erfcx.apply(_as_float(input))


class _Entr(Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return _core.where(x < 0, -math.inf, -_core.xlogy(x, x))

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return gradient * (-1 - x.log())


def entr(input: Tensor) -> Tensor:
    """-x log(x), 0 at 0 and minus infinity below, elementwise, any shape."""
    return _Entr.apply(_as_float(input))


def ndtr(input: Tensor) -> Tensor:
    """The distribution function of the standard normal, elementwise, any shape."""
    x = _as_float(input)
    return _core.erfc(x * -math.sqrt(0.5)) / 2


def log_ndtr(input: Tensor) -> Tensor:
    """log(ndtr(x)), elementwise, any shape; exact far below 0."""
    x = _as_float(input)
    t = x * math.sqrt(0.5)
    low = x < -1
    below, above = _core.where(low, t, -1.0), _core.where(low, 0.0, t)
    tail = (erfcx(-below) / 2).log() - below * below
    return _core.where(low, tail, _core.log1p(-_core.erfc(above) / 2))


def ndtri(input: Tensor) -> Tensor:
    """The inverse of ndtr, elementwise, any shape."""
    x = _as_float(input)
    if x.dtype is _core.float64:
        return _Ndtri.apply(x)
    return _Ndtri.apply(x.double()).to(x.dtype)


class _Ndtri(Function):
    @staticmethod
    def forward(ctx: Context, p: Tensor) -> Tensor:  # type: ignore[override]
        # From the smaller side: the inverse error function loses digits near 1, Newton's method on the logarithm
        # restores them.
        flip = p > 0.5
        small = _core.where(flip, 1 - p, p)
        start = _core.erfinv(2 * small.clamp(min=1e-12) - 1) * math.sqrt(2)
        far = -(-2 * small.clamp(min=1e-320).log()).sqrt()
        y = _core.where(small < 1e-9, far, start)
        for _ in range(6):
            value = log_ndtr(y)
            slope = (-y * y / 2 - value).exp() / math.sqrt(2 * math.pi)
            y = y - (value - small.clamp(min=1e-320).log()) / slope
        y = _core.where(small == 0.5, 0.0, y)
        y = _core.where(flip, -y, y)
        y = _core.where(p == 0, -math.inf, _core.where(p == 1, math.inf, y))
        y = _core.where((p < 0) | (p > 1) | p.isnan(), math.nan, y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return gradient * (y * y / 2).exp() * math.sqrt(2 * math.pi)


def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log1p(other), 0 where input is 0 and other not NaN, elementwise, shapes broadcast."""
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError("xlog1py(): one argument must be a Tensor, both are numbers")
    y = other if isinstance(other, Tensor) else _core.tensor(other, dtype=_as_float(input).dtype)
    x = input if isinstance(input, Tensor) else _core.tensor(input, dtype=_as_float(y).dtype)
    x, y = _as_float(x), _as_float(y)
    zero = (x == 0) & ~y.isnan()
    flows = x * _core.where(zero & (y <= -1), 0.0, y).log1p()
    return _core.where(zero & (y <= -1), 0.0, flows)


# From this a on: Temme's expansion for x within this share of a, and Stirling's series for gamma(a).
_LARGE, _CLOSE = 100.0, 0.3
_POWERS, _DEGREE = 9, 20
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@functools.cache
def _temme() -> tuple[list[float], list[list[float]]]:
    """The coefficients of the scaled gamma function's series in 1 / a, and the d[k][n] of DLMF 8.12.12, from those of
    lambda - 1 as a series in eta (8.12.11)."""
    count = _DEGREE + 2 * _POWERS + 3
    alpha = [Fraction(0), Fraction(1)]
    for n in range(2, count):
        products = sum((j * alpha[j] * alpha[n - j + 1] for j in range(2, n)), Fraction(0))
        alpha.append((alpha[n - 1] - products) / (n + 1))
    # 5.11.5: every second coefficient, times a double factorial, is Stirling's.
    stirling = [math.prod(range(1, 2 * k + 2, 2)) * alpha[2 * k + 1] for k in range(_POWERS)]
    rows = [[Fraction(-1, 3)] + [(n + 2) * alpha[n + 2] for n in range(1, count - 2)]]
    for k in range(1, _POWERS):
        before = rows[-1]
        rows.append([(-1) ** k * stirling[k] * rows[0][n] + (n + 2) * before[n + 2] for n in range(len(before) - 2)])
    return [float(g) for g in stirling], [[float(d) for d in row[:_DEGREE]] for row in rows]


def _polynomial(coefficients: Any, x: Any) -> Any:
    result = 0.0
    for coefficient in reversed(coefficients):
        result = result * x + coefficient
    return result


def _half_eta_squared(a: Any, x: Any) -> Any:
    """mu - log(1 + mu) with mu = (x - a) / a, without cancellation where mu is small."""
    mu = (x - a) / a
    s = mu / (2 + mu)
    near = mu * s - 2 * s**3 * _polynomial([1 / (2 * n + 3) for n in range(14)], s * s)
    return np.where(np.abs(mu) < _CLOSE, near, mu - np.log1p(mu))


def _gamma_parts(a: Any, x: Any) -> tuple[Any, Any]:
    """The regularised incomplete gamma functions for large a and x near it (DLMF 8.12.3, 8.12.4, 8.12.7)."""
    half_square = _half_eta_squared(a, x)
    eta = np.copysign(np.sqrt(2 * half_square), x - a)
    rest = _polynomial([_polynomial(row, eta) for row in _temme()[1]], 1 / a)
    rest = rest * np.exp(-a * half_square) / np.sqrt(2 * math.pi * a)
    root = eta * np.sqrt(a / 2)
    return _erfc(-root) / 2 - rest, _erfc(root) / 2 + rest


def _lower_gamma(a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function of arrays of float64, and the upper one: for large a near x
    Temme's expansion, else the series below a + 1, from there on the continued fraction of what is missing to 1."""
    with np.errstate(all="ignore"):
        large = a >= _LARGE
        close = large & (np.abs(x - a) < _CLOSE * a)
        a_large, a_small = np.where(large, a, _LARGE), np.where(large | (a <= 0), 1.0, a)
        stirling = np.exp(-a * _half_eta_squared(a, x)) * np.sqrt(a_large / (2 * math.pi))
        stirling = stirling / _polynomial(_temme()[0], 1 / a_large)
        scale = np.where(large, stirling, np.exp(a * np.log(x) - x - _lgamma(a_small)))
        term = total = 1 / a
        place = a
        # Away from the expansion's region 200 terms are enough.
        for _ in range(1000):
            place = place + 1
            term = term * x / place
            total = total + np.where(np.isfinite(term), term, 0)
            if not np.any((x < a + 1) & ~close & (term > total * 1e-17)):
                break
        series = scale * total
        # Lentz's method, modified by Thompson and Barnett (1986).
        b = x + 1 - a
        c, d = np.full_like(b, 1e300), 1 / np.where(b == 0, 1e-300, b)
        fraction, n = d, 0
        while True:
            n += 1
            factor = n * (a - n)
            b = b + 2
            d = 1 / np.where(factor * d + b == 0, 1e-300, factor * d + b)
            c = np.where(b + factor / c == 0, 1e-300, b + factor / c)
            fraction = fraction * c * d
            if n >= 2000 or not np.any((x >= a + 1) & ~close & (np.abs(c * d - 1) > 1e-16)):
                break
        result = np.where(x < a + 1, series, 1 - scale * fraction), np.where(x < a + 1, 1 - series, scale * fraction)
        if close.any():
            at = np.where(close, a, _LARGE), np.where(close, x, _LARGE)
            result = tuple(np.where(close, near, away) for near, away in zip(_gamma_parts(*at), result, strict=True))
    limits = ((x == 0) & (a > 0), (a == 0) & (x > 0), np.isinf(x) & (x > 0) & (a > 0) & np.isfinite(a))
    outside = (a < 0) | (x < 0) | ((a == 0) & (x == 0)) | np.isnan(a) | np.isnan(x) | (np.isinf(a) & np.isinf(x))
    found = []
    for values, at_zero in zip(result, (0.0, 1.0), strict=True):
        values = np.where(limits[0] | np.isinf(a), at_zero, np.where(limits[1] | limits[2], 1 - at_zero, values))
        found.append(np.where(outside, np.nan, values))
    return found


class _IncompleteGamma(Function):
    @staticmethod
    def forward(ctx: Context, a: Tensor, x: Tensor, upper: bool) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(a, x)
        ctx.upper = upper
        parts = _lower_gamma(a.detach().double().cpu().numpy(), x.detach().double().cpu().numpy())
        return _core.tensor(np.asarray(parts[upper])).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> Any:  # type: ignore[override]
        if ctx.needs_input_grad[0]:
            raise NotImplementedError("the derivative for 'igamma: input' is not implemented.")
        a, x = ctx.saved_tensors
        slope = ((a - 1) * x.log() - x - a.lgamma()).exp()
        return None, gradient * (-slope if ctx.upper else slope), None


def _incomplete_gamma(name: str, a: Tensor, x: Tensor, upper: bool) -> Tensor:
    dtype = _core.promote_types(a.dtype, x.dtype)
    if not dtype.is_floating_point:
        raise NotImplementedError(f"{name}: not implemented for '{dtype}'")
    shape = broadcast(a.shape, x.shape)
    return _IncompleteGamma.apply(a.to(dtype).expand(shape), x.to(dtype).expand(shape), upper)


@everywhere
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """The regularised lower incomplete gamma function P(input, other), elementwise, shapes broadcast. Only other's
    derivative is there.

    Arguments and errors as in PyTorch.
    """
    return _incomplete_gamma("igamma", input, other, False)


@everywhere
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """The regularised upper incomplete gamma function, 1 - igamma(input, other), elementwise, shapes broadcast.

    Arguments and errors as in `igamma`.
    """
    return _incomplete_gamma("igammac", input, other, True)
