"""Normalisation over batches, groups of channels, instances, layers and neighbouring channels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device
from pycnn.autograd.function import Function, once_differentiable
from pycnn.nn import functional as F
from pycnn.nn import init
from pycnn.nn.linear import uninitialized
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


def _to_identity(weight: Parameter | None, bias: Parameter | None) -> None:
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)


class _NormBase(Module):
    """Parameters and running figures per channel."""

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
        placed = {"device": as_device(device)}
        shaped = placed if dtype is None else {**placed, "dtype": dtype}
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        if track_running_stats:
            self.register_buffer("running_mean", _core.zeros((num_features,), **shaped))
            self.register_buffer("running_var", _core.ones((num_features,), **shaped))
            self.register_buffer("num_batches_tracked", _core.zeros((), dtype=_core.int64, **placed))
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
        _to_identity(self.weight, self.bias)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        if (local_metadata.get("version") or 0) < 2 and self.num_batches_tracked is not None:
            # Files of PyTorch before 0.4.1 do not count batches.
            state_dict.setdefault(prefix + "num_batches_tracked", self.num_batches_tracked)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self._input_dims:
            expected = " or ".join(f"{count}D" for count in self._input_dims)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """Normalises every channel with the batch's moments in training, the running ones in evaluation."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
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


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of (N, C, ...). There is one process, so it is that of its batch; see `BatchNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Puts layers of this class, with the same parameters and figures, in place of all batch normalisations."""
        result = module
        if isinstance(module, _BatchNorm):
            result = layer = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "training"):
                setattr(layer, name, getattr(module, name))
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result


class _InstanceNorm(_NormBase):
    """Normalises every channel of every sample with its own moments, or with running ones in evaluation."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        unbatched = min(self._input_dims)
        feature_dim = input.dim() - unbatched
        if input.size(feature_dim) != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={feature_dim} to match num_features ({self.num_features}), "
                    f"but got: {input.size(feature_dim)}."
                )
            warnings.warn(
                f"input's size at dim={feature_dim} does not match num_features. You can silence this warning by not "
                "passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        result = F.instance_norm(
            input.unsqueeze(0) if input.dim() == unbatched else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result.squeeze(0) if input.dim() == unbatched else result


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L); arguments as in `InstanceNorm2d`."""

    _input_dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W) (Ulyanov et al. 2016); formula in `functional.instance_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of a new batch in the running figures.
        affine: whether there are `weight` and, with `bias`, `bias`, (C,).
        track_running_stats: whether there are running figures, which evaluation uses.
        device, dtype: of parameters and running figures.
    """

    _input_dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); arguments as in `InstanceNorm2d`."""

    _input_dims = (4, 5)


class GroupNorm(Module):
    """Normalises groups of channels of each sample of (N, C, ...) (Wu and He 2018); see `functional.group_norm`.

    Args:
        num_groups: how many groups.
        num_channels: C, divisible by num_groups.
        eps: added to the variance.
        affine: whether there are `weight` and, with `bias`, `bias`, (C,).
        device, dtype: of the parameters.

    Errors: ValueError if C is not divisible; when called, those of `functional.group_norm`.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.weight: Parameter | None
        self.bias: Parameter | None
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, uninitialized((num_channels,), device, dtype) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets weight 1 and bias 0."""
        _to_identity(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(Module):
    """Normalises the last dimensions of (..., *normalized_shape) (Ba et al. 2016); see `functional.layer_norm`.

    Args:
        normalized_shape: sizes of those dimensions, or one size.
        eps: added to the variance.
        elementwise_affine: whether there are `weight` and, with `bias`, `bias`, of shape normalized_shape.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None
        self.bias: Parameter | None
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            self.register_parameter(name, uninitialized(self.normalized_shape, device, dtype) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets weight 1 and bias 0."""
        _to_identity(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides the last dimensions of (..., *normalized_shape) by their root mean square (Zhang and Sennrich 2019).

    Args:
        normalized_shape: sizes of those dimensions, or one size.
        eps: added to the mean of squares (default: the machine epsilon).
        elementwise_affine: whether there is a `weight` of shape normalized_shape.
        device, dtype: of the weight.

    Formula and errors: `functional.rms_norm`.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None
        wanted = uninitialized(self.normalized_shape, device, dtype) if elementwise_affine else None
        self.register_parameter("weight", wanted)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets weight 1."""
        _to_identity(self.weight, None)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


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


class _CrossMapLRN(Function):
    """Normalisation over channels with the gradient that Torch7 and PyTorch have for it: it takes the windows of the
    channels c - ceil((size + 1) / 2) + 1 and on, `size` of them, which are not quite those of the forward pass."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        channels, reach = input.shape[1], (size - 1) // 2 + 1
        windows = [
            [float(c - reach < other < c + reach or (other == 0 and c >= reach)) for other in range(channels)]
            for c in range(channels)
        ]
        squares = _core.tensor(windows, dtype=input.dtype, device=input.device) @ input.square().flatten(2)
        scale = squares.reshape(input.shape) * (alpha / size) + k
        output = input * scale.pow(-beta)
        ctx.save_for_backward(input, output, scale)
        ctx.options = (size, alpha, beta)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        input, output, scale = ctx.saved_tensors
        size, alpha, beta = ctx.options
        channels, before = input.shape[1], int(size - (size - 1) / 2)
        windows = [
            [float(c - before <= other < c - before + size) for other in range(channels)] for c in range(channels)
        ]
        ratios = _core.tensor(windows, dtype=input.dtype, device=input.device) @ (gradient * output / scale).flatten(2)
        slope = input * ratios.reshape(input.shape) * (2 * alpha * beta / size)
        return gradient * scale.pow(-beta) - slope, None, None, None, None


class CrossMapLRN2d(Module):
    """The older form of `LocalResponseNorm`, for images (N, C, H, W) alone; arguments as in `LocalResponseNorm`.

    As in PyTorch (and Torch7 before), the first channel never leaves the window that slides over the channels, and the
    gradient takes other windows; there is no second one.

    Errors: ValueError for other than 4 dimensions.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        return cast(Tensor, _CrossMapLRN.apply(input, self.size, self.alpha, self.beta, self.k))

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
