"""Activations, softmax and one-hot vectors."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor


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
