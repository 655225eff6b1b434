"""Small blocks of convolutional networks that PyTorch leaves to other packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.activation import ReLU, Sigmoid
from pycnn.nn.conv import Conv2d
from pycnn.nn.module import Module
from pycnn.nn.pooling import AdaptiveAvgPool2d


class SqueezeExcitation(Module):
    """Scales each channel of (N, C, H, W) by a number that depends on the means of all (Hu et al. 2018).

    Args:
        input_channels: C.
        squeeze_channels: channels between the two 1x1 convolutions `fc1` and `fc2`.
        activation, scale_activation: what makes the layers between and behind them.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., Module] = ReLU,
        scale_activation: Callable[..., Module] = Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        return input * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(input)))))


class BlurPool2d(Module):
    """Every `stride`-th element of each channel of (N, C, H, W) after a binomial filter (Zhang 2019).

    Args:
        channels: C.
        filt_size: taps of the filter in either direction: 3 is (1, 2, 1) / 4.
        stride: step between results, in elements.
        pad_mode: "reflect", "replicate", "circular" or "constant" (zeros).

    Errors: ValueError for fewer than 2 taps; when called, those of `functional.conv2d` and `functional.pad`.
    """

    filt: Tensor

    def __init__(self, channels: int, filt_size: int = 3, stride: int = 2, pad_mode: str = "reflect") -> None:
        super().__init__()
        if filt_size < 2:
            raise ValueError(f"filt_size must be greater than 1, but got {filt_size}")
        self.channels = channels
        self.filt_size = filt_size
        self.stride = stride
        self.pad_mode = pad_mode
        self.padding = ((stride - 1 + filt_size - 1) // 2,) * 4
        row = [1.0]
        for _ in range(filt_size - 1):
            row = [(a + b) / 2 for a, b in zip([0.0, *row], [*row, 0.0], strict=True)]
        taps = _core.tensor([[a * b for b in row] for a in row])
        filt = taps.reshape((1, 1, filt_size, filt_size)).repeat(channels, 1, 1, 1)
        self.register_buffer("filt", filt, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        padded = F.pad(input, self.padding, self.pad_mode)
        return F.conv2d(padded, self.filt.to(input.dtype), stride=self.stride, groups=self.channels)

    def extra_repr(self) -> str:
        return f"{self.channels}, filt_size={self.filt_size}, stride={self.stride}, pad_mode={self.pad_mode!r}"


class StochasticDepth(Module):
    """In training, zeroes whole samples of (N, ...) (or the whole batch) and scales the rest (Huang et al. 2016).

    Args:
        p: the probability, in 0..1.
        mode: "row" for each sample by itself, "batch" for all together.

    Errors: ValueError for p outside 0..1 or another mode.
    """

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")
        if mode not in ("batch", "row"):
            raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
        self.p = p
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        rows = input.shape[0] if self.mode == "row" else 1
        return _drop_samples(input, rows, self.p, self.training, True)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class DropPath(Module):
    """In training, zeroes whole samples of (N, ...) with probability drop_prob (Larsson et al. 2017).

    Args:
        drop_prob: the probability, in 0..1.
        scale_by_keep: whether the rest is divided by 1 - drop_prob.

    Errors: ValueError for drop_prob outside 0..1.
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        if not 0 <= drop_prob <= 1:
            raise ValueError(f"drop probability has to be between 0 and 1, but got {drop_prob}")
        self.drop_prob = drop_prob
        self.scale_by_keep = scale_by_keep

    def forward(self, input: Tensor) -> Tensor:
        return _drop_samples(input, input.shape[0], self.drop_prob, self.training, self.scale_by_keep)

    def extra_repr(self) -> str:
        return f"drop_prob={self.drop_prob:0.3f}"


def _drop_samples(input: Tensor, rows: int, p: float, training: bool, scale: bool) -> Tensor:
    if not training or p == 0:
        return input
    kept = _core.bernoulli(_core.full((rows, *(1,) * (input.dim() - 1)), 1 - p, dtype=input.dtype, device=input.device))
    return input * (kept / (1 - p) if scale and p < 1 else kept)


class SpatialPyramidPooling(Module):
    """Pools (N, C, H, W) of any size to grids of several sizes, (N, C * sum of levels^2) (He et al. 2014).

    Args:
        levels: rows (and columns) of each grid; they follow each other in the result, channels first.
        mode: "max" or "avg".

    Errors: ValueError for another mode; when called, those of `functional.adaptive_max_pool2d`.
    """

    def __init__(self, levels: Sequence[int] = (1, 2, 4), mode: str = "max") -> None:
        super().__init__()
        if mode not in ("max", "avg"):
            raise ValueError(f"mode has to be 'max' or 'avg', but got {mode!r}")
        self.levels = tuple(levels)
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        pool: Callable[..., Any] = F.adaptive_max_pool2d if self.mode == "max" else F.adaptive_avg_pool2d
        return _core.cat([pool(input, level).flatten(1) for level in self.levels], 1)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, mode={self.mode!r}"
