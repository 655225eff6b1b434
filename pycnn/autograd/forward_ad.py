"""Derivatives along a direction: dual numbers, whose tangents are found by differentiating the backward pass.

The derivative of `u -> u J`, which is linear, along a vector v is J v: so a tangent is recorded from the operators that
backward has anyway, and every operator with a second derivative has one.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A dual number's value, and its derivative (None: it does not depend on any tangent)."""

    primal: Tensor
    tangent: Tensor | None


class _State(threading.local):
    entered = False
    duals: tuple[tuple[Tensor, Tensor], ...] = ()


_state = _State()


def enter_dual_level() -> int:
    """Begins a level of dual numbers in this thread; gives its number, 0. RuntimeError within another."""
    if _state.entered:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _state.entered, _state.duals = True, ()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: tangents are forgotten. RuntimeError if there is none."""
    if not _state.entered or level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not entered")
    _state.entered, _state.duals = False, ()


class dual_level:
    """A level of dual numbers, as a context manager."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *_: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with this value that carries a direction: what is computed of it has the derivative along that.

    Args:
        tensor: floating.
        tangent: of its shape and dtype.
        level: None or 0.

    Errors: RuntimeError outside of a level and for shapes that differ, ValueError for integers.
    """
    if not _state.entered:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if not (tensor.is_floating_point() and tangent.is_floating_point()):
        raise ValueError("Expected primal and tangent to be floating point")
    if tuple(tensor.shape) != tuple(tangent.shape):
        raise RuntimeError(
            f"Expected tangent to have the same shape as primal, got {tuple(tangent.shape)} and {tuple(tensor.shape)}"
        )
    dual: Tensor = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
    _state.duals = (*_state.duals, (dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a tensor, and its derivative along the tangents of this level's dual numbers."""
    if not _state.entered:
        return UnpackedDualTensor(tensor, None)
    for dual, tangent in _state.duals:
        if dual is tensor:
            return UnpackedDualTensor(tensor.detach(), tangent)
    return UnpackedDualTensor(tensor.detach(), _tangent(tensor))


def _tangent(tensor: Tensor) -> Tensor | None:
    if not (tensor.requires_grad and _state.duals):
        return None
    inputs = tuple(dual for dual, _ in _state.duals)
    probe = _core.zeros_like(tensor).requires_grad_()
    rows: Any = _core.grad((tensor,), inputs, (probe,), True, True, True)
    reached = [
        (row, v) for row, (_, v) in zip(rows, _state.duals, strict=True) if row is not None and row.requires_grad
    ]
    if not reached:
        return None
    found: Any = _core.grad(tuple(row for row, _ in reached), (probe,), tuple(v for _, v in reached), True, True, True)
    return found[0]
