"""FCN (Long et al. 2015) and DeepLab v3 (Chen et al. 2017) on dilated ResNets, with torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.blocks import convolution_norm
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.models.resnet import Bottleneck, ResNet
from pycnn.nn import functional as F


class Backbone(nn.Module):
    """A ResNet without its classifier, whose last two stages dilate instead of halving: maps at stride 8."""

    def __init__(self, layers: Sequence[int], in_channels: int, base: int) -> None:
        super().__init__()
        dilate = (False, True, True)
        whole = ResNet(
            Bottleneck, layers, num_classes=1, in_channels=in_channels, base=base, replace_stride_with_dilation=dilate
        )
        for name, child in whole.named_children():
            if name not in ("avgpool", "flatten", "fc"):
                self.add_module(name, child)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        third = self.layer3(self.layer2(self.layer1(x)))
        return third, self.layer4(third)


class FCNHead(nn.Sequential):
    """A 3x3 convolution, then scores."""

    def __init__(self, inputs: int, num_classes: int) -> None:
        width = inputs // 4
        layers = convolution_norm(inputs, width)
        super().__init__(*layers, nn.Dropout(0.1), nn.Conv2d(width, num_classes, 1))


class PooledBranch(nn.Sequential):
    """What the whole image says, everywhere."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *convolution_norm(inputs, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(super().forward(x), size=tuple(x.shape[-2:]), mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 3x3 convolutions of several dilations, a 1x1 one and the mean, side by side."""

    def __init__(self, inputs: int, rates: Sequence[int], width: int) -> None:
        super().__init__()
        dilated = [convolution_norm(inputs, width, dilation=rate) for rate in rates]
        self.convs = nn.ModuleList([convolution_norm(inputs, width, 1), *dilated, PooledBranch(inputs, width)])
        self.project = nn.Sequential(*convolution_norm(len(self.convs) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(_core.cat([branch(x) for branch in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """ASPP, a 3x3 convolution, then scores."""

    def __init__(self, inputs: int, num_classes: int, rates: Sequence[int] = (12, 24, 36), width: int = 256) -> None:
        pyramid = ASPP(inputs, rates, width)
        super().__init__(pyramid, *convolution_norm(width, width), nn.Conv2d(width, num_classes, 1))


class _Segmentation(Network):
    """(N, 3, H, W) to a dict: "out" are logits (N, num_classes, H, W), "aux" those of the auxiliary classifier.

    Args:
        layers: blocks in each stage of the ResNet.
        num_classes, in_channels: extents of output and input.
        aux_loss: whether there is an auxiliary classifier on the third stage.
        base: channels of the first stage's 3x3 convolutions.
    """

    head_names = ("classifier.4", "aux_classifier.4")
    auxiliary = ("aux_classifier",)
    stage_names = ("backbone.relu", "backbone.layer1", "backbone.layer2", "backbone.layer3", "backbone.layer4")

    def __init__(
        self,
        layers: Sequence[int],
        num_classes: int = 21,
        in_channels: int = 3,
        aux_loss: bool = False,
        base: int = 64,
        **head: Any,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(layers, in_channels, base)
        outputs = 8 * base * Bottleneck.expansion
        self.classifier = self._head(outputs, num_classes, **head)
        self.aux_classifier = FCNHead(outputs // 2, num_classes) if aux_loss else None

    def _head(self, inputs: int, num_classes: int) -> nn.Module:
        raise NotImplementedError

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        third, fourth = self.backbone(x)
        scores = {"out": self.classifier(fourth)}
        if self.aux_classifier is not None:
            scores["aux"] = self.aux_classifier(third)
        size = tuple(x.shape[-2:])
        return {
            name: F.interpolate(score, size=size, mode="bilinear", align_corners=False)
            for name, score in scores.items()
        }


class FCN(_Segmentation):
    __doc__ = _Segmentation.__doc__

    def _head(self, inputs: int, num_classes: int) -> nn.Module:
        return FCNHead(inputs, num_classes)


class DeepLabV3(_Segmentation):
    __doc__ = f"{_Segmentation.__doc__}    rates, width: dilations and channels of the head's 3x3 convolutions."

    def _head(self, inputs: int, num_classes: int, **options: Any) -> nn.Module:
        return DeepLabHead(inputs, num_classes, **options)


@register((3, 520, 520), task="segmentation")
def fcn_resnet50(**options: Any) -> FCN:
    """FCN on ResNet-50, with a head of one scale."""
    return FCN((3, 4, 6, 3), **options)


@register((3, 520, 520), task="segmentation")
def fcn_resnet101(**options: Any) -> FCN:
    """FCN on ResNet-101, with a head of one scale."""
    return FCN((3, 4, 23, 3), **options)


@register((3, 520, 520), task="segmentation")
def deeplabv3_resnet50(**options: Any) -> DeepLabV3:
    """DeepLab v3 on ResNet-50."""
    return DeepLabV3((3, 4, 6, 3), **options)


@register((3, 520, 520), task="segmentation")
def deeplabv3_resnet101(**options: Any) -> DeepLabV3:
    """DeepLab v3 on ResNet-101."""
    return DeepLabV3((3, 4, 23, 3), **options)
