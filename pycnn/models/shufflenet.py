"""ShuffleNet v2 (Ma et al. 2018) with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.blocks import convolution_norm
from pycnn.models.network import Network
from pycnn.models.registry import register


def _shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels of the groups in turn."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels),
    ]  # fmt: skip


def _pointwise(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class InvertedResidual(nn.Module):
    """Half of the channels pass (or, at stride 2, a depthwise branch takes all); the others are convolved; shuffle."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        first = [] if stride == 1 else [*_depthwise(inputs, stride), *_pointwise(inputs, half)]
        self.branch1 = nn.Sequential(*first)
        self.branch2 = nn.Sequential(
            *_pointwise(half if stride == 1 else inputs, half), *_depthwise(half, stride), *_pointwise(half, half)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            kept, x = x.chunk(2, 1)
        else:
            kept = self.branch1(x)
        return _shuffled(_core.cat([kept, self.branch2(x)], 1), 2)


class ShuffleNetV2(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        channels: of the first convolution, the three stages and the last convolution.
        repeats: blocks per stage.
        num_classes, in_channels: extents of output and input.
    """

    head_names = ("fc",)
    stage_names = ("conv1", "maxpool", "stage2", "stage3", "conv5")

    def __init__(
        self,
        channels: Sequence[int],
        repeats: Sequence[int] = (4, 8, 4),
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = convolution_norm(in_channels, channels[0], 3, 2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i, count in enumerate(repeats):
            inputs, outputs = channels[i], channels[i + 1]
            blocks = [InvertedResidual(inputs, outputs, 2)]
            blocks += [InvertedResidual(outputs, outputs, 1) for _ in range(1, count)]
            self.add_module(f"stage{i + 2}", nn.Sequential(*blocks))
        self.conv5 = convolution_norm(channels[-2], channels[-1], 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        return self.fc(self.flatten(self.avgpool(x)))


@register()
def shufflenet_v2_x0_5(**options: Any) -> ShuffleNetV2:
    """Half the width."""
    return ShuffleNetV2((24, 48, 96, 192, 1024), **options)


@register()
def shufflenet_v2_x1_0(**options: Any) -> ShuffleNetV2:
    """ShuffleNet v2."""
    return ShuffleNetV2((24, 116, 232, 464, 1024), **options)


@register()
def shufflenet_v2_x1_5(**options: Any) -> ShuffleNetV2:
    """One and a half times the width."""
    return ShuffleNetV2((24, 176, 352, 704, 1024), **options)


@register()
def shufflenet_v2_x2_0(**options: Any) -> ShuffleNetV2:
    """Twice the width."""
    return ShuffleNetV2((24, 244, 488, 976, 2048), **options)
