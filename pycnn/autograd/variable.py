"""`Variable`, which tensors were wrapped in before they had gradients themselves."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor


class _VariableMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)

    def __call__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        """A leaf with the tensor's value."""
        return data.detach().requires_grad_(requires_grad)


class Variable(metaclass=_VariableMeta):
    """`Variable(data, requires_grad=False)` is a leaf tensor with this value; every tensor is a Variable."""
