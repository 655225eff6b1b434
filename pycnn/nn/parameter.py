"""Tensors that a module owns: parameters, which an optimiser changes, and buffers, which only the module changes."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor


class Parameter(Tensor):
    """A leaf tensor that `Module` registers on assignment and hands out through `parameters()`.

    Args:
        data: the initial value; any shape, any dtype (a floating one if it requires grad). The value is taken, not the
            graph it came from.
        requires_grad: whether `backward()` fills `.grad`.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        value = _core.empty((0,)) if data is None else data.detach()
        _core.eval(value)
        super().__init__(value)
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.detach(), self.requires_grad)


class Buffer(Tensor):
    """A tensor that `Module` registers as a buffer on assignment: part of its state, but not optimised.

    Args:
        data: the initial value; any shape and dtype.
        persistent: whether `state_dict()` contains it.
    """

    persistent: bool

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        value = _core.empty((0,)) if data is None else data.detach()
        _core.eval(value)
        super().__init__(value)
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), persistent=self.persistent)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_buffer, (self.detach(), self.persistent)


def _rebuild_buffer(data: Tensor, persistent: bool) -> Buffer:
    return Buffer(data, persistent=persistent)
