"""DenseNet (Huang et al. 2017) with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import init


class DenseLayer(nn.Module):
    """Adds `growth` channels to those before it, by way of a 1x1 convolution."""

    def __init__(self, inputs: int, growth: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(self.relu1(self.norm1(_core.cat(features, 1))))
        x = self.conv2(self.relu2(self.norm2(x)))
        return x if self.dropout is None else self.dropout(x)


class DenseBlock(nn.Module):
    """Layers of which each sees the outputs of all before it."""

    def __init__(self, count: int, inputs: int, growth: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        for i in range(count):
            layer = DenseLayer(inputs + i * growth, growth, bottleneck, dropout)
            self.add_module(f"denselayer{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.children():
            features.append(layer(features))
        return _core.cat(features, 1)


class Transition(nn.Sequential):
    """Halves channels and size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)


class DenseNet(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        blocks: layers per block.
        growth: channels that each layer adds.
        first: channels of the first convolution.
        num_classes, in_channels: extents of output and input.
        bottleneck: the 1x1 convolutions give this many times `growth`.
        dropout: probability, after each layer.
    """

    head_names = ("classifier",)
    old_names = ((r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2"),)  # in torchvision's weights

    def __init__(
        self,
        blocks: Sequence[int],
        growth: int = 32,
        first: int = 64,
        num_classes: int = 1000,
        in_channels: int = 3,
        bottleneck: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.conv0 = nn.Conv2d(in_channels, first, 7, 2, 3, bias=False)
        self.features.norm0 = nn.BatchNorm2d(first)
        self.features.relu0 = nn.ReLU(inplace=True)
        self.features.pool0 = nn.MaxPool2d(3, 2, 1)
        channels = first
        for i, count in enumerate(blocks, 1):
            self.features.add_module(f"denseblock{i}", DenseBlock(count, channels, growth, bottleneck, dropout))
            channels += count * growth
            if i < len(blocks):
                self.features.add_module(f"transition{i}", Transition(channels, channels // 2))
                channels //= 2
        self.features.norm5 = nn.BatchNorm2d(channels)
        self.stage_names = (
            "features.relu0", *(f"features.denseblock{i}" for i in range(1, len(blocks))), "features.norm5",
        )  # fmt: skip
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight)
        if self.classifier.bias is not None:
            init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.relu(self.features(x)))))


@register()
def densenet121(**options: Any) -> DenseNet:
    """DenseNet-121."""
    return DenseNet((6, 12, 24, 16), **options)


@register()
def densenet161(**options: Any) -> DenseNet:
    """DenseNet-161: growth 48."""
    return DenseNet((6, 12, 36, 24), 48, 96, **options)


@register()
def densenet169(**options: Any) -> DenseNet:
    """DenseNet-169."""
    return DenseNet((6, 12, 32, 32), **options)


@register()
def densenet201(**options: Any) -> DenseNet:
    """DenseNet-201."""
    return DenseNet((6, 12, 48, 32), **options)
