"""Softmax over many classes of very different frequency (Grave et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn.container import ModuleList, Sequential
from pycnn.nn.linear import Linear
from pycnn.nn.module import Module


class ASMOutput(NamedTuple):
    """The targets' log probabilities, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log probabilities of classes that are sorted by frequency, rare ones in clusters with fewer features.

    Inputs (N, in_features) and targets (N,), or (in_features,) and (), give `output` (N,) and `loss`.

    Args:
        in_features: features.
        n_classes: classes, the most frequent first.
        cutoffs: where clusters begin.
        div_value: by how much each cluster has fewer features than the one before.
        head_bias: whether the first linear layer has a bias.
        device, dtype: of the parameters.

    Errors: ValueError for bad cutoffs, RuntimeError for other shapes and targets that are no classes.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            any(int(bound) != bound for bound in bounds)
            or bounds != sorted(set(bounds))
            or bounds[0] <= 0
            or bounds[-1] > n_classes - 1
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // (div_value ** (i + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, False, device, dtype),
                    Linear(hidden, self.cutoffs[i + 1] - self.cutoffs[i], False, device, dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (self.head, *(layer for cluster in self.tail for layer in cluster)):
            layer.reset_parameters()

    def log_prob(self, input: Tensor) -> Tensor:
        """Log probabilities (N, n_classes) of all classes, for inputs (N, in_features)."""
        head = self.head(input).log_softmax(-1)
        parts = [head[..., : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            at = self.shortlist_size + i
            parts.append(cluster(input).log_softmax(-1) + head[..., at : at + 1])
        return _core.cat(parts, -1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class (N,) of each input (N, in_features)."""
        return self.log_prob(input).argmax(-1)

    def forward(self, input_: Tensor, target_: Tensor) -> ASMOutput:
        input, target = input_, target_
        if target.dim() == 1:
            if input.shape[0] != target.shape[0]:
                raise RuntimeError("Input and target should have the same size in the batch dimension.")
            if input.dim() != 2:
                raise RuntimeError(
                    f"1D target tensor expects 2D input tensors, but found inputs with size {input.shape}"
                )
        elif target.dim() == 0:
            if input.dim() != 1:
                raise RuntimeError(
                    f"0D target tensor expects 1D input tensors, but found inputs with size {input.shape}"
                )
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.numel() > 0 and bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        output = self.log_prob(input).gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return ASMOutput(output, -output.mean())
