"""The loss that holds the linear layer before it."""

from __future__ import annotations

import math
from typing import Any

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.linear import Linear
from pycnn.nn.loss import _WeightedLoss


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of a linear layer's outputs: features (N, in_features) or (in_features,), classes or probabilities.

    Args:
        in_features: I.
        num_classes: C.
        out_features: (d_1, ...), for targets (N, d_1, ...) or (N, C, d_1, ...).
        bias: whether the layer `linear` has one.
        device, dtype: of its parameters.
        reduction, weight, ignore_index, label_smoothing, options: as in `functional.linear_cross_entropy`.

    Errors: as in `functional.linear_cross_entropy`; RuntimeError for a weight of another shape or a label_smoothing
    outside 0..1.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(
                f"LinearCrossEntropyLoss: expected weight of shape ({num_classes},), got {tuple(weight.shape)}"
            )
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"LinearCrossEntropyLoss: expected label_smoothing in 0..1, got {label_smoothing}")
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(self.num_classes, *self.out_features, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(self.num_classes, *self.out_features),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, "
            f"ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )
