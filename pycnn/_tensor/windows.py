"""Windows of tensors, and copies with a window replaced."""

from __future__ import annotations

import math
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, method, normalized
from pycnn._tensor.shaping import diagonal


@method
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements every `step` along a dimension, as a last dimension (a copy, not a view).

    Arguments, shapes and errors as in PyTorch.
    """
    along = normalized(dimension, self.dim())
    available = self.shape[along] if self.dim() else 1
    if size < 0 or size > available:
        raise RuntimeError(f"maximum size for tensor at dimension {along} is {available} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if self.dim() == 0:
        return self.reshape(1)[:size]
    count = (available - size) // step + 1
    places = (_core.arange(count).unsqueeze(1) * step + _core.arange(size)).reshape(-1)
    windows = self.index_select(along, places)
    return windows.unflatten(along, (count, size)).movedim(along + 1, -1)


@both
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The elements of a contiguous tensor of any shape at offset + strides (a copy, not a view).

    NotImplementedError unless it is contiguous. Arguments and errors as in PyTorch.
    """
    if not input.is_contiguous() or input.storage_offset() != 0:
        raise NotImplementedError("as_strided: only contiguous tensors that begin their storage")
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    start = storage_offset or 0
    reach = start + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if math.prod(size) > 0 and (start < 0 or reach >= input.numel()):
        raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start} are out of "
                           f"bounds for storage of {input.numel()} elements")  # fmt: skip
    places = _core.zeros([], dtype=_core.int64) + start
    for d, (n, s) in enumerate(zip(size, stride, strict=True)):
        places = places + (_core.arange(n) * s).reshape([-1] + [1] * (len(size) - d - 1))
    return input.reshape(-1).index_select(0, places.reshape(-1)).reshape(list(size))


@both
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of input with src in the window.

    Arguments, shapes and errors as in PyTorch.
    """
    result = input.clone()
    window = result[(slice(None),) * normalized(dim, input.dim()) + (slice(start, end, step),)]
    if tuple(window.shape) != tuple(src.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
                           f"slice size = {list(window.shape)}")  # fmt: skip
    window.copy_(src)
    return result


@both
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with src at index along dim.

    Arguments, shapes and errors as in PyTorch.
    """
    result = input.clone()
    window = result.select(dim, index)
    if tuple(window.shape) != tuple(src.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
                           f"slice size = {list(window.shape)}")  # fmt: skip
    window.copy_(src)
    return result


@both
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of input with src on the diagonal.

    Arguments, shapes and errors as in `diagonal`.
    """
    places = _core.arange(input.numel()).reshape(input.shape)
    chosen = diagonal(places, offset, dim1, dim2)
    if tuple(chosen.shape) != tuple(src.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
                           f"slice size = {list(chosen.shape)}")  # fmt: skip
    flat = input.reshape(-1).scatter(0, chosen.reshape(-1), src.reshape(-1).to(input.dtype))
    return flat.reshape(input.shape)


@both
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A copy of the window.

    Arguments, shapes and errors as in `narrow`.
    """
    return input.narrow(dim, start, length).clone()
