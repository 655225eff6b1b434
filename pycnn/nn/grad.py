"""Gradients of convolutions by their inputs and weights, as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs
from pycnn.autograd.grad_mode import enable_grad
from pycnn.nn import functional as F

Sizes = Any


def _gradient(
    convolve: Callable[..., Tensor],
    operands: list[Tensor],
    wanted: int,
    grad_output: Tensor,
    options: tuple[Sizes, ...],
) -> Tensor:
    with enable_grad():
        leaves = [operand.detach().requires_grad_(i == wanted) for i, operand in enumerate(operands)]
        stride, padding, dilation, groups = options
        output = convolve(*leaves, None, stride, padding, dilation, groups)
        gradient = _core.grad((output,), (leaves[wanted],), (grad_output,))[0]
    return gradient  # type: ignore[no-any-return]


@on_device_of_inputs
def conv1d_input(
    input_size: Sizes,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv1d` by its input.

    Args:
        input_size: the input's shape (N, C, L).
        weight: (O, C / groups, K).
        grad_output: of the output's shape.
        stride, padding, dilation, groups: the convolution's.
    """
    operands = [_core.zeros(tuple(input_size), dtype=weight.dtype), weight]
    return _gradient(F.conv1d, operands, 0, grad_output, (stride, padding, dilation, groups))


@on_device_of_inputs
def conv1d_weight(
    input: Tensor,
    weight_size: Sizes,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv1d` by its weight, of the shape `weight_size`; else as in `conv1d_input`."""
    operands = [input, _core.zeros(tuple(weight_size), dtype=input.dtype)]
    return _gradient(F.conv1d, operands, 1, grad_output, (stride, padding, dilation, groups))


@on_device_of_inputs
def conv2d_input(
    input_size: Sizes,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv2d` by its input, of the shape `input_size`: see `conv1d_input`."""
    operands = [_core.zeros(tuple(input_size), dtype=weight.dtype), weight]
    return _gradient(F.conv2d, operands, 0, grad_output, (stride, padding, dilation, groups))


@on_device_of_inputs
def conv2d_weight(
    input: Tensor,
    weight_size: Sizes,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv2d` by its weight, of the shape `weight_size`: see `conv1d_input`."""
    operands = [input, _core.zeros(tuple(weight_size), dtype=input.dtype)]
    return _gradient(F.conv2d, operands, 1, grad_output, (stride, padding, dilation, groups))


@on_device_of_inputs
def conv3d_input(
    input_size: Sizes,
    weight: Tensor,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv3d` by its input, of the shape `input_size`: see `conv1d_input`."""
    operands = [_core.zeros(tuple(input_size), dtype=weight.dtype), weight]
    return _gradient(F.conv3d, operands, 0, grad_output, (stride, padding, dilation, groups))


@on_device_of_inputs
def conv3d_weight(
    input: Tensor,
    weight_size: Sizes,
    grad_output: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `functional.conv3d` by its weight, of the shape `weight_size`: see `conv1d_input`."""
    operands = [input, _core.zeros(tuple(weight_size), dtype=input.dtype)]
    return _gradient(F.conv3d, operands, 1, grad_output, (stride, padding, dilation, groups))
