"""Convolutions and their transposes over 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.linear import draw_from_fan_in, uninitialized
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


def to_tuple(value: Any, length: int) -> tuple[int, ...]:
    """An integer for every dimension, or one integer per dimension; how many they are is checked at the call."""
    return (value,) * length if isinstance(value, int) else tuple(value)


class _ConvNd(Module):
    """What convolutions and transposed ones share: checking, parameters, their initial values, the printed form."""

    _dimensions: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                "padding_mode must be one of ['circular', 'reflect', 'replicate', 'zeros'], "
                f"but got padding_mode='{padding_mode}'"
            )
        count = self._dimensions
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = to_tuple(kernel_size, count)
        self.stride = to_tuple(stride, count)
        self.dilation = to_tuple(dilation, count)
        self.output_padding = to_tuple(output_padding, count)
        self.transposed = self._transposed
        self.groups = groups
        self.padding_mode = padding_mode
        self.padding: Any
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string '{padding}', should be one of 'same', 'valid'")
            if padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
            self.padding = padding
        else:
            self.padding = to_tuple(padding, count)
        outer, inner = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = uninitialized((outer, inner // groups, *self.kernel_size), device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", uninitialized((out_channels,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias uniformly from +-1/sqrt(fan_in), PyTorch's rule."""
        draw_from_fan_in(self.weight, self.bias)

    def extra_repr(self) -> str:
        count = self._dimensions
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * count:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * count:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * count:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _border(self) -> tuple[int, ...]:
        """What `F.pad` takes for this padding: (left, right) pairs from the last dimension on."""
        pairs = []
        for i in reversed(range(self._dimensions)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                pairs += [total // 2, total - total // 2]
            else:
                extent = 0 if self.padding == "valid" else self.padding[i]
                pairs += [extent, extent]
        return tuple(pairs)

    def forward(self, input: Tensor) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._border(), mode=self.padding_mode)
            padding = 0
        convolution = (F.conv1d, F.conv2d, F.conv3d)[self._dimensions - 1]
        return convolution(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """Convolution over (N, C, L) or (C, L); arguments as in `Conv2d`, formula in `functional.conv1d`."""

    _dimensions = 1


class Conv2d(_Conv):
    """Convolution (cross-correlation) over (N, C, H, W) or (C, H, W); formula in `functional.conv2d`.

    Args:
        in_channels, out_channels: C and O, both divisible by `groups`.
        kernel_size, stride, dilation: integers or one per dimension, in elements.
        padding: an integer, one per dimension, "same" or "valid".
        groups: how many separate convolutions lie side by side.
        bias: whether there is a bias (O,).
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device, dtype: of the parameters.

    Attributes: `weight` (O, C / groups, kH, kW) and `bias`.
    Errors: ValueError for arguments that do not fit; when called, those of `functional.conv2d`.
    """

    _dimensions = 2


class Conv3d(_Conv):
    """Convolution over (N, C, D, H, W) or (C, D, H, W); arguments as in `Conv2d`, formula in `functional.conv3d`."""

    _dimensions = 3


class _ConvTransposeNd(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding_for(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output padding that gives `output_size` (spatial extents, or the whole shape)."""
        if output_size is None:
            return self.output_padding
        count = self._dimensions
        others = input.dim() - count
        wanted = tuple(output_size)
        if len(wanted) not in (count, count + others):
            raise ValueError(
                f"ConvTranspose{count}D: for {input.dim()}D input, output_size must have {count} or {count + others} "
                f"elements (got {len(wanted)})"
            )
        wanted = wanted[-count:]
        extents = tuple(input.shape)[-count:]
        result = []
        for i in range(count):
            least = (
                (extents[i] - 1) * self.stride[i]
                - 2 * self.padding[i]
                + self.dilation[i] * (self.kernel_size[i] - 1)
                + 1
            )
            if not least <= wanted[i] <= least + self.stride[i] - 1:
                raise ValueError(
                    f"requested an output size of {wanted}, but dimension {i} must lie in "
                    f"[{least}, {least + self.stride[i] - 1}] for an input of {extents}"
                )
            result.append(wanted[i] - least)
        return tuple(result)

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        convolution = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._dimensions - 1]
        output_padding = self._output_padding_for(input, output_size)
        return convolution(
            input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution over (N, C, L) or (C, L); arguments as in `ConvTranspose2d`."""

    _dimensions = 1


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution over (N, C, H, W) or (C, H, W); formula in `functional.conv_transpose2d`.

    Args: as `Conv2d`, and `output_padding`, rows and columns added at the end of the output, in elements. Calling it
    with `output_size` chooses the output padding that gives that size.

    Attributes: `weight` (C, O / groups, kH, kW) and `bias` (O,).
    """

    _dimensions = 2


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution over (N, C, D, H, W) or (C, D, H, W); arguments as in `ConvTranspose2d`."""

    _dimensions = 3
