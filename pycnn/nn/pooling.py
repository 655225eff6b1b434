"""Maximum and mean over windows of 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.module import Module


class _MaxPool(Module):
    _dimensions: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[self._dimensions - 1]
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of every window of (N, C, L); see `functional.max_pool2d`."""

    _dimensions = 1


class MaxPool2d(_MaxPool):
    """The largest element of every window of (N, C, H, W); see `functional.max_pool2d`."""

    _dimensions = 2


class MaxPool3d(_MaxPool):
    """The largest element of every window of (N, C, D, H, W); see `functional.max_pool2d`."""

    _dimensions = 3


class AvgPool1d(Module):
    """The mean of every window of (N, C, L); see `functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = self.kernel_size if stride is None else _single(stride)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _single(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


class _AvgPool(Module):
    _dimensions: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        pool = F.avg_pool2d if self._dimensions == 2 else F.avg_pool3d
        return pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of every window of (N, C, H, W); see `functional.avg_pool2d`."""

    _dimensions = 2


class AvgPool3d(_AvgPool):
    """The mean of every window of (N, C, D, H, W); see `functional.avg_pool2d`."""

    _dimensions = 3


class _AdaptiveAvgPool(Module):
    _dimensions: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[self._dimensions - 1]
        return pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of windows that give (N, C, output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 3


class _AdaptiveMaxPool(Module):
    _dimensions: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        pool = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[self._dimensions - 1]
        return pool(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest elements of windows that give (N, C, output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest elements of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest elements of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 3
