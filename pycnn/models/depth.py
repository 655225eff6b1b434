"""Depth from one image, Eigen et al. 2014: a coarse network that sees everything, a fine one that adds detail."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register


class DepthNet(Network):
    """(N, 3, 228, 304) to log depths (N, 1, 55, 74).

    Args:
        in_channels: of the image.
        width: channels of the first convolution, and in proportion the others.
        hidden: outputs of the coarse network's first linear layer.
    """

    stage_names = ("pool1", "pool2", "pool5")

    def __init__(self, in_channels: int = 3, width: int = 96, hidden: int = 4096) -> None:
        super().__init__()
        second, middle = width * 8 // 3, width * 4
        self.conv1 = nn.Conv2d(in_channels, width, 11, 4)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(width, second, 5, padding=2)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(second, middle, 3, padding=1)
        self.conv4 = nn.Conv2d(middle, middle, 3, padding=1)
        self.conv5 = nn.Conv2d(middle, second, 3, padding=1)
        self.pool5 = nn.MaxPool2d(3, 2)
        self.relu = nn.ReLU(inplace=True)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(second * 6 * 8, hidden)
        self.dropout = nn.Dropout(0.5)
        self.fc7 = nn.Linear(hidden, 55 * 74)
        self.fine1 = nn.Conv2d(in_channels, 63, 9, 2)
        self.fine_pool1 = nn.MaxPool2d(2)
        self.fine3 = nn.Conv2d(64, 64, 5, padding=2)
        self.fine4 = nn.Conv2d(64, 1, 5, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.pool1(self.relu(self.conv1(image)))
        x = self.pool2(self.relu(self.conv2(x)))
        x = self.relu(self.conv4(self.relu(self.conv3(x))))
        x = self.pool5(self.relu(self.conv5(x)))
        x = self.dropout(self.relu(self.fc6(self.flatten(x))))
        coarse = self.fc7(x).reshape(-1, 1, 55, 74)
        fine = self.fine_pool1(self.relu(self.fine1(image)))
        return self.fine4(self.relu(self.fine3(_core.cat([fine, coarse], 1))))


@register((3, 228, 304), task="depth")
def depth_net(**options: Any) -> DepthNet:
    """The coarse and the fine network together."""
    return DepthNet(**options)
