"""Independent references in NumPy: the formulas of the papers, written out, sharing no code with the library.

Names and keywords are those of torch.nn.functional, so that the table in operator_cases.py can drive both.
Everything is computed in float64 and for any number of spatial dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[Any]
Sizes = int | Sequence[int]


def _each(value: Sizes, count: int) -> tuple[int, ...]:
    """One number per spatial dimension."""
    return (value,) * count if isinstance(value, int) else tuple(value) * (count if len(value) == 1 else 1)


# -- convolution (Dumoulin & Visin 2016) ---------------------------------------------------------------------------


def convolution(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation: out[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] input[n, c, p s + k d - padding]."""
    d = weight.ndim - 2
    if input.ndim == d + 1:
        return convolution(input[None], weight, bias, stride, padding, dilation, groups)[0]
    kernel, steps, gaps = weight.shape[2:], _each(stride, d), _each(dilation, d)
    if padding == "valid":
        pads = [(0, 0)] * d
    elif padding == "same":
        totals = [gap * (k - 1) for gap, k in zip(gaps, kernel, strict=True)]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        assert not isinstance(padding, str)
        pads = [(p, p) for p in _each(padding, d)]
    padded = np.pad(input, [(0, 0), (0, 0), *pads])
    sizes = [
        (n - gap * (k - 1) - 1) // s + 1 for n, gap, k, s in zip(padded.shape[2:], gaps, kernel, steps, strict=True)
    ]
    outputs, per_group = weight.shape[0] // groups, weight.shape[1]
    result = np.zeros((input.shape[0], weight.shape[0], *sizes))
    for g in range(groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        for offset in np.ndindex(*kernel):
            window = tuple(
                slice(k * gap, k * gap + (n - 1) * s + 1, s)
                for k, gap, n, s in zip(offset, gaps, sizes, steps, strict=True)
            )
            part = padded[(slice(None), slice(g * per_group, (g + 1) * per_group), *window)]
            result[:, rows] += np.einsum("nc...,oc->no...", part, weight[(rows, slice(None), *offset)])
    return result if bias is None else result + bias.reshape(-1, *[1] * d)


conv1d = conv2d = conv3d = convolution


def transposed_convolution(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """Every input element adds its multiple of the kernel to the output; weight is (in, out / groups, k…)."""
    d = weight.ndim - 2
    if input.ndim == d + 1:
        return transposed_convolution(input[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    kernel, steps, gaps = weight.shape[2:], _each(stride, d), _each(dilation, d)
    pads, extra = _each(padding, d), _each(output_padding, d)
    full = [
        (n - 1) * s + gap * (k - 1) + 1 + e
        for n, s, gap, k, e in zip(input.shape[2:], steps, gaps, kernel, extra, strict=True)
    ]
    outputs, per_group = weight.shape[1], weight.shape[0] // groups
    result = np.zeros((input.shape[0], outputs * groups, *full))
    for channel, out in itertools.product(range(weight.shape[0]), range(outputs)):
        for place in np.ndindex(*input.shape[2:]):
            for offset in np.ndindex(*kernel):
                target = tuple(p * s + k * gap for p, s, k, gap in zip(place, steps, offset, gaps, strict=True))
                row = channel // per_group * outputs + out
                result[(slice(None), row, *target)] += (
                    input[(slice(None), channel, *place)] * weight[(channel, out, *offset)]
                )
    crop = tuple(slice(p, n - p) for p, n in zip(pads, full, strict=True))
    result = result[(slice(None), slice(None), *crop)]
    return result if bias is None else result + bias.reshape(-1, *[1] * d)


conv_transpose1d = conv_transpose2d = conv_transpose3d = transposed_convolution


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    result = np.einsum("...i,oi->...o", input, weight)
    return result if bias is None else result + bias


# -- pooling -------------------------------------------------------------------------------------------------------


def _pooled_size(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """(n + 2 p - d (k - 1) - 1) / s + 1; rounded up, a last window must begin inside the input or its left padding."""
    span = n + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    size = -(-span // stride) + 1
    return size - 1 if (size - 1) * stride >= n + padding else size


def _max_pool(
    d: int, input: Array, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    kernel, pads, gaps = _each(kernel_size, d), _each(padding, d), _each(dilation, d)
    steps = kernel if stride is None else _each(stride, d)
    spatial = input.shape[-d:]
    sizes = [_pooled_size(*arguments, ceil_mode) for arguments in zip(spatial, kernel, steps, pads, gaps, strict=True)]
    result = np.full((*input.shape[:-d], *sizes), -np.inf)
    indices = np.zeros(result.shape, np.int64)
    for place in np.ndindex(*sizes):
        for offset in np.ndindex(*kernel):
            at = tuple(
                p * s - pad + k * gap for p, s, pad, k, gap in zip(place, steps, pads, offset, gaps, strict=True)
            )
            if all(0 <= a < n for a, n in zip(at, spatial, strict=True)):
                better = input[(..., *at)] > result[(..., *place)]
                result[(..., *place)] = np.where(better, input[(..., *at)], result[(..., *place)])
                indices[(..., *place)] = np.where(better, np.ravel_multi_index(at, spatial), indices[(..., *place)])
    return (result, indices) if return_indices else result


def _avg_pool(
    d: int, input: Array, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    kernel, pads = _each(kernel_size, d), _each(padding, d)
    steps = kernel if stride is None else _each(stride, d)
    spatial = input.shape[-d:]
    sizes = [_pooled_size(n, k, s, p, 1, ceil_mode) for n, k, s, p in zip(spatial, kernel, steps, pads, strict=True)]
    result = np.zeros((*input.shape[:-d], *sizes))
    for place in np.ndindex(*sizes):
        starts = [p * s - pad for p, s, pad in zip(place, steps, pads, strict=True)]
        ends = [min(a + k, n + pad) for a, k, n, pad in zip(starts, kernel, spatial, pads, strict=True)]
        inside = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(starts, ends, spatial, strict=True))
        padded_count = math.prod(b - a for a, b in zip(starts, ends, strict=True))
        count = padded_count if count_include_pad else math.prod(max(s.stop - s.start, 0) for s in inside)
        total = input[(..., *inside)].sum(axis=tuple(range(-d, 0)))
        result[(..., *place)] = total / (divisor_override or count)
    return result


def _adaptive(d: int, input: Array, output_size: Any) -> Any:
    """Yields output positions and windows: from floor(i n / m) up to ceil((i + 1) n / m)."""
    sizes = [
        n if m is None else m
        for n, m in zip(
            input.shape[-d:], output_size if isinstance(output_size, tuple) else (output_size,) * d, strict=True
        )
    ]
    windows = [
        [slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
        for n, m in zip(input.shape[-d:], sizes, strict=True)
    ]
    return sizes, ((place, tuple(w[i] for w, i in zip(windows, place, strict=True))) for place in np.ndindex(*sizes))


def _adaptive_avg_pool(d: int, input: Array, output_size: Any) -> Array:
    sizes, windows = _adaptive(d, input, output_size)
    result = np.zeros((*input.shape[:-d], *sizes))
    for place, window in windows:
        result[(..., *place)] = input[(..., *window)].mean(axis=tuple(range(-d, 0)))
    return result


def _adaptive_max_pool(d: int, input: Array, output_size: Any, return_indices: bool = False) -> Any:
    sizes, windows = _adaptive(d, input, output_size)
    result = np.zeros((*input.shape[:-d], *sizes))
    indices = np.zeros(result.shape, np.int64)
    numbers = np.arange(math.prod(input.shape[-d:])).reshape(input.shape[-d:])
    for place, window in windows:
        part = input[(..., *window)].reshape(*input.shape[:-d], numbers[window].size)
        result[(..., *place)] = part.max(-1)
        indices[(..., *place)] = numbers[window].reshape(-1)[part.argmax(-1)]
    return (result, indices) if return_indices else result


def max_pool1d(*arguments: Any, **keywords: Any) -> Any:
    return _max_pool(1, *arguments, **keywords)


def max_pool2d(*arguments: Any, **keywords: Any) -> Any:
    return _max_pool(2, *arguments, **keywords)


def max_pool3d(*arguments: Any, **keywords: Any) -> Any:
    return _max_pool(3, *arguments, **keywords)


def avg_pool1d(*arguments: Any, **keywords: Any) -> Any:
    return _avg_pool(1, *arguments, **keywords)


def avg_pool2d(*arguments: Any, **keywords: Any) -> Any:
    return _avg_pool(2, *arguments, **keywords)


def avg_pool3d(*arguments: Any, **keywords: Any) -> Any:
    return _avg_pool(3, *arguments, **keywords)


def adaptive_avg_pool1d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_avg_pool(1, *arguments, **keywords)


def adaptive_avg_pool2d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_avg_pool(2, *arguments, **keywords)


def adaptive_avg_pool3d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_avg_pool(3, *arguments, **keywords)


def adaptive_max_pool1d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_max_pool(1, *arguments, **keywords)


def adaptive_max_pool2d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_max_pool(2, *arguments, **keywords)


def adaptive_max_pool3d(*arguments: Any, **keywords: Any) -> Any:
    return _adaptive_max_pool(3, *arguments, **keywords)


# -- normalisation -------------------------------------------------------------------------------------------------


def batch_norm(
    input: Array, running_mean: Array | None, running_var: Array | None, weight: Array | None = None,
    bias: Array | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Ioffe & Szegedy 2015; returns the output and the running statistics afterwards (variance of those unbiased)."""
    axes = (0, *range(2, input.ndim))
    shape = (1, -1, *[1] * (input.ndim - 2))
    mean, variance = running_mean, running_var
    if training:
        mean, variance = input.mean(axes), input.var(axes)
        if running_mean is not None and running_var is not None:
            running_mean = (1 - momentum) * running_mean + momentum * mean
            running_var = (1 - momentum) * running_var + momentum * input.var(axes, ddof=1)
    assert mean is not None and variance is not None
    result = (input - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + eps)
    if weight is not None:
        result = result * weight.reshape(shape)
    if bias is not None:
        result = result + bias.reshape(shape)
    return result if running_mean is None else (result, running_mean, running_var)


def local_response_norm(input: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """Krizhevsky et al. 2012, section 3.3: b = a / (k + alpha / size * sum of squares of size neighbours) ** beta."""
    result = np.empty_like(input)
    channels = input.shape[1]
    for c in range(channels):
        near = input[:, max(0, c - size // 2) : min(channels, c - size // 2 + size)]
        result[:, c] = input[:, c] / (k + alpha / size * (near**2).sum(1)) ** beta
    return result


# -- activations ---------------------------------------------------------------------------------------------------


def relu(input: Array) -> Array:
    return np.where(input > 0, input, 0.0)


def leaky_relu(input: Array, negative_slope: float = 0.01) -> Array:
    return np.where(input > 0, input, negative_slope * input)


def elu(input: Array, alpha: float = 1.0) -> Array:
    return np.where(input > 0, input, alpha * np.expm1(np.minimum(input, 0)))


def sigmoid(input: Array) -> Array:
    return special.expit(input)


def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return np.where(input * beta > threshold, input, np.logaddexp(0, beta * input) / beta)


def gelu(input: Array, approximate: str = "none") -> Array:
    """Hendrycks & Gimpel 2016."""
    if approximate == "none":
        return input * special.ndtr(input)
    return 0.5 * input * (1 + np.tanh(np.sqrt(2 / np.pi) * (input + 0.044715 * input**3)))


def silu(input: Array) -> Array:
    return input * special.expit(input)


def softmax(input: Array, dim: int) -> Array:
    return special.softmax(input, dim)


def log_softmax(input: Array, dim: int) -> Array:
    return special.log_softmax(input, dim)


# -- losses --------------------------------------------------------------------------------------------------------


def _reduce(values: Array, reduction: str, total: float | None = None) -> Array:
    if reduction == "none":
        return values
    if reduction == "sum":
        return np.sum(values)
    return np.sum(values) / (values.size if total is None else total)


def nll_loss(
    input: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Array:
    scores, classes = np.moveaxis(input, 1 if input.ndim > 1 else 0, -1), input.shape[1 if input.ndim > 1 else 0]
    weights = np.ones(classes) if weight is None else weight
    losses, total = np.zeros(target.shape), 0.0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label != ignore_index:
            losses[place] = -weights[label] * scores[place][label]
            total += weights[label]
    return _reduce(losses, reduction, total)


def cross_entropy(
    input: Array, target: Array, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    """-sum over classes of w[c] t[c] log p[c], t smoothed towards 1/C (Szegedy et al. 2016)."""
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    logs = np.moveaxis(special.log_softmax(input, axis), axis, -1)
    weights = np.ones(classes) if weight is None else weight
    if target.dtype.kind == "f":
        wanted = (1 - label_smoothing) * np.moveaxis(target, axis, -1) + label_smoothing / classes
        losses = -(weights * wanted * logs).sum(-1)
        return _reduce(losses, reduction)
    losses, total = np.zeros(target.shape), 0.0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label == ignore_index:
            continue
        wanted = np.full(classes, label_smoothing / classes) * weights
        wanted[label] += (1 - label_smoothing) * weights[label]
        losses[place] = -(wanted * logs[place]).sum()
        total += weights[label]
    return _reduce(losses, reduction, total)


def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Array:
    return _reduce((input - target) ** 2, reduction)


def l1_loss(input: Array, target: Array, reduction: str = "mean") -> Array:
    return _reduce(np.abs(input - target), reduction)


def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None, reduction: str = "mean") -> Array:
    losses = -(target * np.log(input) + (1 - target) * np.log(1 - input))
    return _reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Array, target: Array, weight: Array | None = None, reduction: str = "mean", pos_weight: Array | None = None
) -> Array:
    positive = target if pos_weight is None else pos_weight * target
    losses = positive * np.logaddexp(0, -input) + (1 - target) * np.logaddexp(0, input)
    return _reduce(losses if weight is None else losses * weight, reduction)
