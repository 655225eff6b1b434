"""New tensors: ranges, windows, matrices of powers."""

from __future__ import annotations

import math
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import function, method
from pycnn._tensor.special import i0


def _made(result: Tensor, requires_grad: bool) -> Tensor:
    return result.requires_grad_() if requires_grad else result


@function
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False, layout: Any = None) -> Tensor:  # fmt: skip
    """base ** start to base ** end in `steps` steps, of shape (steps,).

    Arguments and errors as in `linspace`.
    """
    wanted = dtype or _core.get_default_dtype()
    for bound in (start, end):
        if isinstance(bound, Tensor) and bound.dim():
            raise RuntimeError(f"logspace only supports 0-dimensional start and end tensors, but got start with "
                               f"{bound.dim()} dimension(s).")  # fmt: skip
    first, last = float(start), float(end)
    if not wanted.is_floating_point:
        first, last = float(int(first)), float(int(last))
    exponents = _core.linspace(first, last, steps, dtype=_core.float64)
    return _made(_core.pow(float(base), exponents).to(wanted), requires_grad)


@function
def range(start: float, end: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None,
          requires_grad: bool = False, layout: Any = None) -> Tensor:  # fmt: skip
    """start, start + step, ... up to and with end, of shape (count,).

    Arguments and errors as in `arange`.
    """
    first, last = (0, start) if end is None else (start, end)
    count = math.floor((last - first) / step) + 1
    wanted = dtype or _core.get_default_dtype()
    places = _core.arange(max(count, 0), dtype=_core.float64)
    return _made((places * step + first).to(wanted), requires_grad)


@function
def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: Any = None, **options: Any) -> Tensor:
    """Uniform integers from low to high - 1 of input's shape and dtype.

    Arguments and errors as in `randint`.
    """
    bounds = (0, low) if high is None else (low, high)
    return _core.randint(*bounds, list(input.shape), dtype=dtype or input.dtype)


@function
def empty_strided(size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
                  layout: Any = None, pin_memory: bool = False) -> Tensor:  # fmt: skip
    """Zeros of that shape; how they lie in memory is up to the library, so `stride` is only checked.

    Arguments and errors as in `empty`.
    """
    if len(size) != len(stride):
        raise RuntimeError("dimensionality of sizes must match dimensionality of strides")
    return _made(_core.empty(list(size), dtype=dtype), requires_grad)


@method
def new_empty_strided(self: Tensor, size: Any, stride: Any, *, dtype: Any = None, **options: Any) -> Tensor:
    """Zeros of that shape and self's dtype.

    Arguments and errors as in `empty_strided`.
    """
    return empty_strided(size, stride, dtype=dtype or self.dtype)


def _triangle_places(row: int, col: int, offset: int, dtype: Any, lower: bool) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"row and col must be non-negative, got {row} and {col}")
    distance = _core.arange(col) - _core.arange(row).unsqueeze(1)
    chosen = distance <= offset if lower else distance >= offset
    return chosen.nonzero().t().to(dtype or _core.int64)


@function
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
                 layout: Any = None) -> Tensor:  # fmt: skip
    """Rows and columns of a matrix's places not above the diagonal `offset`, of shape (2, count).

    Arguments and errors as in PyTorch.
    """
    return _triangle_places(row, col, offset, dtype, True)


@function
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None,
                 layout: Any = None) -> Tensor:  # fmt: skip
    """Rows and columns of a matrix's places not below the diagonal `offset`, of shape (2, count).

    Arguments and errors as in PyTorch.
    """
    return _triangle_places(row, col, offset, dtype, False)


@function
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of a vector's elements as columns, of shape (x.numel(), N).

    Arguments and errors as in PyTorch.
    """
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.numel() if N is None else N
    powers = _core.pow(x.unsqueeze(1), _core.arange(count, device=x.device))
    return powers if increasing else powers.flip(1)


def _cosines(window_length: int, periodic: bool, dtype: Any, coefficients: tuple[float, ...]) -> Tensor:
    wanted = dtype or _core.get_default_dtype()
    if window_length < 0:
        raise RuntimeError(f"window function requires non-negative window_length, got window_length={window_length}")
    if window_length <= 1:
        return _core.ones(window_length, dtype=wanted)
    angles = _core.arange(window_length, dtype=_core.float64) * (2 * math.pi / (window_length - (not periodic)))
    terms = [_core.cos(angles * k) * a for k, a in enumerate(coefficients)]
    return sum(terms[1:], terms[0]).to(wanted)


@function
def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False,
                device: Any = None, layout: Any = None) -> Tensor:  # fmt: skip
    """Hann's window, of shape (window_length,).

    Arguments and errors as in PyTorch.
    """
    return _made(_cosines(window_length, periodic, dtype, (0.5, -0.5)), requires_grad)


@function
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
                   dtype: Any = None, requires_grad: bool = False, device: Any = None,
                   layout: Any = None) -> Tensor:  # fmt: skip
    """Hamming's window, of shape (window_length,).

    Arguments and errors as in PyTorch.
    """
    return _made(_cosines(window_length, periodic, dtype, (alpha, -beta)), requires_grad)


@function
def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False,
                    device: Any = None, layout: Any = None) -> Tensor:  # fmt: skip
    """Blackman's window, of shape (window_length,).

    Arguments and errors as in PyTorch.
    """
    return _made(_cosines(window_length, periodic, dtype, (0.42, -0.5, 0.08)), requires_grad)


@function
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False,
                    device: Any = None, layout: Any = None) -> Tensor:  # fmt: skip
    """The triangular window, of shape (window_length,).

    Arguments and errors as in PyTorch.
    """
    wanted = dtype or _core.get_default_dtype()
    if window_length <= 1:
        return _core.ones(window_length, dtype=wanted)
    places = _core.arange(window_length, dtype=_core.float64) * (2 / (window_length - (not periodic)))
    return _made((1 - (places - 1).abs()).to(wanted), requires_grad)


@function
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None,
                  requires_grad: bool = False, device: Any = None, layout: Any = None) -> Tensor:  # fmt: skip
    """Kaiser's window, of shape (window_length,).

    Arguments and errors as in PyTorch.
    """
    wanted = dtype or _core.get_default_dtype()
    if window_length < 0:
        raise RuntimeError(f"kaiser_window requires non-negative window_length, got window_length={window_length}")
    if window_length <= 1:
        return _made(_core.ones(window_length, dtype=wanted), requires_grad)
    places = _core.arange(window_length, dtype=_core.float64) * (2 / (window_length - (not periodic))) - 1
    heights = i0((1 - places * places).clamp(min=0).sqrt() * beta) / i0(_core.tensor(beta, dtype=_core.float64))
    return _made(heights.to(wanted), requires_grad)
