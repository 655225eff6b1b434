"""ConvNeXt (Liu et al. 2022) with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import init


class LayerNorm2d(nn.LayerNorm):
    """Normalises (N, C, H, W) over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    """Reorders dimensions."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


class Block(nn.Module):
    """A 7x7 depthwise convolution, then for each pixel four times as many channels and back; scaled, and a shortcut.

    Args:
        width: channels.
        layer_scale: what the scale of each channel begins with.
        drop: probability that a sample takes the shortcut alone, in training.
    """

    def __init__(self, width: int, layer_scale: float, drop: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            Permute((0, 2, 3, 1)),
            nn.LayerNorm(width, eps=1e-6),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            Permute((0, 3, 1, 2)),
        )
        self.layer_scale = nn.Parameter(_core.full((width, 1, 1), layer_scale))
        self.stochastic_depth = nn.StochasticDepth(drop, "row")

    def forward(self, x: Tensor) -> Tensor:
        return self.stochastic_depth(self.layer_scale * self.block(x)) + x


class ConvNeXt(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        widths: channels of each stage.
        depths: blocks of each stage.
        num_classes, in_channels: extents of output and input.
        drop: probability that the last block is skipped in training; it grows in equal steps from 0 at the first.
        layer_scale: what the scale of each channel begins with.
    """

    head_names = ("classifier.2",)
    stage_names = ("features.1", "features.3", "features.5", "features.7")

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        drop: float = 0.0,
        layer_scale: float = 1e-6,
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, 4), LayerNorm2d(widths[0], eps=1e-6))
        layers: list[nn.Module] = [stem]
        count, total = 0, sum(depths)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage > 0:
                before = widths[stage - 1]
                layers.append(nn.Sequential(LayerNorm2d(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)))
            drops = [drop * (count + i) / max(total - 1, 1) for i in range(depth)]
            layers.append(nn.Sequential(*[Block(width, layer_scale, p) for p in drops]))
            count += depth
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            LayerNorm2d(widths[-1], eps=1e-6), nn.Flatten(1), nn.Linear(widths[-1], num_classes)
        )
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                assert module.bias is not None
                init.trunc_normal_(module.weight, std=0.02)
                init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)))


@register()
def convnext_tiny(**options: Any) -> ConvNeXt:
    """ConvNeXt-T."""
    return ConvNeXt((96, 192, 384, 768), (3, 3, 9, 3), **{"drop": 0.1, **options})


@register()
def convnext_small(**options: Any) -> ConvNeXt:
    """ConvNeXt-S."""
    return ConvNeXt((96, 192, 384, 768), (3, 3, 27, 3), **{"drop": 0.4, **options})


@register()
def convnext_base(**options: Any) -> ConvNeXt:
    """ConvNeXt-B."""
    return ConvNeXt((128, 256, 512, 1024), (3, 3, 27, 3), **{"drop": 0.5, **options})


@register()
def convnext_large(**options: Any) -> ConvNeXt:
    """ConvNeXt-L."""
    return ConvNeXt((192, 384, 768, 1536), (3, 3, 27, 3), **{"drop": 0.5, **options})
