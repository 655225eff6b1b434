"""Types of arguments."""

from __future__ import annotations

from collections.abc import Sequence

Size = int | Sequence[int]
Padding = int | Sequence[int] | str
