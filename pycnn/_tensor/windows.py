"""Windows of tensors, and copies with a window replaced."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, method, normalized
from pycnn._tensor.shaping import diagonal


@method
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements every `step` along a dimension, as a last dimension: a view.

    Arguments, shapes and errors as in PyTorch.
    """
    return _core._sliding_windows(self, dimension, size, step)


@both
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of the elements at offset + strides of the tensor that input is a view of, or of itself, whose elements
    count row by row.

    Arguments, shapes and errors as in PyTorch.
    """
    return _core._as_strided(input, size, stride, storage_offset)


@both
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A copy of input with src in the places that `as_strided` shows.

    Arguments, shapes and errors as in PyTorch.
    """
    result = input.clone()
    window = as_strided(result, size, stride, storage_offset)
    if tuple(window.shape) != tuple(src.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
                           f"slice size = {list(window.shape)}")  # fmt: skip
    window.copy_(src)
    return result


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
