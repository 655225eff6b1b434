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


class _Dual(NamedTuple):
    seed: Tensor  # the dual number as it was made
    leaf: Tensor | None  # where it comes from, if not from a tensor that requires grad
    tangent: Tensor


class _State(threading.local):
    entered = False
    outside_recording = True  # whether gradients were recorded outside of the level
    duals: tuple[_Dual, ...] = ()


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
    """A level of dual numbers, as a context manager.

    Tangents need what is recorded for gradients, so that within it operators are recorded, also inside an outer
    `no_grad()`: what `unpack_dual` gives is then cut off from that.
    """

    def __enter__(self) -> int:
        level = enter_dual_level()
        _state.outside_recording = _core.is_grad_enabled()
        _core.set_grad_enabled(True)
        return level

    def __exit__(self, *_: object) -> None:
        _core.set_grad_enabled(_state.outside_recording)
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with this value that carries a direction: what is computed of it has the derivative along that.

    Unlike in PyTorch it is a copy of the tensor, so that changing it in place leaves that one as it is, and it requires
    grad, as does what is computed of it: `numpy()` wants `detach()` first.

    Args:
        tensor: floating.
        tangent: of its shape and dtype.
        level: None or 0.

    Errors: RuntimeError outside of a level, for shapes that differ, for a tensor that has a tangent already and where
    nothing is recorded (`no_grad()` inside of the level); ValueError for integers.
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
    _check_recording()
    if _tangent(tensor) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported."
        )
    leaf = None if tensor.requires_grad else tensor.detach().requires_grad_()
    dual = (tensor if leaf is None else leaf).clone()
    _state.duals = (*_state.duals, _Dual(_core._another_handle(dual), leaf, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a tensor, and its derivative along the tangents of this level's dual numbers.

    Both have a history if the tensor, or a tangent, depends on another tensor that requires grad; the value is then the
    tensor itself.

    Errors: RuntimeError for a tensor without a history where nothing is recorded. One that was computed in a
    `no_grad()` inside of the level, but is unpacked outside of it, is taken for a constant, and one that was changed in
    place there has the derivative that it had before.
    """
    if not (_state.entered and _state.duals):
        return UnpackedDualTensor(tensor, None)
    if not tensor.requires_grad:
        _check_recording()
        return UnpackedDualTensor(tensor, None)
    found = _tangent(tensor)
    recording = _core.is_grad_enabled() and _state.outside_recording
    if recording and _has_another_leaf(tensor):
        return UnpackedDualTensor(tensor, found)
    if found is not None and not (recording and any(dual.tangent.requires_grad for dual in _state.duals)):
        found = found.detach()
    return UnpackedDualTensor(tensor.detach(), found)


def _check_recording() -> None:
    if not _core.is_grad_enabled() or _core.is_inference_mode_enabled():
        raise RuntimeError(
            "dual numbers are recorded like gradients: enter dual_level() inside of no_grad(), not no_grad() inside of "
            "dual_level(), and not in inference_mode()"
        )


def _has_another_leaf(tensor: Tensor) -> bool:
    """Whether it depends on a tensor that requires grad, besides those that `make_dual` made."""
    own = {dual.leaf._value_key for dual in _state.duals if dual.leaf is not None}
    node: Any = tensor._grad_node
    if node is None:
        return tensor._value_key not in own
    nodes, seen = [node], {node.key}
    while nodes:
        for target, _ in nodes.pop().edges:
            if isinstance(target, Tensor):
                if target._value_key not in own:
                    return True
            elif target is not None and target.key not in seen:
                seen.add(target.key)
                nodes.append(target)
    return False


def _tangent(tensor: Tensor) -> Tensor | None:
    if not (tensor.requires_grad and _state.duals):
        return None
    probe = _core.zeros_like(tensor).requires_grad_()
    rows: Any = _core.grad((tensor,), tuple(dual.seed for dual in _state.duals), (probe,), True, True, True)
    reached = [
        (row, dual.tangent)
        for row, dual in zip(rows, _state.duals, strict=True)
        if row is not None and row.requires_grad
    ]
    if not reached:
        return None
    found: Any = _core.grad(tuple(row for row, _ in reached), (probe,), tuple(v for _, v in reached), True, True, True)
    return found[0]
