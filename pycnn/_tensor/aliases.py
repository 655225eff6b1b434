"""Second names of the same functions, and in-place forms as functions."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import in_place

_SAME = {
    "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arccosh": "acosh", "arcsinh": "asinh", "arctanh": "atanh",
    "fix": "trunc",
}  # fmt: skip
_SAME_METHODS = {
    "absolute_": "abs_", "arccos_": "acos_", "arccosh_": "acosh_", "arcsin_": "asin_", "arcsinh_": "asinh_",
    "arctan_": "atan_", "arctanh_": "atanh_", "divide_": "div_", "fix_": "trunc_", "greater_": "gt_",
    "greater_equal_": "ge_", "less_": "lt_", "less_equal_": "le_", "multiply_": "mul_", "negative_": "neg_",
    "not_equal_": "ne_", "subtract_": "sub_", "true_divide_": "div_",
}  # fmt: skip
_FUNCTIONS_IN_PLACE = (
    "abs_", "acos_", "acosh_", "arccos_", "arccosh_", "arcsin_", "arcsinh_", "arctan_", "arctanh_", "asin_", "asinh_",
    "atan_", "atanh_", "ceil_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "cos_", "cosh_", "deg2rad_", "detach_",
    "erf_", "erfc_", "exp2_", "exp_", "expm1_", "fill_", "fix_", "floor_", "frac_", "gcd_", "lcm_", "ldexp_",
    "log10_", "log1p_", "log2_", "log_", "logit_", "nan_to_num_", "neg_", "negative_", "rad2deg_", "reciprocal_",
    "relu_", "round_", "rsqrt_", "sigmoid_", "sin_", "sinc_", "sinh_", "sqrt_", "square_", "tan_", "tanh_", "trunc_",
    "xlogy_", "zero_", "index_put_", "addmv_", "i0_", "sgn_", "resize_as_",
    "conj_physical_",
)  # fmt: skip


for _changing in (_core.addmm, _core.bitwise_not, _core.cumprod, _core.cumsum):
    in_place(_changing)


def _layer_function(name: str) -> Any:
    def method(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        # The package's modules are loaded when they are first used.
        from pycnn.nn import functional

        return getattr(functional, name)(self, *args, **keywords)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"nn.functional.{name} of self, any shape. Arguments and errors as in it."
    return method


def _as_function(name: str) -> Any:
    method = getattr(Tensor, name)

    def changed(input: Tensor, *args: Any, **keywords: Any) -> Tensor:
        return method(input, *args, **keywords)

    changed.__name__ = changed.__qualname__ = name
    changed.__doc__ = f"input.{name}(...), in place, any shape: see `Tensor.{name}`. Arguments and errors as in it."
    return changed


def install(package: dict[str, Any]) -> None:
    """Adds the names to the package's namespace and to Tensor."""
    for alias, name in _SAME.items():
        package[alias] = package[name]
        setattr(Tensor, alias, getattr(Tensor, name))
    for alias, name in _SAME_METHODS.items():
        setattr(Tensor, alias, getattr(Tensor, name))
    for name in ("hardshrink", "prelu"):
        setattr(Tensor, name, _layer_function(name))
    for name in _FUNCTIONS_IN_PLACE:
        package[name] = _as_function(name)
