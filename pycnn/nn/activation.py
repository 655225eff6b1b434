"""Activation functions as modules. Any shape in, the same shape out; formulas in `functional`."""

from __future__ import annotations

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.module import Module


class ReLU(Module):
    """max(0, x), elementwise on any shape (Nair and Hinton 2010).

    Arguments, dtypes and errors as in `functional.relu`.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """x where positive, else negative_slope * x, elementwise on any shape (Maas et al. 2013).

    Arguments, dtypes and errors as in `functional.leaky_relu`.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where positive, else alpha * (exp(x) - 1), elementwise on any shape (Clevert et al. 2016).

    Arguments, dtypes and errors as in `functional.elu`.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise on any shape.

    Arguments, dtypes and errors as in `functional.sigmoid`.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent, elementwise on any shape.

    Arguments, dtypes and errors as in `functional.tanh`.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, elementwise on any shape; x itself where beta x > threshold (Dugas et al. 2001).

    Arguments, dtypes and errors as in `functional.softplus`.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class GELU(Module):
    """x * Phi(x), elementwise on any shape, exactly or with approximate="tanh" (Hendrycks and Gimpel 2016).

    Arguments, dtypes and errors as in `functional.gelu`.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x * sigmoid(x), elementwise on any shape (Hendrycks and Gimpel 2016; Elfwing et al. 2017).

    Arguments, dtypes and errors as in `functional.silu`.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Maxout(Module):
    """The largest of every `pool_size` consecutive channels (Goodfellow et al. 2013): (N, C, ...) to (N, C / k, ...).

    Arguments, dtypes and errors as in `functional.maxout`.
    """

    def __init__(self, pool_size: int) -> None:
        super().__init__()
        self.pool_size = pool_size

    def forward(self, input: Tensor) -> Tensor:
        return F.maxout(input, self.pool_size)

    def extra_repr(self) -> str:
        return f"pool_size={self.pool_size}"


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))), elementwise on any shape.

    Arguments, dtypes and errors as in `functional.logsigmoid`.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softmax(Module):
    """exp(x) / sum of exp(x) along `dim`, of any shape.

    Arguments, dtypes and errors as in `functional.softmax`.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along `dim`, of any shape.

    Arguments, dtypes and errors as in `functional.log_softmax`.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
