"""LeNet-5 (LeCun et al. 1998) in its modern form: ReLU, maximum pooling, every feature map connected."""

from __future__ import annotations

from pycnn import nn
from pycnn._core import Tensor


class LeNet5(nn.Module):
    """Two convolutions and three linear layers for grey images of 28x28: (N, 1, 28, 28) to logits (N, num_classes).

    With ten classes and one channel it has 61 706 parameters.

    Args:
        num_classes: extents of the output.
        in_channels: channels of the images.
    """

    input_size = (28, 28)

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)
