"""Inception-ResNet v2 (Szegedy et al. 2017): the network that was released with weights.

Its residual blocks are repeated 10, 20 and 10 times, in the paper's figures 5, 10 and 5 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.googlenet import BasicConv2d
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


def _chain(inputs: int, *layers: tuple[int, Any, int, Any]) -> nn.Sequential:
    """Convolutions given as (outputs, kernel, stride, padding)."""
    modules = []
    for outputs, kernel, stride, padding in layers:
        modules.append(BasicConv2d(inputs, outputs, kernel, stride=stride, padding=padding))
        inputs = outputs
    return nn.Sequential(*modules)


class Residual(nn.Module):
    """Branches side by side, a 1x1 convolution back to the input's channels, scaled, added.

    Args:
        inputs: channels.
        branches: of convolutions, as `_chain` takes them.
        scale: factor of what is added, which keeps training stable.
        activation: ReLU behind the sum.
        reduction: if not 0, squeeze and excitation of what is added, with this many times fewer channels inside.
    """

    def __init__(
        self, inputs: int, branches: Sequence[Any], scale: float, activation: bool = True, reduction: int = 0
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_chain(inputs, *branch) for branch in branches])
        self.conv2d = nn.Conv2d(sum(branch[-1][0] for branch in branches), inputs, 1)
        self.se = nn.SqueezeExcitation(inputs, inputs // reduction) if reduction else None
        self.relu = nn.ReLU(inplace=True) if activation else None
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        change = self.conv2d(_core.cat([branch(x) for branch in self.branches], 1))
        if self.se is not None:
            change = self.se(change)
        x = x + change * self.scale
        return x if self.relu is None else self.relu(x)


class Mixed(nn.Module):
    """Branches side by side and a pooling branch, perhaps with a 1x1 convolution."""

    def __init__(self, inputs: int, branches: Sequence[Any], pool: nn.Module, pooled: int = 0) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_chain(inputs, *branch) for branch in branches])
        self.pool = nn.Sequential(pool, *([BasicConv2d(inputs, pooled, 1)] if pooled else []))

    def forward(self, x: Tensor) -> Tensor:
        return _core.cat([*(branch(x) for branch in self.branches), self.pool(x)], 1)


class InceptionResNetV2(Network):
    """(N, 3, 299, 299) to logits (N, num_classes).

    Args:
        num_classes, in_channels: extents of output and input.
        repeats: residual blocks at 35x35, 17x17 and 8x8.
        dropout: probability.
        reduction: if not 0, squeeze and excitation in the residual blocks, with this many times fewer channels inside.
    """

    head_names = ("classif",)
    stage_names = ("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "conv2d_7b")

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        repeats: Sequence[int] = (10, 20, 10),
        dropout: float = 0.2,
        reduction: int = 0,
    ) -> None:
        super().__init__()
        residual = partial(Residual, reduction=reduction)
        self.conv2d_1a = BasicConv2d(in_channels, 32, 3, stride=2)
        self.conv2d_2a = BasicConv2d(32, 32, 3)
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = BasicConv2d(64, 80, 1)
        self.conv2d_4a = BasicConv2d(80, 192, 3)
        self.maxpool_5a = nn.MaxPool2d(3, 2)
        three, double = ((48, 1, 1, 0), (64, 5, 1, 2)), ((64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 1, 1))
        pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.mixed_5b = Mixed(192, [((96, 1, 1, 0),), three, double], pool, 64)
        block35 = [
            ((32, 1, 1, 0),), ((32, 1, 1, 0), (32, 3, 1, 1)), ((32, 1, 1, 0), (48, 3, 1, 1), (64, 3, 1, 1)),
        ]  # fmt: skip
        self.repeat = nn.Sequential(*(residual(320, block35, 0.17) for _ in range(repeats[0])))
        down = [((384, 3, 2, 0),), ((256, 1, 1, 0), (256, 3, 1, 1), (384, 3, 2, 0))]
        self.mixed_6a = Mixed(320, down, nn.MaxPool2d(3, 2))
        block17 = [((192, 1, 1, 0),), ((128, 1, 1, 0), (160, (1, 7), 1, (0, 3)), (192, (7, 1), 1, (3, 0)))]
        self.repeat_1 = nn.Sequential(*(residual(1088, block17, 0.10) for _ in range(repeats[1])))
        down = [
            ((256, 1, 1, 0), (384, 3, 2, 0)), ((256, 1, 1, 0), (288, 3, 2, 0)),
            ((256, 1, 1, 0), (288, 3, 1, 1), (320, 3, 2, 0)),
        ]  # fmt: skip
        self.mixed_7a = Mixed(1088, down, nn.MaxPool2d(3, 2))
        block8 = [((192, 1, 1, 0),), ((192, 1, 1, 0), (224, (1, 3), 1, (0, 1)), (256, (3, 1), 1, (1, 0)))]
        self.repeat_2 = nn.Sequential(
            *(residual(2080, block8, 0.20) for _ in range(repeats[2] - 1)), residual(2080, block8, 1.0, False)
        )
        self.conv2d_7b = BasicConv2d(2080, 1536, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.classif = nn.Linear(1536, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.mixed_5b(self.maxpool_5a(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.mixed_6a(self.repeat(x))
        x = self.mixed_7a(self.repeat_1(x))
        x = self.conv2d_7b(self.repeat_2(x))
        return self.classif(self.dropout(self.flatten(self.avgpool(x))))


@register((3, 299, 299), mean=(0.5,), std=(0.5,))
def inception_resnet_v2(**options: Any) -> InceptionResNetV2:
    """Inception-ResNet v2."""
    return InceptionResNetV2(**options)


@register((3, 299, 299), mean=(0.5,), std=(0.5,))
def se_inception_resnet_v2(**options: Any) -> InceptionResNetV2:
    """Inception-ResNet v2 with squeeze and excitation (Hu et al. 2018)."""
    return InceptionResNetV2(**{"reduction": 16, **options})
