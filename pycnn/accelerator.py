"""What code asks before it chooses a device."""

from __future__ import annotations

from typing import Any

from pycnn import _core

__all__ = [
    "current_accelerator",
    "device_count",
    "is_available",
]


def is_available() -> bool:
    """Whether there is a GPU to use."""
    return _core._cuda_is_available()


def device_count() -> int:
    """How many GPUs there are."""
    return _core._cuda_device_count()


def current_accelerator(check_available: bool = False) -> Any:
    """device(type='cuda') if there is a GPU, else None."""
    return _core.device("cuda") if _core._cuda_is_available() else None
