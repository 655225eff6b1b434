"""Classifiers without convolutions: softmax and logistic regression, and the multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register


class LinearClassifier(Network):
    """One linear layer over all pixels: (N, C, H, W) to logits (N, num_classes)."""

    head_names = ("fc",)

    def __init__(self, num_classes: int, in_features: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flatten(x))


class MLP(Network):
    """Linear layers with ReLU between them: (N, C, H, W) to logits (N, num_classes)."""

    head_names = ("fc",)

    def __init__(self, num_classes: int, in_features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(in_features, width), nn.ReLU(inplace=True)]
            in_features = width
        self.hidden = nn.Sequential(*layers)
        self.fc = nn.Linear(in_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.hidden(x))


@register((1, 28, 28))
def softmax_classifier(num_classes: int = 10, in_channels: int = 1, size: int = 28) -> LinearClassifier:
    """Multinomial logistic regression, to be trained with cross entropy."""
    return LinearClassifier(num_classes, in_channels * size * size)


@register((1, 28, 28), task="binary classification")
def logistic_classifier(num_classes: int = 1, in_channels: int = 1, size: int = 28) -> LinearClassifier:
    """Logistic regression: one logit, to be trained with binary cross entropy."""
    return LinearClassifier(num_classes, in_channels * size * size)


@register((1, 28, 28))
def mlp(num_classes: int = 10, in_channels: int = 1, size: int = 28, hidden: Sequence[int] = (300, 100)) -> MLP:
    """The multilayer perceptron of LeCun et al. 1998: 784-300-100-10."""
    return MLP(num_classes, in_channels * size * size, hidden)
