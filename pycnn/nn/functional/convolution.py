"""Convolutions, transposed convolutions, the linear map, and padding."""

from __future__ import annotations

from collections.abc import Sequence

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn.functional.types import Padding, Size


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over sequences; arguments, dtypes, result and errors as in `conv2d`.

    input: (N, C, L) or (C, L). weight: (O, C/G, K). bias: (O,) or None.
    """
    return _core.conv1d(input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over images: out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] in[n, c, ...].

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        weight: (O, C/G, kH, kW), of the input's dtype.
        bias: (O,) or None.
        stride: step between windows, in elements.
        padding: zeros on both sides, in elements, or "valid" (none) or "same" (output as large as the input; stride 1).
        dilation: distance between the taps of the kernel, in elements.
        groups: G; output channels of a group see the input channels of that group alone.

    Returns:
        (N, O, oH, oW) with oH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Errors: RuntimeError for shapes, dtypes or arguments that do not fit, with the shapes as given; NotImplementedError
    for bool.
    """
    return _core.conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over volumes; arguments, dtypes, result and errors as in `conv2d`.

    input: (N, C, D, H, W) or (C, D, H, W). weight: (O, C/G, kD, kH, kW). bias: (O,) or None.
    """
    return _core.conv3d(input, weight, bias, stride, padding, dilation, groups)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Cross-correlation over sequences that lie as (time, batch, channels).

    input: (T, N, C). weight: (K, C, O). bias: (O,). The result is (T + 2 pad - K + 1, N, O).
    Errors: RuntimeError for other ranks or shapes that do not fit.
    """
    if input.dim() != 3 or weight.dim() != 3 or bias.dim() != 1:
        raise RuntimeError(
            "conv_tbc: Input must have 3 dims: time, batch, in_channel; weight: kernel_width, in_channels, "
            f"out_channels; bias 1, but got {list(input.shape)}, {list(weight.shape)} and {list(bias.shape)}"
        )
    return _core.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad).permute(2, 0, 1)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv1d`; arguments, dtypes, result and errors as in `conv_transpose2d`.

    input: (N, C, L) or (C, L). weight: (C, O/G, K). bias: (O,) or None.
    """
    return _core.conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv2d` (its input gradient): every input element adds a scaled kernel to the output.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        weight: (C, O/G, kH, kW).
        bias: (O,) or None.
        stride, padding, dilation: those of the convolution it transposes.
        output_padding: rows added at the end of the output, less than stride or dilation.
        groups: G.

    Returns:
        (N, O, oH, oW) with oH = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1.

    Errors: RuntimeError for shapes, dtypes or arguments that do not fit, with the shapes as given; NotImplementedError
    for bool.
    """
    return _core.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv3d`; arguments, dtypes, result and errors as in `conv_transpose2d`.

    input: (N, C, D, H, W) or (C, D, H, W). weight: (C, O/G, kD, kH, kW). bias: (O,) or None.
    """
    return _core.conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 + bias[o] for every output o.

    Args:
        input1, input2: (..., I1) and (..., I2), alike but for the last dimension.
        weight: (O, I1, I2).
        bias: (O,) or None.

    Returns:
        (..., O).

    Errors: RuntimeError for shapes that do not fit.
    """
    if input1.dim() != input2.dim():
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}")
    if weight.dim() != 3:
        raise RuntimeError(f"bilinear(): weight must be 3-D, got shape {tuple(weight.shape)}")
    outputs, first, second = weight.shape
    *leading, width1 = input1.shape
    *others, width2 = input2.shape
    if leading != others:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    for name, width, expected in (("input1", width1, first), ("input2", width2, second)):
        if width != expected:
            raise RuntimeError(
                f"bilinear(): {name} size does not match weight size: got {width} but expected {expected}"
            )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {tuple(bias.shape)}, expected {outputs}"
        )
    rows = _core.matmul(input1.reshape((-1, first)), weight.permute(1, 0, 2).reshape((first, outputs * second)))
    result = _core.matmul(rows.reshape((-1, outputs, second)), input2.reshape((-1, second, 1))).squeeze(2)
    result = result if bias is None else result + bias
    return result.reshape((*leading, outputs))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
        input: (..., I).
        weight: (O, I), of the input's dtype; or (I,), which gives (...).
        bias: (O,) or None.

    Returns:
        (..., O), in the input's dtype; sums of 16-bit floats are in float32.

    Errors: RuntimeError for shapes that do not fit or dtypes that differ; NotImplementedError for bool.
    """
    return _core.linear(input, weight, bias)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds (or, where negative, removes) elements at the borders.

    Args:
        input: any shape.
        pad: (left, right, top, bottom, ...), pairs from the last dimension on, in elements.
        mode: "constant", or, over the 1 to 3 dimensions behind the channels of (C, ...) or (N, C, ...): "reflect"
            (mirrored at the border's elements, by less than the size), "replicate" (the border's elements) or
            "circular" (the other side, at most once round).
        value: what constant padding consists of (default 0).

    Returns:
        The input's dtype; every dimension longer by its pair's sum.

    Errors: RuntimeError for an odd number of entries, too many of them, or a negative size; see above for the other
    modes. NotImplementedError for an unknown mode.
    """
    return _core.pad(input, tuple(pad), mode, value)
