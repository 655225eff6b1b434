"""Pooling over windows, given or adaptive."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn.functional.types import Size


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, L) or (C, L); see `max_pool2d` for all the rest."""
    return _core.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window. NaN is larger than any number; of equal ones the first counts.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in taps.
        stride: step between windows, in elements (default: kernel_size).
        padding: minus infinity on both sides, at most half the window.
        dilation: distance between taps.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1, in the
        input's dtype; with `return_indices` a pair.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for bool.
    """
    return _core.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d` for all the rest."""
    return _core.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of (N, C, L) or (C, L); see `avg_pool2d` for all the rest."""
    return _core.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in elements.
        stride: step between windows, in elements (default: kernel_size).
        padding: zeros on both sides, at most half the window.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead of the window's element count.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - kH) / stride) + 1, in the input's dtype.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for dtypes that are neither
    floating nor int64.
    """
    return _core.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d` for all the rest."""
    return _core.avg_pool3d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool1d(input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen such that the output has `output_size` rows and columns.

    Window i covers the rows floor(i H / oH) up to ceil((i + 1) H / oH), so neighbours may overlap.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype.

    Errors: RuntimeError for other shapes or negative sizes, NotImplementedError for integers.
    """
    return _core.adaptive_avg_pool2d(input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool3d(input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_max_pool2d`."""
    return _core.adaptive_max_pool1d(input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of the windows of `adaptive_avg_pool2d`; NaN is larger than any number.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype; with `return_indices` a pair.

    Errors: RuntimeError for other shapes or negative sizes, NotImplementedError for integers.
    """
    return _core.adaptive_max_pool2d(input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_max_pool2d`."""
    return _core.adaptive_max_pool3d(input, output_size, return_indices)
