"""cuDNN, which pycnn does not use. The flags can be set and read, and change nothing: results are deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "allow_tf32",
    "benchmark",
    "deterministic",
    "enabled",
    "flags",
    "is_available",
    "version",
]

enabled: bool = True
benchmark: bool = False
deterministic: bool = False
allow_tf32: bool = True


def is_available() -> bool:
    """False."""
    return False


def version() -> int | None:
    """None."""
    return None


@contextmanager
def flags(**switches: Any) -> Iterator[None]:
    """A context without effect."""
    yield
