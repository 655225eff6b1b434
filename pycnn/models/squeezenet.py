"""SqueezeNet (Iandola et al. 2016) with torchvision's names."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register
from pycnn.nn import init


class Fire(nn.Module):
    """1x1 convolutions that squeeze, then 1x1 and 3x3 ones side by side that expand."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        ones, threes = self.expand1x1(x), self.expand3x3(x)
        return _core.cat([self.expand1x1_activation(ones), self.expand3x3_activation(threes)], 1)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class SqueezeNet(Network):
    """(N, 3, 224, 224) to logits (N, num_classes). `version` is "1_0" or "1_1", which needs 2.4 times less work."""

    head_names = ("classifier.1",)

    def __init__(
        self, version: str = "1_0", num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if version == "1_0":
            layers = [nn.Conv2d(in_channels, 96, 7, 2), nn.ReLU(inplace=True), _pool()]
            layers += [Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool()]
            layers += [Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool()]
            layers += [Fire(512, 64, 256)]
            ends = (1, 5, 10, 12)
        else:
            layers = [nn.Conv2d(in_channels, 64, 3, 2), nn.ReLU(inplace=True), _pool()]
            layers += [Fire(64, 16, 64), Fire(128, 16, 64), _pool(), Fire(128, 32, 128), Fire(256, 32, 128), _pool()]
            layers += [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
            ends = (1, 4, 7, 12)
        self.stage_names = tuple(f"features.{end}" for end in ends)
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        self.flatten = nn.Flatten()
        initialize(self)
        init.normal_(last.weight, 0.0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.flatten(self.classifier(self.features(x)))


@register()
def squeezenet1_0(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.0, the paper's."""
    return SqueezeNet("1_0", **options)


@register()
def squeezenet1_1(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.1."""
    return SqueezeNet("1_1", **options)
