"""What code asks before it talks to other processes: there are none."""

from typing import Any

__all__ = [
    "barrier",
    "get_rank",
    "get_world_size",
    "is_available",
    "is_initialized",
]


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def get_rank(group: Any = None) -> int:
    """0."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1."""
    return 1


def barrier(*args: Any, **kwargs: Any) -> None:
    """Nothing: there is nobody to wait for."""
