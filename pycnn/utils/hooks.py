"""Handles for removing hooks."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """Removes a hook when `remove()` is called or a `with` block ends. It does not keep the hooked object alive."""

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self.id = next(_ids)
        self._hooks = weakref.ref(hooks)

    def remove(self) -> None:
        """Removes the hook; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __getstate__(self) -> tuple[OrderedDict[int, Any] | None, int]:
        return self._hooks(), self.id

    def __setstate__(self, state: tuple[OrderedDict[int, Any] | None, int]) -> None:
        global _ids
        hooks, self.id = state
        self._hooks = weakref.ref(OrderedDict() if hooks is None else hooks)
        _ids = itertools.count(max(next(_ids), self.id + 1))  # the hooks of other processes have numbers too

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
