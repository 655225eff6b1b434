"""Tensors that a module owns: parameters, which an optimiser changes, and buffers, which only the module changes."""

from __future__ import annotations

from pycnn import _core
from pycnn._core import Tensor


def _own_value(data: Tensor | None, requires_grad: bool) -> Tensor:
    """The value of `data`, computed now, under a handle of its own: neither graph nor later changes are shared."""
    if data is not None and not isinstance(data, Tensor):
        raise TypeError(f"Parameter and Buffer hold a Tensor, got {type(data).__name__}")
    value = _core.empty((0,)) if data is None else data
    _core.eval(value)
    return Tensor._make_subclass(Tensor, value, requires_grad)


class Parameter(Tensor):
    """A leaf tensor that `Module` registers on assignment and hands out through `parameters()`.

    Args:
        data: the initial value; any shape, any dtype (a floating one if it requires grad).
        requires_grad: whether `backward()` fills `.grad`.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__(_own_value(data, requires_grad))

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that `Module` registers as a buffer on assignment: part of its state, but not optimised.

    Args:
        data: the initial value; any shape and dtype.
        persistent: whether `state_dict()` contains it.
    """

    persistent: bool

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        super().__init__(_own_value(data, False))
        self.persistent = persistent
