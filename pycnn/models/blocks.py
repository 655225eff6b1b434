"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor


def convolution_norm(
    inputs: int,
    outputs: int,
    kernel_size: Any = 3,
    stride: Any = 1,
    *,
    padding: Any = None,
    groups: int = 1,
    dilation: int = 1,
    activation: Callable[[], nn.Module] | None = lambda: nn.ReLU(inplace=True),
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """Convolution "0" without bias, normalisation "1", activation "2"; the padding keeps the size at stride 1."""
    if padding is None:
        padding = (kernel_size - 1) // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding, dilation, groups, bias=False),
        norm(outputs),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, but never below 90 % of `channels`: how MobileNets round scaled widths."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ReLU6(nn.Module):
    """min(max(x, 0), 6)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(0.0, 6.0)


class Hardsigmoid(nn.Module):
    """min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 3.0).clamp(0.0, 6.0) / 6.0


class Hardswish(nn.Module):
    """x times `Hardsigmoid` of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x + 3.0).clamp(0.0, 6.0) / 6.0


class PReLU(nn.Module):
    """max(x, 0) + weight min(x, 0), with a weight per channel (He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_core.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(-1, *[1] * (x.dim() - 2))
        return x.clamp_min(0.0) + weight * x.clamp_max(0.0)
