"""VGG, Simonyan and Zisserman 2014: configurations A to E, with torchvision's names where it has them."""

from __future__ import annotations

from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register

# Table 1 of the paper: channels of 3x3 convolutions, "M" maximum pooling, "L" response normalisation, negative: 1x1.
CONFIGURATIONS: dict[str, list[Any]] = {
    "A": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "A-LRN": [64, "L", "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "B": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "C": [64, 64, "M", 128, 128, "M", 256, 256, -256, "M", 512, 512, -512, "M", 512, 512, -512, "M"],
    "D": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    "E": [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}


class VGG(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        configuration: a key of `CONFIGURATIONS`.
        batch_norm: between convolutions and ReLU.
        num_classes, in_channels: extents of output and input.
        dropout: probability.
        width: factor of all channels.
        hidden: outputs of the first two linear layers.
        reduction: if not 0, squeeze and excitation after each convolution, with this many times fewer channels inside.
    """

    head_names = ("classifier.6",)

    def __init__(
        self,
        configuration: str,
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        width: float = 1.0,
        hidden: int = 4096,
        reduction: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        ends = []
        channels = in_channels
        for item in CONFIGURATIONS[configuration]:
            if item == "M":
                ends.append(f"features.{len(layers)}")
                layers.append(nn.MaxPool2d(2))
            elif item == "L":
                layers.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0))
            else:
                outputs = int(abs(item) * width)
                kernel = 3 if item > 0 else 1
                layers.append(nn.Conv2d(channels, outputs, kernel, padding=kernel // 2))
                layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
                layers.append(nn.ReLU(inplace=True))
                layers += [nn.SqueezeExcitation(outputs, outputs // reduction)] if reduction else []
                channels = outputs
        self.stage_names = tuple(ends)
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


@register(aliases=("vgg_a",))
def vgg11(**options: Any) -> VGG:
    """Configuration A."""
    return VGG("A", **options)


@register(aliases=("vgg_a_bn",))
def vgg11_bn(**options: Any) -> VGG:
    """Configuration A with batch normalisation."""
    return VGG("A", True, **options)


@register()
def vgg_a_lrn(**options: Any) -> VGG:
    """Configuration A-LRN: response normalisation after the first convolution."""
    return VGG("A-LRN", **options)


@register(aliases=("vgg_b",))
def vgg13(**options: Any) -> VGG:
    """Configuration B."""
    return VGG("B", **options)


@register(aliases=("vgg_b_bn",))
def vgg13_bn(**options: Any) -> VGG:
    """Configuration B with batch normalisation."""
    return VGG("B", True, **options)


@register()
def vgg_c(**options: Any) -> VGG:
    """Configuration C: D with 1x1 convolutions at the ends of the last three stages."""
    return VGG("C", **options)


@register()
def vgg_c_bn(**options: Any) -> VGG:
    """Configuration C with batch normalisation."""
    return VGG("C", True, **options)


@register(aliases=("vgg_d",))
def vgg16(**options: Any) -> VGG:
    """Configuration D."""
    return VGG("D", **options)


@register(aliases=("vgg_d_bn",))
def vgg16_bn(**options: Any) -> VGG:
    """Configuration D with batch normalisation."""
    return VGG("D", True, **options)


@register(aliases=("vgg_e",))
def vgg19(**options: Any) -> VGG:
    """Configuration E."""
    return VGG("E", **options)


@register(aliases=("vgg_e_bn",))
def vgg19_bn(**options: Any) -> VGG:
    """Configuration E with batch normalisation."""
    return VGG("E", True, **options)


@register()
def se_vgg16_bn(**options: Any) -> VGG:
    """Configuration D with batch normalisation, squeeze and excitation (Hu et al. 2018)."""
    return VGG("D", True, **{"reduction": 16, **options})
