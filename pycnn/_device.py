"""Devices: there is one, the CPU."""

from __future__ import annotations

from typing import Any

from pycnn import _core


def check_device(wanted: Any) -> None:
    """RuntimeError unless `wanted` is None or names the CPU."""
    if wanted is None:
        return
    device = wanted if isinstance(wanted, _core.device) else _core.device(wanted)
    if device.type != "cpu":
        raise RuntimeError(f"device '{device}' is not available: this build of pycnn runs on the CPU alone")
