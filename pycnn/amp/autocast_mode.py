"""Regions in which operators choose their dtypes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pycnn._device import check_device, warn_without_cuda


class autocast:
    """A region in which operators choose a narrower dtype; as context manager or decorator.

    Args:
        device_type: "cpu"; "cuda" is disabled with a warning, as nothing runs there.
        dtype: the narrow dtype.
        enabled: False makes the region do nothing, which is all that is available so far.
        cache_enabled: accepted and ignored.

    Errors: RuntimeError for other devices, NotImplementedError when enabled.
    """

    def __init__(
        self, device_type: str = "cpu", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if device_type == "cuda":
            enabled = enabled and warn_without_cuda("autocast")
        else:
            check_device(device_type)
        if enabled:
            raise NotImplementedError("autocast is not available yet; pass enabled=False to run in the given dtypes")
        self.device_type = device_type
        self.dtype = dtype
        self.enabled = enabled

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper
