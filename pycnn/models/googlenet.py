"""GoogLeNet (Szegedy et al. 2015) as torchvision has it: batch normalisation, 3x3 where the paper has 5x5."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: Any, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, bias=False, **options)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 3x3; pooling and 1x1."""

    def __init__(self, inputs: int, b1: int, b2_first: int, b2: int, b3_first: int, b3: int, b4: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(inputs, b1, 1)
        self.branch2 = nn.Sequential(BasicConv2d(inputs, b2_first, 1), BasicConv2d(b2_first, b2, 3, padding=1))
        self.branch3 = nn.Sequential(BasicConv2d(inputs, b3_first, 1), BasicConv2d(b3_first, b3, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv2d(inputs, b4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return _core.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A classifier half-way, whose loss is added in training with weight 0.3."""

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d((4, 4))
        self.conv = BasicConv2d(inputs, 128, 1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(2048, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(self.conv(self.avgpool(x)))
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(Network):
    """(N, 3, 224, 224) to logits (N, num_classes).

    With `aux_logits`, in training mode: a tuple of logits, those of the second auxiliary classifier, of the first.
    """

    head_names = ("fc", "aux1.fc2", "aux2.fc2")
    auxiliary = ("aux1", "aux2")
    stage_names = ("conv1", "conv3", "inception3b", "inception4e", "inception5b")

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = False, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, num_classes) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Any:
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        middle1 = self.inception4a(x)
        middle2 = self.inception4d(self.inception4c(self.inception4b(middle1)))
        x = self.maxpool4(self.inception4e(middle2))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux2(middle2), self.aux1(middle1)
        return logits


@register(mean=(0.5,), std=(0.5,))
def googlenet(**options: Any) -> GoogLeNet:
    """GoogLeNet; without the auxiliary classifiers unless `aux_logits`.

    Pixels go from -1 to 1: what torchvision's weights want, which it computes from other inputs (`transform_input`).
    """
    return GoogLeNet(**options)
