"""Elements picked and replaced by index tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, broadcast, everywhere, normalized


def _wrapped(index: Tensor, size: int, name: str) -> Tensor:
    """Index counted from the front; IndexError for what is outside."""
    if index.dtype not in (_core.int64, _core.int32):
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype}")
    if index.numel() and not bool(((index >= -size) & (index < size)).all()):
        raise IndexError(f"{name}(): index out of range for dimension with size {size}")
    return _core.where(index < 0, index + size, index)


@both
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at these places of input as if flat, of index's shape.

    Arguments and errors as in PyTorch.
    """
    if index.dtype is not _core.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    if input.numel() == 0 and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    places = _wrapped(index, input.numel(), "take").reshape(-1)
    return input.reshape(-1).index_select(0, places).reshape(index.shape)


@everywhere
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with source's elements at these places as if flat (added for accumulate).

    Arguments, shapes and errors as in PyTorch.
    """
    if index.numel() != source.numel():
        raise RuntimeError(f"put_(): Expected source and index to have the same number of elements, but got "
                           f"{source.numel()} and {index.numel()}")  # fmt: skip
    if input.dtype is not source.dtype:
        raise RuntimeError(f"put_(): self and source expected to have the same dtype, but got {input.dtype} and "
                           f"{source.dtype}")  # fmt: skip
    flat, places = input.reshape(-1), _wrapped(index, input.numel(), "put_").reshape(-1)
    change = flat.scatter_add if accumulate else flat.scatter
    return change(0, places, source.reshape(-1)).reshape(input.shape)


@both
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with shapes broadcast apart from dim; without it from input as if flat.

    Arguments and errors as in PyTorch.
    """
    if indices.dtype is not _core.int64:
        raise RuntimeError(f"take_along_dim(): dtype of indices should be Long but got {indices.dtype}")
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    if input.dim() != indices.dim():
        raise RuntimeError(f"take_along_dim(): input and indices should have the same number of dimensions, but got "
                           f"{input.dim()} and {indices.dim()} dimensions")  # fmt: skip
    d = normalized(dim, input.dim())
    shape = broadcast(*([1 if i == d else n for i, n in enumerate(t.shape)] for t in (input, indices)))
    source = input.expand([input.shape[d] if i == d else n for i, n in enumerate(shape)])
    places = indices.expand([indices.shape[d] if i == d else n for i, n in enumerate(shape)])
    return source.gather(d, _wrapped(places, input.shape[d], "take_along_dim"))


def _lines(name: str, input: Tensor, dim: int, index: Tensor, source_shape: Sequence[int]) -> tuple[int, Tensor]:
    """The dimension, and the index broadcast over slices of the source."""
    d = normalized(dim, input.dim())
    if index.dim() > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {index.dim()}")
    size = input.shape[d] if input.dim() else 1
    places = index.reshape(-1).long()
    if places.numel() and not bool(((places >= 0) & (places < size)).all()):
        raise IndexError(f"{name}(): index out of range in self")
    if not source_shape:
        return d, places.reshape([])
    return d, places.reshape([-1 if i == d else 1 for i in range(len(source_shape))]).expand(list(source_shape))


def _check_slices(name: str, input: Tensor, d: int, index: Tensor, source: Tensor) -> None:
    if input.dtype is not source.dtype:
        raise RuntimeError(f"{name}(): self ({input.dtype}) and source ({source.dtype}) must have the same scalar type")
    wanted = [index.numel() if i == d else n for i, n in enumerate(input.shape)]
    if input.dim() and source.dim() and list(source.shape) != wanted:
        if source.shape[d : d + 1] != (index.numel(),) and name == "index_copy":
            raise IndexError(f"{name}(): Number of indices ({index.numel()}) should be equal to source.size(dim)")
        raise RuntimeError(f"{name}(): source of shape {list(source.shape)} does not fit {wanted}")


@everywhere
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """input with alpha times source's slices added at `index` along dim.

    Arguments, shapes and errors as in PyTorch.
    """
    d = normalized(dim, input.dim())
    _check_slices("index_add", input, d, index, source)
    d, places = _lines("index_add", input, dim, index, source.shape)
    return input.scatter_add(d, places, source if alpha == 1 else source * alpha)


@everywhere
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
                 include_self: bool = True) -> Tensor:  # fmt: skip
    """input with source's slices reduced into those at `index` along dim: "prod", "mean", "amax" or "amin", with or
    without what was there.

    Arguments, shapes and errors as in PyTorch.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = normalized(dim, input.dim())
    _check_slices("index_reduce", input, d, index, source)
    d, places = _lines("index_reduce", input, dim, index, source.shape)
    return scatter_reduce(input, d, places, source, reduce, include_self=include_self)


@everywhere
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with source's slices at `index` along dim.

    Arguments, shapes and errors as in PyTorch.
    """
    if index.dtype is not _core.int64:
        raise RuntimeError(f"index_copy_(): Expected a long tensor for index, but got {index.dtype}")
    d = normalized(dim, input.dim())
    _check_slices("index_copy", input, d, index, source)
    d, places = _lines("index_copy", input, dim, index, source.shape)
    return _scatter(input, d, places, source)


@everywhere
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with the slices at `index` along dim filled with a number.

    Arguments, shapes and errors as in PyTorch.
    """
    if index.dtype is not _core.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    d = normalized(dim, input.dim())
    chosen = _core.zeros(input.shape[d] if input.dim() else 1, dtype=_core.bool)
    places = _wrapped(index.reshape(-1), chosen.numel(), "index_fill_")
    if places.numel():
        chosen[places] = True
    if input.dim() == 0:
        return input.masked_fill(chosen.reshape([]), value)
    return input.masked_fill(chosen.reshape([-1 if i == d else 1 for i in range(input.dim())]), value)


_scatter = _core.scatter
_scatter_add = _core.scatter_add
_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@everywhere
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
            reduce: str | None = None) -> Tensor:  # fmt: skip
    """input with src's elements (or a number) at `index` along dim; reduce "add" or "multiply" combines them with
    what is there.

    Arguments, shapes and errors as in PyTorch.
    """
    source = value if src is None else src
    if source is None:
        raise TypeError("scatter() received an invalid combination of arguments: neither src nor value")
    if reduce is None:
        return _scatter(input, dim, index, source)
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(source, Tensor):
        source = _core.full(list(index.shape), source, dtype=input.dtype)
    return scatter_reduce(input, dim, index, source, "sum" if reduce == "add" else "prod")


@everywhere
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                   include_self: bool = True) -> Tensor:  # fmt: skip
    """input with src's elements reduced into the places at `index` along dim: "sum", "prod", "mean", "amax" or
    "amin", with or without what was there.

    Arguments, shapes and errors as in PyTorch.
    """
    d = normalized(dim, input.dim())
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    source = src[tuple(slice(n) for n in index.shape)] if index.dim() else src
    target = input
    if not include_self and index.numel():
        start = {"prod": 1, "amax": _extreme(input, False), "amin": _extreme(input, True)}.get(reduce, 0)
        target = _scatter(input, d, index, _core.full(list(index.shape), start, dtype=input.dtype))
    if reduce in ("sum", "mean"):
        total = _scatter_add(target, d, index, source)
        if reduce == "sum":
            return total
        ones = _core.ones(list(index.shape), dtype=input.dtype)
        counts = _core.ones_like(input) if include_self else _core.zeros_like(input)
        counts = _scatter_add(counts, d, index, ones).clamp(min=1)
        return total / counts if input.is_floating_point() else total // counts
    return _core._scatter_reduce(target, d, index, source, reduce)


def _extreme(input: Tensor, largest: bool) -> Any:
    if input.is_floating_point():
        return math.inf if largest else -math.inf
    if input.dtype is _core.bool:
        return largest
    bits = 8 * input.element_size()
    if input.dtype is _core.uint8:
        return 255 if largest else 0
    return 2 ** (bits - 1) - 1 if largest else -(2 ** (bits - 1))


@everywhere
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements where mask is True replaced by source's, one after the other.

    Arguments, shapes and errors as in PyTorch.
    """
    if mask.dtype is not _core.bool:
        raise RuntimeError("masked_scatter_ only supports boolean masks")
    if input.dtype is not source.dtype:
        raise RuntimeError(f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and "
                           f"{source.dtype}")  # fmt: skip
    shape = broadcast(input.shape, mask.shape)
    flat = mask.expand(shape).reshape(-1)
    count = int(flat.sum())
    if count > source.numel():
        raise RuntimeError("Number of elements of source < number of ones in mask")
    if count == 0:
        return input.expand(shape).clone()
    places = (flat.cumsum(0) - 1).clamp(min=0)
    return _core.where(mask, source.reshape(-1).index_select(0, places).reshape(shape), input)


def _flat_places(input: Tensor, indices: Sequence[Any]) -> tuple[Tensor, list[int]]:
    """All index tensors (masks among them; None: the whole dimension) as places in input as if flat."""
    parts: list[Tensor | None] = []
    for index in indices:
        if index is None:
            parts.append(None)
        elif index.dtype in (_core.bool, _core.uint8):
            parts.extend(index.nonzero().unbind(1))
        else:
            parts.append(index)
    if len(parts) > input.dim():
        raise IndexError(f"too many indices for tensor of dimension {input.dim()}")
    parts += [None] * (input.dim() - len(parts))
    grid = _core.arange(input.numel()).reshape(input.shape)
    item = tuple(slice(None) if p is None else p for p in parts)
    chosen = grid[item]
    return chosen, list(chosen.shape)


@everywhere
def index_put(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """input[indices] = values in a copy; accumulate adds, repeated places several times.

    Arguments, shapes and errors as in PyTorch.
    """
    if input.dtype is not values.dtype:
        raise RuntimeError(f"Index put requires the source and destination dtypes match, got {input.dtype} for the "
                           f"destination and {values.dtype} for the source.")  # fmt: skip
    places, shape = _flat_places(input, indices)
    try:
        spread = values.expand(shape)
    except RuntimeError as error:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to "
                           f"indexing result of shape {shape}") from error  # fmt: skip
    flat = input.reshape(-1)
    change = flat.scatter_add if accumulate else flat.scatter
    return change(0, places.reshape(-1), spread.reshape(-1)).reshape(input.shape)


@both
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The places of elements that are not zero, of shape (count, input.dim()), or one vector per dimension.

    Arguments and errors as in PyTorch.
    """
    if as_tuple:
        return tuple(_nonzero(input.reshape(1) if input.dim() == 0 else input).unbind(1))
    return _nonzero(input)


_nonzero = _core.nonzero


@both
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The places of the first `size` elements that are not zero, filled up with `fill_value`, of shape
    (size, input.dim()).

    Arguments and errors as in PyTorch.
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = _nonzero(input)[:size]
    missing = _core.full([size - found.shape[0], input.dim()], fill_value, dtype=_core.int64)
    return _core.cat([found, missing])
