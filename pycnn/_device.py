"""Devices: there is one, the CPU."""

from __future__ import annotations

import warnings
from typing import Any

from pycnn import _core

_core.device.__enter__ = lambda self: check_device(self)  # type: ignore[attr-defined]
_core.device.__exit__ = lambda self, *_: None  # type: ignore[attr-defined]


def get_default_device() -> Any:
    """device(type='cpu')."""
    return _core.device("cpu")


def set_default_device(device: Any) -> None:
    """Accepted for the CPU. Errors: RuntimeError for others."""
    check_device(device)


def check_device(wanted: Any) -> None:
    """RuntimeError unless `wanted` is None or names the CPU."""
    if wanted is None:
        return
    device = wanted if isinstance(wanted, _core.device) else _core.device(wanted)
    if device.type != "cpu":
        raise RuntimeError(f"device '{device}' is not available: this build of pycnn runs on the CPU alone")


def warn_without_cuda(what: str) -> bool:
    """False, after a warning: what code written for a GPU enables is disabled here, as in PyTorch without one."""
    warnings.warn(f"{what} is enabled for 'cuda', but CUDA is not available.  Disabling.", stacklevel=4)
    return False
