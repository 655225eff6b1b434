"""LeNet-1 and LeNet-5: as published (LeCun et al. 1989 and 1998), and LeNet-5 as it is written today."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import functional as F
from pycnn.nn import init


class LeNet1(Network):
    """Two convolutions with average pooling and one linear layer: (N, 1, 28, 28) to logits (N, num_classes).

    3 246 parameters with ten classes: every map of the second convolution sees every map of the first.
    """

    head_names = ("fc",)
    stage_names = ("pool1", "pool2")

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 4, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(4, 12, 5)
        self.pool2 = nn.AvgPool2d(2)
        self.tanh = nn.Tanh()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(12 * 4 * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.tanh(self.conv1(x)))
        x = self.pool2(self.tanh(self.conv2(x)))
        return self.fc(self.flatten(x))


class LeNet5(Network):
    """LeNet-5 of today, ReLU and maximum pooling: (N, 1, 28, 28) to logits (N, num_classes).

    With ten classes and one channel it has 61 706 parameters.

    Args:
        num_classes: extents of the output.
        in_channels: channels of the images.
    """

    head_names = ("fc3",)
    stage_names = ("pool1", "pool2")

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu(self.conv1(x)))
        x = self.pool2(self.relu(self.conv2(x)))
        x = self.flatten(x)
        x = self.relu(self.fc1(x))
        x = self.relu(self.fc2(x))
        return self.fc3(x)


class Subsampling(nn.Module):
    """Sums of 2x2 elements, times a coefficient, plus a bias, both per channel and learned."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.weight = nn.Parameter(_core.ones((channels,)))
        self.bias = nn.Parameter(_core.zeros((channels,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x) * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x): +-1 at +-1."""

    def forward(self, x: Tensor) -> Tensor:
        return _core.tanh(x * (2 / 3)) * 1.7159


# Table I of the paper: the six maps of S2 by the sixteen of C3.
_CONNECTIONS = [
    "x---xxx--xxxx-xx",
    "xx---xxx--xxxx-x",
    "xxx---xxx--x-xxx",
    "-xxx--xxxx--x-xx",
    "--xxx--xxxx-xx-x",
    "---xxx--xxxx-xxx",
]


class SparseConv2d(nn.Module):
    """A convolution whose output map o sees input map i only where `connections[i, o]`: one kernel per connection."""

    places: Tensor

    def __init__(self, kernel_size: int, connections: np.ndarray[Any, Any]) -> None:
        super().__init__()
        inputs, outputs = connections.shape
        self.shape = (outputs, inputs, kernel_size, kernel_size)
        self.kernel_size = (kernel_size, kernel_size)
        self.weight = nn.Parameter(_core.empty((int(connections.sum()), kernel_size**2)))
        self.bias = nn.Parameter(_core.empty((outputs,)))
        # (outputs * inputs, connections): which row of the whole weight each kernel is.
        places = np.eye(outputs * inputs, dtype=np.float32)[:, connections.T.reshape(-1)]
        self.register_buffer("places", _core.tensor(places), persistent=False)
        bound = 1 / math.sqrt(kernel_size**2 * connections.sum(0).mean())
        init.uniform_(self.weight, -bound, bound)
        init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, (self.places @ self.weight).reshape(self.shape), self.bias)

    def multiply_adds(self, output: Tensor) -> int:
        """Products for one sample, for `pycnn.summary`: those of the connections that there are."""
        return self.weight.numel() * math.prod(output.shape[2:])


class RadialBasis(nn.Module):
    """Squared distances to one code of -1 and 1 per class, with a minus: the nearest is the largest logit.

    The paper's codes are pictures of the characters, and fixed; these are drawn with equal probabilities from a fixed
    seed, its alternative.
    """

    weight: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        codes = np.random.RandomState(1998).choice(np.array([-1, 1], np.float32), (num_classes, in_features))
        self.register_buffer("weight", _core.tensor(codes))

    def forward(self, x: Tensor) -> Tensor:
        return -((x.unsqueeze(1) - self.weight) ** 2).sum(2)


class LeNet5Original(Network):
    """LeNet-5 as in the paper: (N, 1, 32, 32) to logits (N, num_classes), 60 000 parameters that are trained.

    Learned subsampling, a scaled tanh, the sparse connections of table I, distances to codes as output.
    """

    head_names = ("output",)
    stage_names = ("s2", "s4")

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        connections = np.array([[mark == "x" for mark in line] for line in _CONNECTIONS])
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = SparseConv2d(5, connections)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = RadialBasis(84, num_classes)
        self.activation = ScaledTanh()
        self.flatten = nn.Flatten()

    def reset_classifier(self, num_classes: int) -> None:
        self.output = RadialBasis(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.s2(self.activation(self.c1(x)))
        x = self.s4(self.activation(self.c3(x)))
        x = self.flatten(self.activation(self.c5(x)))
        return self.output(self.activation(self.f6(x)))


@register((1, 28, 28))
def lenet1(num_classes: int = 10, in_channels: int = 1) -> LeNet1:
    """LeNet-1, LeCun et al. 1989."""
    return LeNet1(num_classes, in_channels)


@register((1, 28, 28))
def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5 of today."""
    return LeNet5(num_classes, in_channels)


@register((1, 32, 32), learning_rate=0.0005)
def lenet5_1998(num_classes: int = 10, in_channels: int = 1) -> LeNet5Original:
    """LeNet-5 as in LeCun et al. 1998."""
    return LeNet5Original(num_classes, in_channels)
