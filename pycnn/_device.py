"""Devices: there is one, the CPU."""

from __future__ import annotations

import warnings
from typing import Any

from pycnn import _core


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
