"""Batch normalisation and local response normalisation."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn import init
from pycnn.nn.linear import uninitialized
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


class _BatchNorm(Module):
    """Normalises every channel with the batch's moments in training, the running ones in evaluation."""

    _version = 2
    _input_dims: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight: Parameter | None
        self.bias: Parameter | None
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, uninitialized((num_features,), device, dtype) if wanted else None)
        shaped = {} if dtype is None else {"dtype": dtype}
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        if track_running_stats:
            self.register_buffer("running_mean", _core.zeros((num_features,), **shaped))
            self.register_buffer("running_var", _core.ones((num_features,), **shaped))
            self.register_buffer("num_batches_tracked", _core.zeros((), dtype=_core.int64))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Sets the running mean to 0, the running variance to 1."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.constant_(self.num_batches_tracked, 0)

    def reset_parameters(self) -> None:
        """Sets weight 1, bias 0 and the running figures to their start."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in self._input_dims:
            expected = " or ".join(f"{count}D" for count in self._input_dims)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked.item())
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); arguments as in `BatchNorm2d`."""

    _input_dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W) (Ioffe and Szegedy 2015); formula in `functional.batch_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of a new batch in the running figures; None for the plain mean over batches.
        affine: whether there are `weight` and `bias`, (C,).
        track_running_stats: whether evaluation uses running figures; otherwise it uses the batch's.
        device, dtype: of parameters and running figures.
    """

    _input_dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as in `BatchNorm2d`."""

    _input_dims = (5,)


class LocalResponseNorm(Module):
    """Divides (N, C, L, ...) by a power of the mean square of neighbouring channels (Krizhevsky et al. 2012).

    Arguments, dtypes and errors as in `functional.local_response_norm`.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
