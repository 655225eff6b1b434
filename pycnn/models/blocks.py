"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn import nn


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
