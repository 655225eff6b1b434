"""What is kept for backward: always on the CPU, and unchanged."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["save_on_cpu", "saved_tensors_hooks"]


class save_on_cpu:
    """A context without effect: what backward reads is in the CPU's memory anyway.

    Args:
        pin_memory, device_type: accepted.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        pass

    def __enter__(self) -> save_on_cpu:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class saved_tensors_hooks:
    """Not available: saved values are nodes of the graph, which no Python code packs. NotImplementedError."""

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        raise NotImplementedError("saved_tensors_hooks: saved values are nodes of the graph and cannot be packed")
