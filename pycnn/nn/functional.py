"""Operators of networks as functions, with the names, argument orders and defaults of `torch.nn.functional`.

Shapes: N batch, C channels, L/H/W/D extents, groups G. Sizes are an integer for all dimensions or a tuple with one per
dimension. Errors: RuntimeError or ValueError with the operator's name and the shapes, raised at the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor

Size = int | Sequence[int]
Padding = int | Sequence[int] | str

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "gelu",
    "l1_loss",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "maxout",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


# -- convolution -------------------------------------------------------------------------------------------------------
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over sequences; arguments, dtypes, result and errors as in `conv2d`.

    input: (N, C, L) or (C, L). weight: (O, C/G, K). bias: (O,) or None.
    """
    return _core.conv1d(input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over images: out[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] in[n, c, ...].

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        weight: (O, C/G, kH, kW), of the input's dtype.
        bias: (O,) or None.
        stride: step between windows, in elements.
        padding: zeros on both sides, in elements, or "valid" (none) or "same" (output as large as the input; stride 1).
        dilation: distance between the taps of the kernel, in elements.
        groups: G; output channels of a group see the input channels of that group alone.

    Returns:
        (N, O, oH, oW) with oH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Errors: RuntimeError for shapes, dtypes or arguments that do not fit, with the shapes as given; NotImplementedError
    for bool.
    """
    return _core.conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over volumes; arguments, dtypes, result and errors as in `conv2d`.

    input: (N, C, D, H, W) or (C, D, H, W). weight: (O, C/G, kD, kH, kW). bias: (O,) or None.
    """
    return _core.conv3d(input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv1d`; arguments, dtypes, result and errors as in `conv_transpose2d`.

    input: (N, C, L) or (C, L). weight: (C, O/G, K). bias: (O,) or None.
    """
    return _core.conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv2d` (its input gradient): every input element adds a scaled kernel to the output.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        weight: (C, O/G, kH, kW).
        bias: (O,) or None.
        stride, padding, dilation: those of the convolution it transposes.
        output_padding: rows added at the end of the output, less than stride or dilation.
        groups: G.

    Returns:
        (N, O, oH, oW) with oH = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1.

    Errors: RuntimeError for shapes, dtypes or arguments that do not fit, with the shapes as given; NotImplementedError
    for bool.
    """
    return _core.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv3d`; arguments, dtypes, result and errors as in `conv_transpose2d`.

    input: (N, C, D, H, W) or (C, D, H, W). weight: (C, O/G, kD, kH, kW). bias: (O,) or None.
    """
    return _core.conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
        input: (..., I).
        weight: (O, I), of the input's dtype; or (I,), which gives (...).
        bias: (O,) or None.

    Returns:
        (..., O), in the input's dtype; sums of 16-bit floats are in float32.

    Errors: RuntimeError for shapes that do not fit or dtypes that differ; NotImplementedError for bool.
    """
    return _core.linear(input, weight, bias)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Adds (or, where negative, removes) elements at the borders.

    Args:
        input: any shape.
        pad: (left, right, top, bottom, ...), pairs from the last dimension on, in elements.
        mode: "constant", or, over the 1 to 3 dimensions behind the channels of (C, ...) or (N, C, ...): "reflect"
            (mirrored at the border's elements, by less than the size), "replicate" (the border's elements) or
            "circular" (the other side, at most once round).
        value: what constant padding consists of (default 0).

    Returns:
        The input's dtype; every dimension longer by its pair's sum.

    Errors: RuntimeError for an odd number of entries, too many of them, or a negative size; see above for the other
    modes. NotImplementedError for an unknown mode.
    """
    return _core.pad(input, tuple(pad), mode, value)


# -- pooling -----------------------------------------------------------------------------------------------------------
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, L) or (C, L); see `max_pool2d` for all the rest."""
    return _core.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window. NaN is larger than any number; of equal ones the first counts.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in taps.
        stride: step between windows, in elements (default: kernel_size).
        padding: minus infinity on both sides, at most half the window.
        dilation: distance between taps.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1, in the
        input's dtype; with `return_indices` a pair.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for bool.
    """
    return _core.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d` for all the rest."""
    return _core.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of (N, C, L) or (C, L); see `avg_pool2d` for all the rest."""
    return _core.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in elements.
        stride: step between windows, in elements (default: kernel_size).
        padding: zeros on both sides, at most half the window.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead of the window's element count.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - kH) / stride) + 1, in the input's dtype.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for dtypes that are neither
    floating nor int64.
    """
    return _core.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d` for all the rest."""
    return _core.avg_pool3d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool1d(input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen such that the output has `output_size` rows and columns.

    Window i covers the rows floor(i H / oH) up to ceil((i + 1) H / oH), so neighbours may overlap.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype.

    Errors: RuntimeError for other shapes or negative sizes, NotImplementedError for integers.
    """
    return _core.adaptive_avg_pool2d(input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool3d(input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_max_pool2d`."""
    return _core.adaptive_max_pool1d(input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of the windows of `adaptive_avg_pool2d`; NaN is larger than any number.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype; with `return_indices` a pair.

    Errors: RuntimeError for other shapes or negative sizes, NotImplementedError for integers.
    """
    return _core.adaptive_max_pool2d(input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_max_pool2d`."""
    return _core.adaptive_max_pool3d(input, output_size, return_indices)


# -- normalisation and dropout -----------------------------------------------------------------------------------------
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


# -- activations -------------------------------------------------------------------------------------------------------
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, input), elementwise (Nair and Hinton 2010). NaN stays; the slope at 0 is 0.

    input: any shape, any dtype but bool; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for bool.
    """
    return _core.relu(input, inplace=inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where positive, else negative_slope * input, elementwise (Maas et al. 2013).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.leaky_relu(input, negative_slope, inplace=inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (exp(input) - 1), elementwise (Clevert et al. 2016).

    input: any shape, floating; the result has both. alpha is also the slope at 0. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.elu(input, alpha, inplace=inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise, of any shape; integers become the default dtype. See `pycnn.sigmoid`."""
    return _core.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent, elementwise, of any shape; integers become the default dtype. See `pycnn.tanh`."""
    return _core.tanh(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta, elementwise (Dugas et al. 2001); input itself where beta * input > threshold.

    input: any shape, floating; the result has both.
    Errors: NotImplementedError for integers.
    """
    return _core.softplus(input, beta, threshold)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input * Phi(input), elementwise, Phi the normal distribution function (Hendrycks and Gimpel 2016).

    input: any shape, floating; the result has both.
    approximate: "none", or "tanh" for 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
    Errors: RuntimeError for another `approximate`, NotImplementedError for integers.
    """
    return _core.gelu(input, approximate=approximate)


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), elementwise, without overflow.

    input: any shape, floating; the result has both.
    Errors: NotImplementedError for integers.
    """
    return _core.logsigmoid(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input), elementwise (Hendrycks and Gimpel 2016; Elfwing et al. 2017).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.silu(input, inplace=inplace)


def maxout(input: Tensor, pool_size: int) -> Tensor:
    """The largest of every `pool_size` consecutive channels (Goodfellow et al. 2013).

    input: (N, C, ...), any dtype, with C divisible by `pool_size`; gives (N, C / pool_size, ...) of that dtype.
    Errors: ValueError if C is not divisible, RuntimeError for fewer than 2 dimensions.
    """
    return _core.maxout(input, pool_size)


def _softmax_dim(name: str, input: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    import warnings

    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Give dim=...", stacklevel=3)
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(input) / sum of exp(input) along `dim`, the maximum subtracted first: no overflow.

    input: any shape, floating (or converted to a floating `dtype` first); the result has both.
    dim: the dimension that sums to 1. None, with a warning: 0 for 0, 1 or 3 dimensions, else 1.
    Errors: IndexError for a dimension out of range, NotImplementedError for integers.
    """
    return _core.softmax(input, _softmax_dim("softmax", input, dim), dtype=dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(input)) along `dim`, as input - maximum - log(sum of exp(input - maximum)).

    input: any shape, floating. Arguments, dtypes and errors as in `softmax`.
    """
    return _core.log_softmax(input, _softmax_dim("log_softmax", input, dim), dtype=dtype)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class and 0 elsewhere: (...) to (..., num_classes), int64. Evaluates the classes.

    tensor: classes, int64 in 0..num_classes-1. num_classes: -1 takes one more than the largest class.
    Errors: RuntimeError for another dtype, a class out of range, or no class and no `num_classes`.
    """
    return _core.one_hot(tensor, num_classes)


# -- losses ------------------------------------------------------------------------------------------------------------
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], the mean weighted by the classes' weights.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...), floating.
        target: classes (), (N,) or (N, d1, ...), int64 in 0..C-1, or probabilities of the input's shape.
        weight: (C,) or None.
        ignore_index: class whose elements contribute nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: share of every target that is spread over all classes, in 0..1 (Szegedy et al. 2016).
        size_average, reduce: PyTorch's older spelling of `reduction`.

    Returns:
        Shape (), or target's (with classes) for "none"; the input's dtype.

    Errors: IndexError for a known class out of range; ValueError for batch sizes that differ or another `reduction`;
    RuntimeError for other shapes, dtypes or label_smoothing; NotImplementedError for an integer input.
    """
    return _core.cross_entropy(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities (C,), (N, C) or (N, C, d1, ...), the mean weighted by the classes.

    Arguments, result and errors as in `cross_entropy`, but for probabilities as targets and label_smoothing.
    """
    return _core.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """(input - target)^2, reduced ("mean", "sum" or "none").

    Shapes broadcast, dtypes are promoted to a floating one; gives shape (), or the broadcast one for "none".
    `size_average` and `reduce` are PyTorch's older spelling of `reduction`.
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction`, NotImplementedError for
    integers.
    """
    return _core.mse_loss(input, target, size_average, reduce, reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """|input - target|, reduced ("mean", "sum" or "none").

    Shapes and arguments as in `mse_loss`; integers only with "sum" and "none".
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction`.
    """
    return _core.l1_loss(input, target, size_average, reduce, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight * (target log(input) + (1 - target) log(1 - input)), logarithms not below -100, reduced.

    Args:
        input: probabilities in 0..1, any shape, floating.
        target: of the input's shape and dtype.
        weight: of a shape that broadcasts to the input's, or None.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        Shape (), or the input's for "none"; the input's dtype.

    Errors: ValueError for shapes that differ or another `reduction`; RuntimeError for dtypes that differ or known
    probabilities outside 0..1; NotImplementedError for integers.
    """
    return _core.binary_cross_entropy(input, target, weight, size_average, reduce, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), stable for large logits.

    Args:
        input: logits, any shape, floating.
        target: of the input's shape, floating.
        weight: of a shape that broadcasts with the input's, or None.
        size_average, reduce, reduction: as in `mse_loss`.
        pos_weight: multiplies the positive term; of a shape that broadcasts to the input's, or None.

    Returns:
        Shape (), or the input's for "none"; the promoted dtype.

    Errors: ValueError for shapes that differ or another `reduction`; RuntimeError for an integer target or a pos_weight
    that does not broadcast; NotImplementedError for an integer input.
    """
    return _core.binary_cross_entropy_with_logits(input, target, weight, size_average, reduce, reduction, pos_weight)
