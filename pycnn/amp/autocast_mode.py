"""Regions in which operators choose their dtypes (Micikevicius et al. 2018), by PyTorch's lists for the CPU."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import warn_without_cuda


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` knows the device type: "cpu" and "cuda"."""
    return device_type in ("cpu", "cuda")


class autocast:
    """A region in which operators choose their dtypes; as context manager or decorator.

        with pycnn.autocast("cpu", dtype=pycnn.bfloat16):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    Convolutions, transposed convolutions, `linear`, `matmul`, `mm`, `bmm` and `addmm` cast floating operands to the
    16-bit dtype, sum in float32 and give results in the 16-bit dtype. Losses, `prod`, three-dimensional pooling and
    padding by reflection or replication cast to float32. `cat` and `stack` cast to float32 if one of their tensors has
    it. All other operators run in the dtypes they are given, so that pooling or batch normalisation (with float32
    weights and statistics) after a convolution is in the 16-bit dtype. float64 is left alone. Parameters stay float32,
    and so do their gradients.

    `backward()` belongs outside of the region; called within, it does the same. The state is the thread's own: other
    threads have theirs.

    Args:
        device_type: "cpu" or "cuda", which is disabled with a warning where there is no GPU.
        dtype: bfloat16 or float16; None for `get_autocast_dtype(device_type)`, unless set bfloat16 on the CPU and
            float16 on GPUs. Others are disabled with a warning.
        enabled: False runs the region, within another one as well, in the dtypes given.
        cache_enabled: keep the casts of weights until the outermost region ends, so that each is made once.

    Errors: ValueError if device_type is no string, RuntimeError for unknown device types.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = _core.get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = _core.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda" and not _core._cuda_is_available():
            enabled = warn_without_cuda("autocast")
        elif enabled and self.fast_dtype not in (_core.bfloat16, _core.float16):
            warnings.warn(
                f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{device_type.upper()} Autocast only supports dtypes of bfloat16 and float16, got {self.fast_dtype}.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._previous: list[tuple[bool, Any, bool]] = []  # of the regions of this object that are open

    def __enter__(self) -> autocast:
        state = _core.is_autocast_enabled(self.device), _core.get_autocast_dtype(self.device)
        self._previous.append((*state, _core.is_autocast_cache_enabled()))
        _core.set_autocast_enabled(self.device, self._enabled)
        if self.fast_dtype.is_floating_point:
            _core.set_autocast_dtype(self.device, self.fast_dtype)
        _core.autocast_increment_nesting()
        _core.set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *_: object) -> None:
        if _core.autocast_decrement_nesting() == 0:
            _core.clear_autocast_cache()
        enabled, dtype, cache_enabled = self._previous.pop()
        _core.set_autocast_enabled(self.device, enabled)
        _core.set_autocast_dtype(self.device, dtype)
        _core.set_autocast_cache_enabled(cache_enabled)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(f"autocast()(func) requires a callable, but got {type(function).__name__}.")
        return autocast_decorator(self, function)


def autocast_decorator(region: autocast, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run within a region like this one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        # A region of its own: threads may call it at once, each with its own state.
        opened = autocast.__new__(autocast)
        opened.__dict__.update(region.__dict__, _previous=[])
        with opened:
            return function(*args, **kwargs)

    return wrapper


def _cast(value: Any, dtype: Any) -> Any:
    """Floating tensors but float64 in that dtype, also within tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        eligible = value.dtype.is_floating_point and value.dtype != _core.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, dict):
        return {_cast(key, dtype): _cast(item, dtype) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def custom_fwd(fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorates `forward` of an `autograd.Function`, so that `custom_bwd` knows the autocast state it ran in.

    Args:
        fwd: the static method `forward(ctx, ...)`; without it a decorator is returned.
        device_type: "cpu" or "cuda".
        cast_inputs: where autocast is on, the dtype that floating inputs (but float64) are cast to; `forward` then runs
            with autocast off. None: it runs in the state that it finds.

    Errors: ValueError if device_type is no string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        context = args[0]
        context._dtype = _core.get_autocast_dtype(device_type)
        enabled = _core.is_autocast_enabled(device_type)
        context._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return forward(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return forward(*_cast(args, cast_inputs), **_cast(kwargs, cast_inputs))

    return wrapper


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Any:
    """Decorates `backward` of an `autograd.Function`, so that it runs in the autocast state of its `custom_fwd`.

    Args:
        bwd: the static method `backward(ctx, ...)`; without it a decorator is returned.
        device_type: "cpu" or "cuda".

    Errors: ValueError if device_type is no string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    backward = bwd

    @functools.wraps(backward)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, dtype=args[0]._dtype, enabled=args[0]._fwd_used_autocast):
            return backward(*args, **kwargs)

    return wrapper
