"""Normalisation, and dropout."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias per channel (Ioffe and Szegedy 2015).

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,), read in evaluation, moved by `momentum` towards the batch's (unbiased) figures
            in training; None to have none.
        weight, bias: (C,) or None.
        training: normalise with the batch's mean and biased variance.
        momentum: weight of the new figure, in 0..1.
        eps: added to the variance.

    Returns:
        The input's shape and dtype. Statistics of 16-bit inputs are in float32.

    Errors: in training, ValueError for one value per channel, one of the running figures alone or eps <= 0,
    IndexError for one dimension; RuntimeError for shapes or dtypes that do not fit; NotImplementedError for integers.
    """
    if input.dim() == 1 and input.numel() > 1 and running_mean is not None:
        raise RuntimeError(f"batch_norm: running_mean should contain 0 elements not {running_mean.numel()}")
    if training and input.dim() < 2 and not (input.dim() == 1 and input.numel() < 2):
        raise IndexError(
            f"batch_norm: expected input of at least 2 dimensions (N, C, ...), but got {list(input.shape)}"
        )
    if training and (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    return _core.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, True)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over the last dimensions (Ba et al. 2016).

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: the dimensions that are normalised together.
        weight, bias: of shape `normalized_shape`, or None.
        eps: added to the (biased) variance.

    Returns:
        The input's shape and dtype. Statistics of 16-bit inputs are in float32.

    Errors: TypeError for a number as shape, RuntimeError for shapes or dtypes that do not fit, NotImplementedError for
    integers.
    """
    if isinstance(normalized_shape, int):
        raise TypeError("layer_norm(): argument 'normalized_shape' (position 2) must be tuple of ints, not int")
    return _core.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """input / sqrt(mean of squares + eps) * weight over the last dimensions (Zhang and Sennrich 2019).

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: the dimensions that are normalised together.
        weight: of shape `normalized_shape`, or None.
        eps: added to the mean of squares (default: the machine epsilon of the dtype it is computed in).

    Returns:
        The input's shape and dtype.

    Errors: RuntimeError for shapes or dtypes that do not fit, NotImplementedError for integers.
    """
    return _core.rms_norm(input, normalized_shape, weight, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over groups of channels of each sample (Wu and He 2018).

    Args:
        input: (N, C, ...), floating.
        num_groups: how many groups of neighbouring channels; divides C.
        weight, bias: (C,) or None.
        eps: added to the (biased) variance.

    Returns:
        The input's shape and dtype. Statistics of 16-bit inputs are in float32.

    Errors: ValueError if groups are of one element in a single sample, RuntimeError for shapes or dtypes that do not
    fit, NotImplementedError for integers, ZeroDivisionError for no groups.
    """
    if input.dim() >= 2:
        shape = input.shape
        if math.prod((shape[0] * shape[1] // num_groups, *shape[2:])) == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(shape)}")
    return _core.group_norm(input, num_groups, weight, bias, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias over each channel of each sample (Ulyanov et al. 2016).

    Args:
        input: (N, C, L, ...), floating.
        running_mean, running_var: (C,), read without `use_input_stats`, else moved by `momentum` towards the means of
            the samples' figures; or None.
        weight, bias: (C,) or None.
        use_input_stats: normalise with the input's own mean and biased variance.
        momentum: weight of the new figure, in 0..1.
        eps: added to the variance.

    Returns:
        The input's shape and dtype. Statistics of 16-bit inputs are in float32.

    Errors: ValueError for one element per channel, RuntimeError for shapes or dtypes that do not fit,
    NotImplementedError for integers.
    """
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {list(input.shape)}")
    return _core.instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, True)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """input / (k + alpha * mean of squares over `size` neighbouring channels)^beta (Krizhevsky et al. 2012, 3.3).

    Args:
        input: (N, C, L, ...), floating.
        size: how many channels, size // 2 of them before the element's own; missing ones count as 0.
        alpha, beta, k: numbers.

    Returns:
        The input's shape and dtype.

    Errors: ValueError for fewer than 3 dimensions, RuntimeError for size < 1, NotImplementedError for integers.
    """
    return _core.local_response_norm(input, size, alpha, beta, k)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes elements with probability p and divides the others by 1 - p (Srivastava et al. 2014).

    Args:
        input: any shape, floating.
        p: the probability, in 0..1.
        training: False gives the input itself.
        inplace: change the input itself.

    Returns:
        The input's shape and dtype. Which elements go depends on the global seed and the calls before, not on threads.

    Errors: ValueError for p outside 0..1; RuntimeError for integers.
    """
    return _core.dropout(input, p, training, inplace=inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, L) or (C, L) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`; RuntimeError for other numbers of dimensions.
    """
    return _core.dropout1d(input, p, training, inplace=inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, H, W) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`. The first two dimensions count as N and C, with a warning if others than two
    follow; RuntimeError for fewer.
    """
    if 0 <= p <= 1 and input.dim() == 3:
        warnings.warn(
            "dropout2d: a 3-dimensional input is taken for (N, C, L), as by dropout1d, and not for (C, H, W)",
            stacklevel=2,
        )
    elif 0 <= p <= 1 and input.dim() != 4:
        warnings.warn(f"dropout2d: an input of {input.dim()} dimensions is deprecated, use dropout", stacklevel=2)
    return _core.dropout2d(input, p, training, inplace=inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`, but other numbers of dimensions warn.
    """
    if 0 <= p <= 1 and input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an "
            "error in a future release. To retain the behavior and silence this warning, please use dropout instead.",
            stacklevel=2,
        )
    return _core.dropout3d(input, p, training, inplace=inplace)


# What SELU tends to for very negative arguments, -scale * alpha (Klambauer et al. 2017).
_SELU_SATURATION = -1.7580993408473766


@on_device_of_inputs
def _alpha_drop(input: Tensor, varying: int | None, p: float, training: bool, inplace: bool) -> Tensor:
    """`varying`: how many dimensions the mask has, the others being dropped as a whole; None: all of them."""
    if not isinstance(input, Tensor):
        raise TypeError(f"alpha_dropout(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if varying is not None and input.dim() < varying:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {tuple(input.shape)}")
    if not input.is_floating_point():
        raise RuntimeError(f"alpha_dropout: result type Float can't be cast to the desired output type {input.dtype}")
    if p == 1:
        result = input * 0
    else:
        # Kept elements stay, others become the saturation; then mean 0 and variance 1 are restored.
        scale = 1 / math.sqrt((_SELU_SATURATION**2 * p + 1) * (1 - p))
        shape = [extent if varying is None or d < varying else 1 for d, extent in enumerate(input.shape)]
        kept = _core.bernoulli(_core.full(tuple(shape), 1 - p, dtype=input.dtype))
        result = input * (kept * scale) + ((1 - kept) * (_SELU_SATURATION * scale) - scale * _SELU_SATURATION * p)
    return input.copy_(result) if inplace else result


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to SELU's negative saturation, keeping mean 0 and variance 1 (Klambauer et al. 2017).

    Args:
        input: any shape, floating.
        p: the probability, in 0..1.
        training: False gives the input itself.
        inplace: change the input itself.

    Returns:
        The input's shape and dtype.

    Errors: ValueError for p outside 0..1; RuntimeError for integers.
    """
    return _alpha_drop(input, None, p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...).

    Args:
        input: (N, C, ...), floating.
        p: the probability, in 0..1.
        training: False gives the input itself.
        inplace: change the input itself.

    Returns:
        The input's shape and dtype.

    Errors: ValueError for p outside 0..1; RuntimeError for fewer than 2 dimensions or integers.
    """
    return _alpha_drop(input, 2, p, training, inplace)
