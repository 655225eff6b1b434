"""Random numbers of rarer distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, function, method


@both
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """num_samples places drawn with probabilities in proportion to the weights in the last dimension of input, of
    shape (N,) or (M, N); int64, of shape (num_samples,) or (M, num_samples).

    Arguments and errors as in PyTorch: RuntimeError for other shapes and dtypes, weights that are negative or not
    finite, or too few of them.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    weights = input.detach()
    if input.numel() == 0:
        return _core.zeros([*input.shape[:-1], num_samples], dtype=_core.int64)
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if bool((weights.sum(-1) <= 0).any()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    weights = weights.double()
    if replacement:
        bounds = weights.cumsum(-1)
        drawn = _uniform([*input.shape[:-1], num_samples], generator) * bounds[..., -1:]
        return (bounds.unsqueeze(-2) <= drawn.unsqueeze(-1)).sum(-1)
    if int((weights > 0).sum(-1).min()) < num_samples:
        raise RuntimeError("invalid multinomial distribution (with replacement=False, not enough non-negative category "
                           "to sample)")  # fmt: skip
    # The first of exponential waiting times with these rates.
    waiting = -_core.log1p(-_uniform(list(input.shape), generator)) / weights
    return _core.argsort(waiting, -1)[..., :num_samples]


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
    rates = input.detach().double().numpy()
    if (rates < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return _core.tensor(_numpy_generator(generator).poisson(rates)).to(input.dtype)


@function
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Binomially distributed numbers of successes, of the shape that count and prob broadcast to, of count's dtype.

    Arguments and errors as in PyTorch.
    """
    counts, chances = count.detach().double().numpy(), prob.detach().double().numpy()
    drawn = _numpy_generator(generator).binomial(counts.astype(np.int64), chances)
    return _core.tensor(np.asarray(drawn)).to(count.dtype)


def _filled(self: Tensor, numbers: Tensor) -> Tensor:
    if not self.is_floating_point():
        raise NotImplementedError(f"not implemented for '{self.dtype}'")
    return self.copy_(numbers.to(self.dtype))


@method
def exponential_(self: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """self is filled with exponentially distributed numbers of the rate lambd, in place, any shape.

    Arguments and errors as in PyTorch: RuntimeError for a rate that is not positive; NotImplementedError for integers.
    """
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _filled(self, -_core.log1p(-_uniform(list(self.shape), generator)) / lambd)


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
