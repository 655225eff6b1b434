"""MobileNet v1, v2 and v3 (Howard et al. 2017, Sandler et al. 2018, Howard et al. 2019), with width multipliers.

v2 and v3 have torchvision's names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.blocks import convolution_norm, divisible
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


class MobileNetV1(Network):
    """Depthwise 3x3 and pointwise convolutions in turn: (N, 3, 224, 224) to logits (N, num_classes).

    Args:
        num_classes, in_channels: extents of output and input.
        width: factor of all channels.
        dropout: probability.
    """

    head_names = ("fc",)
    stage_names = ("features.2", "features.6", "features.10", "features.22", "features.26")

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.001
    ) -> None:
        super().__init__()
        # Table 1 of the paper: outputs and stride of each pair.
        rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        channels = int(32 * width)
        layers = [convolution_norm(in_channels, channels, 3, 2)]
        for outputs, stride in rows:
            layers.append(convolution_norm(channels, channels, 3, stride, groups=channels))
            layers.append(convolution_norm(channels, int(outputs * width), 1))
            channels = int(outputs * width)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(self.flatten(self.avgpool(self.features(x)))))


class InvertedResidualV2(nn.Module):
    """1x1 that expands, depthwise 3x3, 1x1 without activation; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        block = partial(convolution_norm, activation=nn.ReLU6)
        layers: list[nn.Module] = [block(inputs, hidden, 1)] if expansion != 1 else []
        layers.append(block(hidden, hidden, 3, stride, groups=hidden))
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(Network):
    """(N, 3, 224, 224) to logits (N, num_classes); arguments as `MobileNetV1`."""

    head_names = ("classifier.1",)
    stage_names = ("features.1", "features.3", "features.6", "features.13", "features.18")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, width: float = 1.0, dropout: float = 0.2) -> None:
        super().__init__()
        # Table 2 of the paper: expansion, outputs, blocks, stride of the first.
        rows = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        channels = divisible(32 * width)
        last = divisible(1280 * max(1.0, width))
        layers: list[nn.Module] = [convolution_norm(in_channels, channels, 3, 2, activation=nn.ReLU6)]
        for expansion, outputs, count, stride in rows:
            outputs = divisible(outputs * width)
            for i in range(count):
                layers.append(InvertedResidualV2(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        layers.append(convolution_norm(channels, last, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


class _Row(NamedTuple):
    """A line of tables 1 and 2 of the v3 paper."""

    kernel: int
    expanded: int
    outputs: int
    squeeze: bool
    hardswish: bool
    stride: int


_LARGE = [
    _Row(3, 16, 16, False, False, 1), _Row(3, 64, 24, False, False, 2), _Row(3, 72, 24, False, False, 1),
    _Row(5, 72, 40, True, False, 2), _Row(5, 120, 40, True, False, 1), _Row(5, 120, 40, True, False, 1),
    _Row(3, 240, 80, False, True, 2), _Row(3, 200, 80, False, True, 1), _Row(3, 184, 80, False, True, 1),
    _Row(3, 184, 80, False, True, 1), _Row(3, 480, 112, True, True, 1), _Row(3, 672, 112, True, True, 1),
    _Row(5, 672, 160, True, True, 2), _Row(5, 960, 160, True, True, 1), _Row(5, 960, 160, True, True, 1),
]  # fmt: skip
_SMALL = [
    _Row(3, 16, 16, True, False, 2), _Row(3, 72, 24, False, False, 2), _Row(3, 88, 24, False, False, 1),
    _Row(5, 96, 40, True, True, 2), _Row(5, 240, 40, True, True, 1), _Row(5, 240, 40, True, True, 1),
    _Row(5, 120, 48, True, True, 1), _Row(5, 144, 48, True, True, 1), _Row(5, 288, 96, True, True, 2),
    _Row(5, 576, 96, True, True, 1), _Row(5, 576, 96, True, True, 1),
]  # fmt: skip


def _block_v3(activation: Callable[[], nn.Module] | None) -> Callable[..., nn.Sequential]:
    return partial(convolution_norm, activation=activation, norm=partial(nn.BatchNorm2d, eps=0.001, momentum=0.01))


class InvertedResidualV3(nn.Module):
    """As in v2, with squeeze and excitation and hard swish where the table says so."""

    def __init__(self, inputs: int, row: _Row, width: float) -> None:
        super().__init__()
        hidden, outputs = divisible(row.expanded * width), divisible(row.outputs * width)
        block = _block_v3(nn.Hardswish if row.hardswish else nn.ReLU)
        layers: list[nn.Module] = [block(inputs, hidden, 1)] if hidden != inputs else []
        layers.append(block(hidden, hidden, row.kernel, row.stride, groups=hidden))
        if row.squeeze:
            squeezed = divisible(hidden // 4)
            layers.append(nn.SqueezeExcitation(hidden, squeezed, scale_activation=nn.Hardsigmoid))
        layers.append(_block_v3(None)(hidden, outputs, 1))
        self.block = nn.Sequential(*layers)
        self.shortcut = row.stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.shortcut else self.block(x)


class MobileNetV3(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        rows: of the paper's table.
        last: outputs of the first linear layer.
        num_classes, in_channels, width, dropout: as `MobileNetV1`.
    """

    head_names = ("classifier.3",)

    def __init__(
        self,
        rows: Sequence[_Row],
        last: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        width: float = 1.0,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        hardswish = _block_v3(nn.Hardswish)
        channels = divisible(16 * width)
        layers: list[nn.Module] = [hardswish(in_channels, channels, 3, 2)]
        for row in rows:
            layers.append(InvertedResidualV3(channels, row, width))
            channels = divisible(row.outputs * width)
        layers.append(hardswish(channels, 6 * channels, 1))
        ends = [i for i, row in enumerate(rows) if row.stride == 2] + [len(rows) + 1]
        self.stage_names = tuple(f"features.{end}" for end in ends)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        hidden = divisible(last * width)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, hidden),
            nn.Hardswish(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


@register()
def mobilenet_v1(**options: Any) -> MobileNetV1:
    """MobileNet v1, 569 million multiply-adds at width 1."""
    return MobileNetV1(**options)


@register()
def mobilenet_v2(**options: Any) -> MobileNetV2:
    """MobileNet v2."""
    return MobileNetV2(**options)


@register()
def mobilenet_v3_large(**options: Any) -> MobileNetV3:
    """MobileNet v3, the large one."""
    return MobileNetV3(_LARGE, 1280, **options)


@register()
def mobilenet_v3_small(**options: Any) -> MobileNetV3:
    """MobileNet v3, the small one."""
    return MobileNetV3(_SMALL, 1024, **options)
