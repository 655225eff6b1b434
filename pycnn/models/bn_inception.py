"""BN-Inception, Ioffe and Szegedy 2015, with the widths of the network that was released."""

from __future__ import annotations

from functools import partial
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.blocks import convolution_norm
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


class Block(nn.Module):
    """1x1; 1x1 and 3x3; 1x1 and two 3x3; pooling and 1x1. A width of 0 leaves a convolution out.

    Args:
        inputs: channels.
        one: of the 1x1 branch.
        three, double: (first, others) of the branches with 3x3 convolutions.
        pooled: of the pooling branch.
        pool: "avg" or "max".
        stride: of the last 3x3 convolutions and of the pooling.
        reduction: if not 0, squeeze and excitation of the result, with this many times fewer channels inside.
    """

    def __init__(
        self,
        inputs: int,
        one: int,
        three: tuple[int, int],
        double: tuple[int, int],
        pooled: int,
        pool: str = "avg",
        stride: int = 1,
        reduction: int = 0,
    ) -> None:
        super().__init__()
        self.branch1 = convolution_norm(inputs, one, 1) if one else None
        self.branch2 = nn.Sequential(convolution_norm(inputs, three[0], 1), convolution_norm(*three, 3, stride))
        self.branch3 = nn.Sequential(
            convolution_norm(inputs, double[0], 1),
            convolution_norm(*double, 3),
            convolution_norm(double[1], double[1], 3, stride),
        )
        pooling: nn.Module = nn.AvgPool2d(3, 1, 1) if pool == "avg" else nn.MaxPool2d(3, stride, 1)
        self.branch4 = nn.Sequential(pooling, *([convolution_norm(inputs, pooled, 1)] if pooled else []))
        outputs = one + three[1] + double[1] + (pooled or inputs)
        self.se = nn.SqueezeExcitation(outputs, outputs // reduction) if reduction else None

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        x = _core.cat([branch(x) for branch in branches if branch is not None], 1)
        return x if self.se is None else self.se(x)


class BNInception(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        num_classes, in_channels: extents of output and input.
        reduction: if not 0, squeeze and excitation after each block, with this many times fewer channels inside.
    """

    head_names = ("fc",)
    stage_names = ("conv1", "conv3", "inception3b", "inception4d", "inception5b")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, reduction: int = 0) -> None:
        super().__init__()
        block = partial(Block, reduction=reduction)
        self.conv1 = convolution_norm(in_channels, 64, 7, 2)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = convolution_norm(64, 64, 1)
        self.conv3 = convolution_norm(64, 192, 3)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = block(192, 64, (64, 64), (64, 96), 32)
        self.inception3b = block(256, 64, (64, 96), (64, 96), 64)
        self.inception3c = block(320, 0, (128, 160), (64, 96), 0, "max", 2)
        self.inception4a = block(576, 224, (64, 96), (96, 128), 128)
        self.inception4b = block(576, 192, (96, 128), (96, 128), 128)
        self.inception4c = block(576, 160, (128, 160), (128, 160), 128)
        self.inception4d = block(608, 96, (128, 192), (160, 192), 128)
        self.inception4e = block(608, 0, (128, 192), (192, 256), 0, "max", 2)
        self.inception5a = block(1056, 352, (192, 320), (160, 224), 128)
        self.inception5b = block(1024, 352, (192, 320), (192, 224), 128, "max")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(1024, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool2(self.conv3(self.conv2(self.pool1(self.conv1(x)))))
        x = self.inception3c(self.inception3b(self.inception3a(x)))
        x = self.inception4d(self.inception4c(self.inception4b(self.inception4a(x))))
        x = self.inception5b(self.inception5a(self.inception4e(x)))
        return self.fc(self.flatten(self.avgpool(x)))


@register()
def bn_inception(**options: Any) -> BNInception:
    """BN-Inception."""
    return BNInception(**options)


@register()
def se_bn_inception(**options: Any) -> BNInception:
    """BN-Inception with squeeze and excitation (Hu et al. 2018)."""
    return BNInception(**{"reduction": 16, **options})
