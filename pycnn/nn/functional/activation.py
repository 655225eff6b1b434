"""Activations, softmax and one-hot vectors."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs


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


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, input), 6), elementwise. NaN stays; the slope at 0 and 6 is 0.

    input: any shape, any dtype but bool; the result has both. inplace: change the input itself.
    Errors: RuntimeError for bool.
    """
    return _core.relu6(input, inplace=inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(min_val, input), max_val), elementwise. NaN stays; the slope at both bounds is 0.

    input: any shape, any dtype but bool; the result has both. inplace: change the input itself.
    Errors: ValueError if min_val exceeds max_val; RuntimeError for bool, or for uint8 with negative bounds.
    """
    return _core.hardtanh(input, min_val, max_val, inplace=inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6, elementwise (Howard et al. 2019).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.hardsigmoid(input, inplace=inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input), elementwise (Howard et al. 2019).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.hardswish(input, inplace=inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input where |input| > lambd, else 0, elementwise.

    input: any shape, floating; the result has both.
    Errors: NotImplementedError for integers.
    """
    return _core.hardshrink(input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input - lambd above lambd, input + lambd below -lambd, else 0, elementwise.

    input: any shape, floating; the result has both.
    Errors: RuntimeError for a negative lambd, NotImplementedError for integers.
    """
    return _core.softshrink(input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input), elementwise, of any shape; integers become the default dtype.

    Errors: RuntimeError for bool.
    """
    return _core.tanhshrink(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input where it is above `threshold`, else `value`, elementwise. NaN stays; the slope at the threshold is 0.

    input: any shape, any dtype but bool; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for bool.
    """
    return _core.threshold(input, threshold, value, inplace=inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 * elu(input, 1.6733), which keeps mean 0 and variance 1, elementwise (Klambauer et al. 2017).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.selu(input, inplace=inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha * (exp(input / alpha) - 1), elementwise (Barron 2017).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: RuntimeError for alpha 0, NotImplementedError for integers.
    """
    return _core.celu(input, alpha, inplace=inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(log(1 + exp(input))), elementwise (Misra 2019).

    input: any shape, floating; the result has both. inplace: change the input itself.
    Errors: NotImplementedError for integers.
    """
    return _core.mish(input, inplace=inplace)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|), elementwise, of any shape; integers become the default dtype.

    Errors: NotImplementedError for bool.
    """
    return _core.softsign(input)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """input where positive, else a slope times input: drawn from [lower, upper) per element in training, else the mean.

    input: any shape, floating; the result has both. inplace: change the input itself. Source: Xu et al. 2015.
    Errors: RuntimeError if lower exceeds upper, NotImplementedError for integers.
    """
    return _core.rrelu(input, lower, upper, training, inplace=inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, else weight * input (He et al. 2015).

    input: any shape, floating; the result has both.
    weight: one slope, of shape () or (1,), or one per channel of (N, C, ...), of shape (C,); of the input's dtype.
    Errors: RuntimeError for another number of slopes or dtypes that differ, NotImplementedError for integers.
    """
    return _core.prelu(input, weight)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times sigmoid of the second half (Dauphin et al. 2017).

    input: (..., 2 n, ...), floating; the result (..., n, ...) of that dtype.
    Errors: RuntimeError for an odd size or no dimension, IndexError for a dim out of range, NotImplementedError for
    integers.
    """
    return _core.glu(input, dim)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-input) along `dim`, of any shape.

    Arguments, dtypes and errors as in `softmax`; RuntimeError for bool.
    """
    return _core.softmin(input, _softmax_dim("softmin", input, dim), dtype=dtype)


@on_device_of_inputs
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """softmax((logits + noise) / tau) along `dim`, the noise from Gumbel's distribution (Jang et al. 2017).

    logits: any shape, floating; the result has both. tau: a positive temperature.
    hard: give the one-hot vector of the largest element, with the gradient of the soft result.
    eps: accepted and ignored, as in PyTorch.
    Errors: RuntimeError for integers, IndexError for a dim out of range.
    """
    if not isinstance(logits, Tensor):
        raise TypeError(f"gumbel_softmax(): argument 'logits' must be Tensor, not {type(logits).__name__}")
    if not logits.is_floating_point():
        raise RuntimeError(f"gumbel_softmax: dtype must be a floating point but you specified {logits.dtype}")
    wide = logits.dtype if logits.dtype in (_core.float32, _core.float64) else _core.float32
    # Uniform numbers are multiples of 2**-24 in [0, 1): the one at 0 is moved half a step, where the noise is finite.
    uniform = _core.rand(*logits.shape, dtype=_core.float32).to(wide)
    exponential = (-_core.log1p(-uniform)).clamp(min=2.0**-25)
    soft = softmax((logits - exponential.log().to(logits.dtype)) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().max(dim, keepdim=True)[1]
    one = _core.scatter(_core.zeros_like(soft), dim, index, _core.ones_like(index, dtype=soft.dtype))
    return one - soft.detach() + soft


def normalize(
    input: Tensor, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """input / max(its p-norm along `dim`, eps).

    input: any shape, floating; the result has both. out: a tensor that takes the result, without gradient.
    Errors: RuntimeError for integers, IndexError for a dim out of range.
    """
    result = _core.normalize(input, p, dim, eps)
    return result if out is None else out.copy_(result)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along `dim`: x1 . x2 / (max(|x1|, eps) max(|x2|, eps)).

    x1, x2: shapes that broadcast, one of them floating; the result lacks `dim`, in the promoted dtype.
    Errors: RuntimeError for integers or shapes that do not broadcast, IndexError for a dim out of range.
    """
    return _core.cosine_similarity(x1, x2, dim, eps)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension.

    x1, x2: (..., D), shapes that broadcast; the result (...), or (..., 1) with keepdim.
    Errors: RuntimeError for shapes that do not broadcast.
    """
    return _core.pairwise_distance(x1, x2, p, eps, keepdim)


def relu_(input: Tensor) -> Tensor:
    """`relu` in place, elementwise. See `relu`."""
    return _core.relu(input, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place, elementwise. See `leaky_relu`."""
    return _core.leaky_relu(input, negative_slope, inplace=True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place, elementwise. See `elu`."""
    return _core.elu(input, alpha, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place, elementwise. See `hardtanh`."""
    return _core.hardtanh(input, min_val, max_val, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place, elementwise. See `selu`."""
    return _core.selu(input, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place, elementwise. See `celu`."""
    return _core.celu(input, alpha, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place, elementwise. See `threshold`."""
    return _core.threshold(input, threshold, value, inplace=True)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place, elementwise. See `rrelu`."""
    return _core.rrelu(input, lower, upper, training, inplace=True)
