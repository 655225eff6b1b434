"""Initial values of parameters, written in place without recording gradients.

Fans are those of Glorot and Bengio (2010) for weights (O, I, k...): fan_in = I * prod(k), fan_out = O * prod(k).
"""

from __future__ import annotations

import functools
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "is_skipped",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "skipped",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_skipping = threading.local()


@contextmanager
def skipped() -> Iterator[None]:
    """Modules made inside (by this thread) leave their parameters undefined, and memory for them untouched: for those
    whose values will be loaded, or of which only the shapes matter."""
    before = is_skipped()
    _skipping.active = True
    try:
        yield
    finally:
        _skipping.active = before


def is_skipped() -> bool:
    """Whether this thread is inside `skipped()`."""
    return getattr(_skipping, "active", False)


def _set(tensor: Tensor, value: Any) -> Tensor:
    if is_skipped():
        return tensor
    with no_grad():
        tensor.copy_(value)
        _core.eval(tensor)
    return tensor


def _draw(tensor: Tensor, method: str, *args: float, **options: Any) -> Tensor:
    if is_skipped():
        return tensor
    with no_grad():
        getattr(tensor, method)(*args, **options)
        _core.eval(tensor)
    return tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance behind a nonlinearity (He et al. 2015): sqrt 2 for ReLU, 5/3 for tanh, ...

    `param` is the negative slope of "leaky_relu" (default 0.01). Errors: ValueError for unknown names.
    """
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        if isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Draws from the uniform distribution on [a, b)."""
    return _draw(tensor, "uniform_", a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Draws from the normal distribution."""
    return _draw(tensor, "normal_", mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Draws from the normal distribution between a and b, by inverting its distribution function.

    Errors: RuntimeError if a > b. Warns if [a, b] lies more than two deviations from the mean.
    """

    def below(x: float) -> float:
        return math.erf((x - mean) / (std * math.sqrt(2.0)))

    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    if is_skipped():
        return tensor
    largest = 1 - 2.0**-24  # float32's below 1, whose inverse is infinite
    with no_grad():
        value = tensor.detach().clone().uniform_(below(a), below(b), generator=generator)
        value = value.clamp(-largest, largest).erfinv()
        return _set(tensor, (value * (std * math.sqrt(2.0)) + mean).clamp(a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Sets every element to `val`."""
    return _draw(tensor, "fill_", val)


def ones_(tensor: Tensor) -> Tensor:
    """Sets every element to 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Sets every element to 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Makes a matrix the identity. Errors: ValueError unless it has 2 dimensions."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _set(tensor, _core.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Makes a convolution's weight (3 to 5 dimensions) pass as many input channels as it can, group by group."""
    import numpy as np

    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    shape = tuple(tensor.shape)
    if shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    value = np.zeros(shape, np.float32)
    per_group = shape[0] // groups
    centre = tuple(extent // 2 for extent in shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, shape[1])):
            value[group * per_group + channel, channel][centre] = 1.0
    return _set(tensor, _core.tensor(value))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform on [-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


glorot_uniform_ = xavier_uniform_
glorot_normal_ = xavier_normal_


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform on [-b, b), b = gain * sqrt(3 / fan) (He et al. 2015); `a` is the negative slope of leaky_relu."""
    if 0 in tensor.shape:
        return tensor
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _calculate_correct_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015); `a` is the negative slope of leaky_relu."""
    if 0 in tensor.shape:
        return tensor
    return normal_(
        tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode)), generator
    )


he_uniform_ = kaiming_uniform_
he_normal_ = kaiming_normal_


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """A (semi-)orthogonal matrix of shape (first extent, the others), times `gain` (Saxe et al. 2014)."""
    import numpy as np

    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    shape = tuple(tensor.shape)
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = (
        _core.randn((max(rows, columns), min(rows, columns)), dtype=_core.float64, generator=generator).cpu().numpy()
    )
    q, r = np.linalg.qr(drawn)
    q = q * np.sign(np.diagonal(r))
    value = np.ascontiguousarray((q if rows >= columns else q.T) * gain).reshape(shape)
    return _set(tensor, _core.tensor(value))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal values of which a share `sparsity` (0..1) of every column is zero (Martens 2010)."""
    import numpy as np

    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    keep = np.ones((rows, columns), np.float32)
    order = np.argsort(_core.rand((rows, columns), generator=generator).cpu().numpy(), axis=0)
    np.put_along_axis(keep, order[: math.ceil(sparsity * rows)], 0.0, axis=0)
    with no_grad():
        return _set(tensor, _core.randn((rows, columns), generator=generator) * std * _core.tensor(keep))


def _under_older_name(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    older = function.__name__[:-1]

    @functools.wraps(function)
    def warned(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{older}` is now deprecated in favor of `nn.init.{function.__name__}`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    warned.__name__ = warned.__qualname__ = older
    return warned


uniform = _under_older_name(uniform_)
normal = _under_older_name(normal_)
constant = _under_older_name(constant_)
eye = _under_older_name(eye_)
dirac = _under_older_name(dirac_)
xavier_uniform = _under_older_name(xavier_uniform_)
xavier_normal = _under_older_name(xavier_normal_)
kaiming_uniform = _under_older_name(kaiming_uniform_)
kaiming_normal = _under_older_name(kaiming_normal_)
orthogonal = _under_older_name(orthogonal_)
sparse = _under_older_name(sparse_)
