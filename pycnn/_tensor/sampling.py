"""Random numbers of rarer distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import function, method


def _uniform(shape: Any, generator: Any) -> Tensor:
    return _core.rand(shape, dtype=_core.float64, generator=generator)


def _numpy_generator(generator: Any) -> np.random.Generator:
    seed = _core.randint(0, 2**62, [1], generator=generator)
    return np.random.default_rng(int(seed.item()))


@function
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson distributed numbers with these rates, of input's shape and dtype.

    Arguments and errors as in PyTorch: RuntimeError for a negative rate.
    """
    rates = input.detach().double().cpu().numpy()
    if (rates < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return _core.tensor(_numpy_generator(generator).poisson(rates)).to(input.dtype)


@function
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Binomially distributed numbers of successes, of the shape that count and prob broadcast to, of count's dtype.

    Arguments and errors as in PyTorch.
    """
    counts, chances = count.detach().double().cpu().numpy(), prob.detach().double().cpu().numpy()
    drawn = _numpy_generator(generator).binomial(counts.astype(np.int64), chances)
    return _core.tensor(np.asarray(drawn)).to(count.dtype)


def _filled(self: Tensor, numbers: Tensor) -> Tensor:
    if not self.is_floating_point():
        raise NotImplementedError(f"not implemented for '{self.dtype}'")
    return self.copy_(numbers.to(self.dtype))


@method
def geometric_(self: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """self is filled with numbers of trials up to the first success, of the chance p, in place, any shape.

    Arguments and errors as in PyTorch: RuntimeError unless 0 < p < 1.
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    trials = (_core.log1p(-_uniform(list(self.shape), generator)) / float(np.log1p(-p))).ceil().clamp(min=1)
    return self.copy_(trials.to(self.dtype))


@method
def cauchy_(self: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """self is filled with numbers of Cauchy's distribution, in place, any shape.

    Arguments and errors as in PyTorch: RuntimeError for a sigma that is not positive; NotImplementedError for integers.
    """
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _filled(self, ((_uniform(list(self.shape), generator) - 0.5) * float(np.pi)).tan() * sigma + median)


@method
def log_normal_(self: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """self is filled with numbers whose logarithms are normal with this mean and deviation, in place, any shape.

    Arguments and errors as in PyTorch: RuntimeError for a std that is not positive; NotImplementedError for integers.
    """
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    numbers = _core.randn(list(self.shape), dtype=_core.float64, generator=generator)
    return _filled(self, (numbers * std + mean).exp())
