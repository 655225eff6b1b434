"""AlexNet: as in Krizhevsky et al. 2012, and the single column of Krizhevsky 2014 that torchvision has."""

from __future__ import annotations

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register


class AlexNet(Network):
    """torchvision's: (N, 3, 224, 224) to logits (N, num_classes); 61 100 840 parameters.

    Args:
        num_classes, in_channels: extents of output and input.
        dropout: probability.
        hidden: outputs of the first two linear layers.
    """

    head_names = ("classifier.6",)
    stage_names = ("features.2", "features.5", "features.12")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, hidden: int = 4096) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, 4, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


class AlexNetOriginal(Network):
    """The paper's: (N, 3, 227, 227) to logits (N, num_classes), some 61 million parameters.

    Convolutions 2, 4 and 5 see one half of the maps each, as on its two GPUs; response normalisation after the first
    two; overlapping pooling.
    """

    head_names = ("fc8",)
    stage_names = ("pool1", "pool2", "pool5")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, hidden: int = 4096) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 96, 11, 4)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.pool5 = nn.MaxPool2d(3, 2)
        self.relu = nn.ReLU(inplace=True)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(256 * 6 * 6, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.fc8 = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.norm1(self.relu(self.conv1(x))))
        x = self.pool2(self.norm2(self.relu(self.conv2(x))))
        x = self.relu(self.conv4(self.relu(self.conv3(x))))
        x = self.flatten(self.pool5(self.relu(self.conv5(x))))
        x = self.dropout(self.relu(self.fc6(x)))
        x = self.dropout(self.relu(self.fc7(x)))
        return self.fc8(x)


@register()
def alexnet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, hidden: int = 4096) -> AlexNet:
    """torchvision's AlexNet, Krizhevsky 2014."""
    return AlexNet(num_classes, in_channels, dropout, hidden)


@register((3, 227, 227))
def alexnet_2012(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, hidden: int = 4096
) -> AlexNetOriginal:
    """AlexNet as in the paper and the lectures, Krizhevsky et al. 2012."""
    return AlexNetOriginal(num_classes, in_channels, dropout, hidden)
