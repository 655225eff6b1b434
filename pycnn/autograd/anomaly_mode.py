"""Looking for the operator whose gradient is the first NaN."""

from __future__ import annotations

import warnings
from typing import Any

from pycnn import _core

_state = {"check_nan": True}


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode, where it is on, looks for NaN."""
    return _state["check_nan"]


def _set(mode: bool, check_nan: bool) -> None:
    _enabled["mode"] = mode
    _state["check_nan"] = check_nan
    _core._set_anomaly_enabled(mode and check_nan)


_enabled = {"mode": False}


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _enabled["mode"]


class set_detect_anomaly:
    """Switches anomaly mode, at once; as a context manager it restores what was before.

    Args:
        mode: whether backward raises RuntimeError, naming the operator, where a gradient is NaN. Each operator is then
            evaluated by itself: slow.
        check_nan: False leaves the check out.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = (is_anomaly_enabled(), is_anomaly_check_nan_enabled())
        _set(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        _set(*self._before)


class detect_anomaly:
    """Within it backward raises RuntimeError, naming the operator, where a gradient is NaN; slow.

    Args:
        check_nan: False leaves the check out.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before = (False, True)
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = (is_anomaly_enabled(), is_anomaly_check_nan_enabled())
        _set(True, self._check_nan)

    def __exit__(self, *_: Any) -> None:
        _set(*self._before)
