"""Maximum and mean over windows of 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.conv import to_tuple
from pycnn.nn.module import Module


class _MaxPoolNd(Module):
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


class MaxPool1d(_MaxPoolNd):
    """The largest element of every window of (N, C, L); see `functional.max_pool2d`."""

    _dimensions = 1


class MaxPool2d(_MaxPoolNd):
    """The largest element of every window of (N, C, H, W); see `functional.max_pool2d`."""

    _dimensions = 2


class MaxPool3d(_MaxPoolNd):
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
        self.kernel_size = to_tuple(kernel_size, 1)
        self.stride = self.kernel_size if stride is None else to_tuple(stride, 1)
        self.padding = to_tuple(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
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


class AvgPool2d(_AvgPoolNd):
    """The mean of every window of (N, C, H, W); see `functional.avg_pool2d`."""

    _dimensions = 2


class AvgPool3d(_AvgPoolNd):
    """The mean of every window of (N, C, D, H, W); see `functional.avg_pool2d`."""

    _dimensions = 3


class _AdaptiveAvgPoolNd(Module):
    _dimensions: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[self._dimensions - 1]
        return pool(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means of windows that give (N, C, output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 3


class _AdaptiveMaxPoolNd(Module):
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


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Largest elements of windows that give (N, C, output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Largest elements of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Largest elements of windows that give (N, C, *output_size); see `functional.adaptive_avg_pool2d`."""

    _dimensions = 3


class _MaxUnpoolNd(Module):
    _dimensions: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        count = self._dimensions
        self.kernel_size = to_tuple(kernel_size, count)
        self.stride = to_tuple(kernel_size if stride is None else stride, count)
        self.padding = to_tuple(padding, count)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self._dimensions - 1]
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts the maxima of (N, C, L) back where they were; see `functional.max_unpool2d`."""

    _dimensions = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts the maxima of (N, C, H, W) back where they were; see `functional.max_unpool2d`."""

    _dimensions = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts the maxima of (N, C, D, H, W) back where they were; see `functional.max_unpool2d`."""

    _dimensions = 3


class _LPPoolNd(Module):
    _dimensions: int

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self._dimensions - 1]
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The p-norm of every window of (N, C, L); see `functional.lp_pool2d`."""

    _dimensions = 1


class LPPool2d(_LPPoolNd):
    """The p-norm of every window of (N, C, H, W); see `functional.lp_pool2d`."""

    _dimensions = 2


class LPPool3d(_LPPoolNd):
    """The p-norm of every window of (N, C, D, H, W); see `functional.lp_pool2d`."""

    _dimensions = 3


class _FractionalMaxPool(Module):
    _dimensions: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        count, name = self._dimensions, type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
                if output_size is None
                else "only one of output_size and output_ratio may be specified"
            )
        self.kernel_size = to_tuple(kernel_size, count)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else to_tuple(output_size, count)
        self.output_ratio: tuple[float, ...] | None = None
        if output_ratio is not None:
            ratios = (output_ratio,) * count if isinstance(output_ratio, float) else tuple(output_ratio)
            if not all(0 < ratio < 1 for ratio in ratios):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")
            self.output_ratio = ratios

    def forward(self, input: Tensor) -> Any:
        pool = F.fractional_max_pool2d if self._dimensions == 2 else F.fractional_max_pool3d
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of windows at random places of (N, C, H, W); see `functional.fractional_max_pool2d`."""

    _dimensions = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of windows at random places of (N, C, D, H, W); see `functional.fractional_max_pool2d`."""

    _dimensions = 3
