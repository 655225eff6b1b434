"""Devices: the CPU, and GPUs where there are some."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pycnn import _core
from pycnn._core import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

_entered = threading.local()


def _enter(self: Any) -> Any:
    if not hasattr(_entered, "previous"):
        _entered.previous = []
    _entered.previous.append(_core._get_creation_device())
    _core._set_creation_device(self)
    return self


def _exit(self: Any, *_: Any) -> None:
    _core._set_creation_device(_entered.previous.pop())


_core.device.__enter__ = _enter  # type: ignore[method-assign]
_core.device.__exit__ = _exit  # type: ignore[method-assign]


def get_default_device() -> Any:
    """Where functions such as `zeros` create tensors that are given no device: the CPU unless set."""
    return _core._get_creation_device()


def set_default_device(device: Any) -> None:
    """Sets it for this thread; None is the CPU. Errors: RuntimeError for devices that are not there."""
    _core._set_creation_device(as_device(device))


def as_device(wanted: Any) -> Any:
    """The device that an argument names: a string, a device, the index of a GPU, or None, which stays None.

    Errors: RuntimeError for devices that are not there.
    """
    return _core._as_device(wanted)


def warn_without_cuda(what: str) -> bool:
    """False, after a warning: what code written for a GPU enables is disabled here, as in PyTorch without one."""
    warnings.warn(f"{what} is enabled for 'cuda', but CUDA is not available.  Disabling.", stacklevel=4)
    return False


def _gpu_of(arguments: Iterable[Any]) -> Any:
    """The GPU of the first tensor there that lies on one, or None."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            if argument.is_cuda:
                return argument.device
        elif isinstance(argument, (list, tuple)) and (found := _gpu_of(argument)) is not None:
            return found
    return None


def on_device_of_inputs(f: Function) -> Function:
    """Lets what f creates on the way lie where the tensors it is given do."""

    @functools.wraps(f)
    def call(*args: Any, **keywords: Any) -> Any:
        gpu = _gpu_of(args) or (_gpu_of(keywords.values()) if keywords else None)
        if gpu is None:
            return f(*args, **keywords)
        with gpu:
            return f(*args, **keywords)

    return call  # type: ignore[return-value]
