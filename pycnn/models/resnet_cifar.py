"""Residual networks for images of 32x32, He et al. 2015, section 4.2."""

from __future__ import annotations

from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register
from pycnn.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions. Where the size changes, the shortcut takes every second pixel and adds channels of zeros
    (option A of the paper), so it has no parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            x = F.pad(x, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return self.relu(out + x)


class CIFARResNet(Network):
    """6 n + 2 layers: (N, 3, 32, 32) to logits (N, num_classes).

    Args:
        blocks: n, in each of three stages.
        num_classes, in_channels: extents of output and input.
        width: channels of the first stage.
    """

    head_names = ("fc",)
    stage_names = ("layer1", "layer2", "layer3")

    def __init__(self, blocks: int, num_classes: int = 10, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(blocks, width, width, 1)
        self.layer2 = self._stage(blocks, width, 2 * width, 2)
        self.layer3 = self._stage(blocks, 2 * width, 4 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(4 * width, num_classes)
        initialize(self)

    def _stage(self, count: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(1, count)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.flatten(self.avgpool(x)))


@register((3, 32, 32))
def resnet20(**options: Any) -> CIFARResNet:
    """ResNet-20, 0.27 million parameters."""
    return CIFARResNet(3, **options)


@register((3, 32, 32))
def resnet32(**options: Any) -> CIFARResNet:
    """ResNet-32, 0.46 million parameters."""
    return CIFARResNet(5, **options)


@register((3, 32, 32))
def resnet44(**options: Any) -> CIFARResNet:
    """ResNet-44, 0.66 million parameters."""
    return CIFARResNet(7, **options)


@register((3, 32, 32))
def resnet56(**options: Any) -> CIFARResNet:
    """ResNet-56, 0.85 million parameters."""
    return CIFARResNet(9, **options)


@register((3, 32, 32))
def resnet110(**options: Any) -> CIFARResNet:
    """ResNet-110, 1.7 million parameters."""
    return CIFARResNet(18, **options)
