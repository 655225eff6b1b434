"""Networks for shapes: volumes (VoxNet, a classifier like 3D ShapeNets), and several views (MVCNN)."""

from __future__ import annotations

from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.models.vgg import VGG


class VoxNet(Network):
    """VoxNet (Maturana and Scherer 2015): occupancies (N, 1, 32, 32, 32) to logits (N, num_classes)."""

    head_names = ("fc2",)
    stage_names = ("conv1", "conv2")

    def __init__(self, num_classes: int = 40, in_channels: int = 1, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, width, 5, 2)
        self.conv2 = nn.Conv3d(width, width, 3)
        self.leaky = nn.LeakyReLU(0.1, inplace=True)
        self.pool = nn.MaxPool3d(2)
        self.drop1, self.drop2, self.drop3 = nn.Dropout(0.2), nn.Dropout(0.3), nn.Dropout(0.4)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(width * 6**3, 128)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.leaky(self.conv1(x)))
        x = self.drop2(self.pool(self.leaky(self.conv2(x))))
        return self.fc2(self.drop3(self.relu(self.fc1(self.flatten(x)))))


class ShapeNet3D(Network):
    """The layers of 3D ShapeNets (Wu et al. 2015) as a feed-forward classifier: (N, 1, 30, 30, 30) to logits."""

    head_names = ("fc3",)
    stage_names = ("conv1", "conv2", "conv3")

    def __init__(
        self, num_classes: int = 40, in_channels: int = 1, width: int = 48, hidden: tuple[int, int] = (1200, 4000)
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, width, 6, 2)
        self.conv2 = nn.Conv3d(width, width * 10 // 3, 5, 2)
        self.conv3 = nn.Conv3d(width * 10 // 3, width * 32 // 3, 4)
        self.relu = nn.ReLU(inplace=True)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(width * 32 // 3 * 2**3, hidden[0])
        self.fc2 = nn.Linear(hidden[0], hidden[1])
        self.dropout = nn.Dropout(0.5)
        self.fc3 = nn.Linear(hidden[1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv3(self.relu(self.conv2(self.relu(self.conv1(x))))))
        x = self.relu(self.fc2(self.dropout(self.relu(self.fc1(self.flatten(x))))))
        return self.fc3(self.dropout(x))


class MultiViewCNN(Network):
    """MVCNN (Su et al. 2015): views (N, V, 3, H, W) to logits (N, num_classes).

    One network sees each view; the maximum over the views goes through the rest.

    Args:
        num_classes, in_channels: extents of output and input.
        options: of `VGG`, whose layers it has.
    """

    head_names = ("classifier.6",)

    def __init__(self, num_classes: int = 40, in_channels: int = 3, configuration: str = "A", **options: Any) -> None:
        super().__init__()
        vgg = VGG(configuration, num_classes=num_classes, in_channels=in_channels, **options)
        self.features = vgg.features
        self.avgpool = vgg.avgpool
        self.flatten = vgg.flatten
        self.classifier = vgg.classifier

    def forward(self, x: Tensor) -> Tensor:
        maps = self.avgpool(self.features(x.flatten(0, 1)))
        pooled = maps.unflatten(0, x.shape[:2]).amax(1)
        return self.classifier(self.flatten(pooled))


@register((1, 32, 32, 32), task="volume classification")
def voxnet(**options: Any) -> VoxNet:
    """VoxNet, 921 736 parameters for 40 classes."""
    return VoxNet(**options)


@register((1, 30, 30, 30), task="volume classification")
def shapenet3d(**options: Any) -> ShapeNet3D:
    """A classifier of the layers of 3D ShapeNets."""
    return ShapeNet3D(**options)


@register((12, 3, 224, 224), task="multi-view classification")
def multi_view_cnn(**options: Any) -> MultiViewCNN:
    """MVCNN on the layers of VGG A, for twelve views."""
    return MultiViewCNN(**options)
