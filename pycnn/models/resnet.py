"""Residual networks for ImageNet (He et al. 2015) and their kin, with torchvision's names.

Plain networks without shortcuts, ResNeXt (Xie et al. 2017), wide ResNets, squeeze and excitation (Hu et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        reduction: int = 0,
        shortcut: bool = True,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64 or dilation != 1:
            raise ValueError("BasicBlock has neither groups, nor other widths, nor dilation")
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.se = nn.SqueezeExcitation(width, width // reduction) if reduction else None
        self.downsample = downsample
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.se is not None:
            out = self.se(out)
        if self.shortcut:
            out = out + (x if self.downsample is None else self.downsample(x))
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut. The stride is in the 3x3 one, as torchvision has it, or in the
    first, as in the paper."""

    expansion = 4

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        reduction: int = 0,
        shortcut: bool = True,
        stride_in_1x1: bool = False,
    ) -> None:
        super().__init__()
        inner = int(width * (base_width / 64)) * groups
        outputs = width * self.expansion
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(inputs, inner, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, second, dilation, dilation, groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.se = nn.SqueezeExcitation(outputs, outputs // reduction) if reduction else None
        self.downsample = downsample
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.se is not None:
            out = self.se(out)
        if self.shortcut:
            out = out + (x if self.downsample is None else self.downsample(x))
        return self.relu(out)


class ResNet(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: blocks per stage.
        num_classes, in_channels: extents of output and input.
        groups, width_per_group: of the bottlenecks' 3x3 convolutions; 32 and 4 make ResNeXt 32x4d.
        replace_stride_with_dilation: for the last three stages.
        reduction: squeeze and excitation in each block with that factor, 0 for none.
        shortcut: without it the network is a plain one.
        stride_in_1x1: the bottlenecks' stride is in their first convolution, as in the paper.
        base: channels of the first convolution; those of the stages follow.
    """

    head_names = ("fc",)
    stage_names = ("relu", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        block: Any,
        layers: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] = (False, False, False),
        reduction: int = 0,
        shortcut: bool = True,
        stride_in_1x1: bool = False,
        base: int = 64,
    ) -> None:
        super().__init__()
        self._inputs = base
        self._dilation = 1
        self._options = {
            "groups": groups, "base_width": width_per_group, "reduction": reduction, "shortcut": shortcut,
            "stride_in_1x1": stride_in_1x1,
        }  # fmt: skip
        self.conv1 = nn.Conv2d(in_channels, base, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(block, base, layers[0])
        self.layer2 = self._stage(block, 2 * base, layers[1], 2, replace_stride_with_dilation[0])
        self.layer3 = self._stage(block, 4 * base, layers[2], 2, replace_stride_with_dilation[1])
        self.layer4 = self._stage(block, 8 * base, layers[3], 2, replace_stride_with_dilation[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8 * base * block.expansion, num_classes)
        initialize(self)

    def _stage(self, block: Any, width: int, count: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        first_dilation = self._dilation
        if dilate:
            self._dilation *= stride
            stride = 1
        outputs = width * block.expansion
        downsample = None
        if self._options["shortcut"] and (stride != 1 or self._inputs != outputs):
            downsample = nn.Sequential(nn.Conv2d(self._inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        blocks = [block(self._inputs, width, stride, downsample, dilation=first_dilation, **self._options)]
        self._inputs = outputs
        blocks += [block(outputs, width, dilation=self._dilation, **self._options) for _ in range(1, count)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


@register()
def resnet18(**options: Any) -> ResNet:
    """ResNet-18."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **options)


@register()
def resnet34(**options: Any) -> ResNet:
    """ResNet-34."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **options)


@register()
def resnet50(**options: Any) -> ResNet:
    """ResNet-50."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **options)


@register()
def resnet101(**options: Any) -> ResNet:
    """ResNet-101."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **options)


@register()
def resnet152(**options: Any) -> ResNet:
    """ResNet-152."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **options)


@register()
def plain18(**options: Any) -> ResNet:
    """ResNet-18 without shortcuts."""
    return ResNet(BasicBlock, [2, 2, 2, 2], shortcut=False, **options)


@register()
def plain34(**options: Any) -> ResNet:
    """ResNet-34 without shortcuts."""
    return ResNet(BasicBlock, [3, 4, 6, 3], shortcut=False, **options)


def _resnext50(groups: int, width: int, **options: Any) -> ResNet:
    return ResNet(Bottleneck, [3, 4, 6, 3], groups=groups, width_per_group=width, **options)


@register()
def resnext50_1x64d(**options: Any) -> ResNet:
    """Of the five that cost the same (Xie et al. 2017, table 2): one path of width 64, which is ResNet-50."""
    return _resnext50(1, 64, **options)


@register()
def resnext50_2x40d(**options: Any) -> ResNet:
    """Two paths of width 40."""
    return _resnext50(2, 40, **options)


@register()
def resnext50_4x24d(**options: Any) -> ResNet:
    """Four paths of width 24."""
    return _resnext50(4, 24, **options)


@register()
def resnext50_8x14d(**options: Any) -> ResNet:
    """Eight paths of width 14."""
    return _resnext50(8, 14, **options)


@register()
def resnext50_32x4d(**options: Any) -> ResNet:
    """Thirty-two paths of width 4: ResNeXt-50."""
    return _resnext50(32, 4, **options)


@register()
def resnext101_32x4d(**options: Any) -> ResNet:
    """ResNeXt-101 of the paper."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4, **options)


@register()
def resnext101_32x8d(**options: Any) -> ResNet:
    """ResNeXt-101 of torchvision."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=8, **options)


@register()
def wide_resnet50_2(**options: Any) -> ResNet:
    """ResNet-50 whose 3x3 convolutions are twice as wide (Zagoruyko and Komodakis 2016)."""
    return ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=128, **options)


@register()
def se_resnet18(**options: Any) -> ResNet:
    """SE-ResNet-18."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **{"reduction": 16, **options})


@register()
def se_resnet34(**options: Any) -> ResNet:
    """SE-ResNet-34."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **{"reduction": 16, **options})


@register()
def se_resnet50(**options: Any) -> ResNet:
    """SE-ResNet-50."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"reduction": 16, **options})


@register()
def se_resnet101(**options: Any) -> ResNet:
    """SE-ResNet-101."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"reduction": 16, **options})


@register()
def se_resnet152(**options: Any) -> ResNet:
    """SE-ResNet-152."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **{"reduction": 16, **options})


@register()
def se_resnext50_32x4d(**options: Any) -> ResNet:
    """SE-ResNeXt-50."""
    return _resnext50(32, 4, **{"reduction": 16, **options})


@register()
def se_resnext101_32x4d(**options: Any) -> ResNet:
    """SE-ResNeXt-101."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4, **{"reduction": 16, **options})
