"""cuDNN, which pycnn does not use. The flags can be set and read, and change nothing: results are deterministic."""

from __future__ import annotations

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
