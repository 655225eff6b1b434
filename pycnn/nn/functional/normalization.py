"""Normalisation, and dropout."""

from __future__ import annotations

from pycnn import _core
from pycnn._core import Tensor


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

    Errors: ValueError for one value per channel or eps <= 0 in training; RuntimeError for shapes or dtypes that do not
    fit; NotImplementedError for integers.
    """
    return _core.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


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
    """Zeroes whole channels of (N, C, L) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`; the first two dimensions count as N and C.
    """
    return _core.dropout1d(input, p, training, inplace=inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, H, W) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`; the first two dimensions count as N and C.
    """
    return _core.dropout2d(input, p, training, inplace=inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes whole channels of (N, C, D, H, W) with probability p (Tompson et al. 2015).

    Arguments and errors as in `dropout`; the first two dimensions count as N and C.
    """
    return _core.dropout3d(input, p, training, inplace=inplace)
