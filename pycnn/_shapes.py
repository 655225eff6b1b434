"""Running a network for its shapes only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pycnn import _core


@contextmanager
def recorded_only() -> Iterator[None]:
    """Operators inside (of this thread) are checked and recorded, and never evaluated; reading a value raises."""
    mode = _core.get_mode()
    _core.set_mode("lazy")
    scope = _core.CaptureScope([])
    try:
        yield
    finally:
        scope.close()
        _core.set_mode(mode)
