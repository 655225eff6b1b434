"""Devices: the CPU, and GPUs where there are some."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from pycnn import _core

_entered = threading.local()


def _enter(self: Any) -> Any:
    if not hasattr(_entered, "previous"):
        _entered.previous = []
    _entered.previous.append(_core.get_creation_device())
    _core.set_creation_device(self)
    return self


def _exit(self: Any, *_: Any) -> None:
    _core.set_creation_device(_entered.previous.pop())


_core.device.__enter__ = _enter  # type: ignore[attr-defined]
_core.device.__exit__ = _exit  # type: ignore[attr-defined]


def get_default_device() -> Any:
    """Where functions such as `zeros` create tensors that are given no device: the CPU unless set."""
    return _core.get_creation_device()


def set_default_device(device: Any) -> None:
    """Sets it for this thread; None is the CPU. Errors: RuntimeError for devices that are not there."""
    _core.set_creation_device(as_device(device))


def as_device(wanted: Any) -> Any:
    """The device that an argument names: a string, a device, the index of a GPU, or None, which stays None.

    Errors: RuntimeError for devices that are not there.
    """
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        wanted = f"cuda:{wanted}"
    return _core.check_device(wanted)


def warn_without_cuda(what: str) -> bool:
    """False, after a warning: what code written for a GPU enables is disabled here, as in PyTorch without one."""
    warnings.warn(f"{what} is enabled for 'cuda', but CUDA is not available.  Disabling.", stacklevel=4)
    return False
