"""Element by element."""

from __future__ import annotations

import math
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, everywhere, function


@both
def positive(input: Tensor) -> Tensor:
    """input itself, of any shape.

    Errors: RuntimeError for bool.
    Arguments as in PyTorch.
    """
    if input.dtype is _core.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@everywhere
def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64, elementwise, shapes broadcast.

    Arguments and errors as in `pow`.
    """
    wide = [t.double() if isinstance(t, Tensor) else float(t) for t in (input, exponent)]
    return _core.pow(*wide)


@everywhere
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other, elementwise, shapes broadcast.

    In float64, rounded once at the end, so that the power overflows only where the product does.

    Arguments and errors as in `mul`.
    """
    dtype = _core.result_type(input, other)
    result, left = input.double(), other.double()
    for _ in range(2):
        part = left.clamp(-1000, 1000)
        result, left = result * _core.pow(2.0, part), left - part
    result = result * _core.pow(2.0, left)
    return result.to(dtype if dtype.is_floating_point else _core.get_default_dtype())


@everywhere
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN becomes `nan` (0), infinity `posinf` and minus infinity `neginf` (the dtype's extremes), elementwise,
    any shape.

    Arguments and errors as in PyTorch.
    """
    if not input.is_floating_point():
        return input.clone()
    largest = _largest(input.dtype)
    result = _core.where(input.isnan(), nan or 0.0, input)
    result = _core.where(input.isposinf(), largest if posinf is None else posinf, result)
    return _core.where(input.isneginf(), -largest if neginf is None else neginf, result)


def _largest(dtype: Any) -> float:
    extremes = {_core.float16: 65504.0, _core.bfloat16: 3.3895313892515355e38, _core.float32: 3.4028234663852886e38}
    return extremes.get(dtype, 1.7976931348623157e308)


@everywhere
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)) with x = input clamped to eps .. 1 - eps, elementwise, any shape.

    Arguments and errors as in PyTorch.
    """
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    if eps is not None:
        x = x.clamp(eps, 1 - eps)
    return _core.log(x / (1 - x))


@everywhere
def sgn(input: Tensor) -> Tensor:
    """The sign, elementwise, any shape: `sign` for real numbers, see `sign`.

    Arguments and errors as in PyTorch.
    """
    return _core.sign(input)


@everywhere
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p, elementwise, any shape.

    Arguments and errors as in PyTorch.
    """
    if p < 1:
        raise RuntimeError(f"p has to be greater than or equal to 1, got {p}")
    x = input if input.is_floating_point() else input.to(_core.get_default_dtype())
    terms = (x.unsqueeze(-1) - _core.arange(p, dtype=x.dtype) / 2).lgamma().sum(-1)
    return terms + p * (p - 1) / 4 * math.log(math.pi)


@both
def isreal(input: Tensor) -> Tensor:
    """True for every element, of input's shape.

    Arguments and errors as in PyTorch.
    """
    return _core.ones_like(input, dtype=_core.bool)


@both
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other, whose shapes broadcast, as a tensor of shape ().

    Arguments and errors as in `norm`.
    """
    return (input - other).norm(p)


@both
def frexp(input: Tensor) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) with input = mantissa * 2 ** exponent and 0.5 <= |mantissa| < 1, elementwise, any
    shape.

    Errors: RuntimeError for integers and bool.
    Arguments as in PyTorch.
    """
    if not input.is_floating_point():
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    regular = input.isfinite() & (input != 0)
    size = _core.where(regular, input.detach().abs(), 1.0).double()
    exponent = size.log2().floor() + 1
    # The logarithm may be off by one at powers of two.
    exponent = exponent + (size >= _core.exp2(exponent)).double() - (size < _core.exp2(exponent - 1)).double()
    exponent = _core.where(regular, exponent, 0.0)
    return (input.double() * _core.exp2(-exponent)).to(input.dtype), exponent.int()


@function
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest multiple of 10 ** -decimals, halves to the even one, elementwise, any shape.

    Errors: NotImplementedError for bool, or for integers with decimals.
    Arguments as in PyTorch.
    """
    if decimals == 0:
        return _round(input)
    if not input.is_floating_point():
        raise NotImplementedError("round_vml_cpu: not implemented for integers with decimals")
    scale = 10.0 ** abs(decimals)
    return _round(input * scale) / scale if decimals > 0 else _round(input / scale) * scale


_round = _core.round
everywhere(round)
