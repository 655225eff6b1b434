"""What PyTorch does to a tensor's storage and says of it: sizes in place, elements one by one, real and imaginary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Size, Tensor
from pycnn._tensor.registry import both, function, method


@function
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of input's shape and dtype filled with a number, or a tensor of shape ().

    Arguments and errors as in PyTorch.
    """
    return input.clone().fill_(value)


@function
def detach(input: Tensor) -> Tensor:
    """See Tensor.detach."""
    return input.detach()


# The dimensions from the outermost in memory to the innermost.
_ORDERS = {_core.channels_last: (0, 2, 3, 1), _core.channels_last_3d: (0, 2, 3, 4, 1)}


def _order_of(memory_format: Any, rank: int) -> list[int]:
    if memory_format is _core.preserve_format:
        raise RuntimeError("Unsupported memory format Preserve")
    order = list(_ORDERS.get(memory_format, range(rank)))
    if len(order) != rank:
        raise RuntimeError(f"required rank {len(order)} tensor to use {memory_format} format")
    return order


def _lies_in(input: Tensor, order: Sequence[int]) -> bool:
    """Whether the elements lie densely with the dimensions in this order; those of size 1 may claim any stride."""
    step = 1
    for d in reversed(order):
        if input.shape[d] != 1 and input.stride(d) != step:
            return False
        step *= max(input.shape[d], 1)
    return True


def _storage_from(input: Tensor, count: int) -> Tensor:
    """So many elements of input's storage, from its first on; zeros for what lies behind its last one and the end."""
    try:
        return _core._as_strided(input, [count], [1], input.storage_offset())
    except RuntimeError:  # past the end
        steps = zip(input.shape, input.stride(), strict=True)
        there = 1 + sum((extent - 1) * step for extent, step in steps) if input.numel() else 0
        found = _core._as_strided(input, [there], [1], input.storage_offset())
        return _core.cat([found, _core.zeros(count - there, dtype=input.dtype)])


@method
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives self another shape, in place: the elements go on as they lie in memory, what is new is zero.

    The same shape (without a `memory_format`) changes nothing. Any other gives self a storage of its own, of just that
    size: unlike in PyTorch, views of self stay with the old one, and growing again brings nothing back.

    Arguments and errors as in PyTorch: RuntimeError if self requires grad.
    """
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = [int(n) for n in (sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes)]
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_: negative size in {shape}")
    order = _order_of(memory_format, len(shape))
    if shape == list(self.shape) and (memory_format is None or _lies_in(self, order)):
        return self
    flat = _storage_from(self.detach(), math.prod(shape)).clone()
    self.data = flat.reshape([shape[d] for d in order]).permute(_inverse(order))
    return self


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


@both
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Gives input the template's shape, in place: see `Tensor.resize_`. preserve_format takes its layout, too.

    Arguments and errors as in it.
    """
    if memory_format is _core.preserve_format:
        fitting = [known for known, order in _ORDERS.items() if len(order) == the_template.dim()]
        dense = _lies_in(the_template, range(the_template.dim()))
        memory_format = next((known for known in fitting if not dense and _lies_in(the_template, _ORDERS[known])), None)
    return resize_(input, list(the_template.shape), memory_format=memory_format)


@both
def as_strided_(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """input becomes what `as_strided` shows of it, without being a view; of the shape `size`.

    Arguments and errors as in it.
    """
    input.data = _core._as_strided(input.detach(), list(size), list(stride), storage_offset).clone()
    return input


@method
def set_(self: Tensor, source: Tensor) -> Tensor:
    """self takes the elements, shape and dtype of source.

    Arguments and errors as in PyTorch.
    """
    if self.requires_grad:
        raise RuntimeError("set_: a tensor that requires grad cannot be set")
    self.data = source
    return self


@method
def apply_(self: Tensor, callable: Any) -> Tensor:
    """Every element replaced by callable(element), in place, any shape. Slow.

    Arguments and errors as in PyTorch.
    """
    if self.requires_grad:
        raise TypeError("apply_() not implemented for tensors that require grad")
    results = [callable(x) for x in self.reshape(-1).tolist()]
    return self.copy_(_core.tensor(results, dtype=self.dtype).reshape(self.shape))


@method
def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Every element replaced by callable(element, that of tensor, whose shape broadcasts), in place. Slow.

    Arguments and errors as in PyTorch.
    """
    if self.requires_grad or tensor.requires_grad:
        raise TypeError("map_() not implemented for tensors that require grad")
    pairs = zip(self.reshape(-1).tolist(), tensor.expand(self.shape).reshape(-1).tolist(), strict=True)
    return self.copy_(_core.tensor([callable(x, y) for x, y in pairs], dtype=self.dtype).reshape(self.shape))


@method
def new(self: Tensor, *data: Any) -> Tensor:
    """A tensor of self's dtype of that shape (sizes or a Size), or of that data (a tensor or another sequence).

    Arguments and errors as in PyTorch.
    """
    if len(data) != 1 or isinstance(data[0], int):
        return _core.empty(list(data) or [0], dtype=self.dtype)
    (given,) = data
    if isinstance(given, Size):
        return _core.empty(given, dtype=self.dtype)
    if isinstance(given, Tensor):
        if given.dtype is not self.dtype:
            raise TypeError(f"new(): expected a tensor of {self.dtype}, got one of {given.dtype}")
        return given.detach().clone()
    if not isinstance(given, (Sequence, np.ndarray)):
        raise TypeError(f"new(): data must be a sequence (got {type(given).__name__})")
    return _core.tensor(given, dtype=self.dtype)


@method
def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost, any shape.

    Arguments and errors as in PyTorch: RuntimeError if `ambiguity_check` (True, or a list of memory formats of which
    exactly one must fit) finds that others are as good.
    """
    listed = isinstance(ambiguity_check, list) and all(isinstance(f, _core.memory_format) for f in ambiguity_check)
    if not listed and not isinstance(ambiguity_check, bool):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    rank, shape, strides = self.dim(), self.shape, self.stride()
    orders = {_core.contiguous_format: range(rank)} | {f: o for f, o in _ORDERS.items() if len(o) == rank}
    if (listed or ambiguity_check) and (1 in shape or any(a == b for a, b in itertools.pairwise(strides))):
        fitting = [f for f in ambiguity_check if f in orders and _lies_in(self, orders[f])] if listed else []
        if len(fitting) != 1:
            raise RuntimeError("The tensor does not have unique dim order, or cannot map to exact one of the given "
                               "memory formats.")  # fmt: skip
    dense, last = (f in orders and _lies_in(self, orders[f]) for f in (_core.contiguous_format, _core.channels_last))
    if rank < 2 or (dense and not last):
        return tuple(range(rank))
    if last and not dense:
        return _ORDERS[_core.channels_last]

    def compare(a: int, b: int) -> int:
        if strides[a] == 0 or strides[b] == 0:
            return 0
        if strides[a] == strides[b]:
            return int(shape[a] > shape[b])
        return 1 if strides[a] > strides[b] else -1

    # An insertion sort from the back that leaves what cannot be compared where it is.
    order = list(reversed(range(rank)))
    for i in range(1, rank):
        place = i
        for before in reversed(range(i)):
            comparison = compare(order[before], order[place])
            if comparison < 0:
                break
            if comparison > 0:
                order[before], order[place] = order[place], order[before]
                place = before
    if ambiguity_check and any(compare(a, b) >= 0 for a, b in itertools.pairwise(order)):
        raise RuntimeError("The tensor does not have unique dim order.")
    return tuple(reversed(order))


@function
def get_device(input: Tensor) -> int:
    """-1 for the CPU, any shape. Arguments as in PyTorch."""
    return -1


@function
def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """The elements of an object with a buffer, of shape (count,): a copy, which does not follow it.

    Arguments and errors as in PyTorch.
    """
    view = memoryview(buffer).cast("B")
    size = _core.empty(0, dtype=dtype).element_size()
    if len(view) == 0 or count == 0:
        raise ValueError(f"both buffer length ({len(view)}) and count ({count}) must not be 0")
    if not 0 <= offset < len(view):
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
                         f"({len(view)} bytes) minus 1")  # fmt: skip
    left = len(view) - offset
    if count < 0:
        if left % size:
            raise ValueError(f"buffer length ({left} bytes) after offset ({offset} bytes) must be a multiple of "
                             f"element size ({size})")  # fmt: skip
        count = left // size
    if count * size > left:
        raise ValueError(f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be "
                         f"greater than actual buffer length ({len(view)} bytes)")  # fmt: skip
    part = view[offset : offset + count * size]
    if dtype is _core.bfloat16:
        # The upper half of a float32.
        wide = (np.frombuffer(part, np.uint16).astype(np.uint32) << 16).view(np.float32)
        result = _core.tensor(wide).to(dtype)
    else:
        result = _core.tensor(np.frombuffer(part, str(dtype).rpartition(".")[2]))
    return result.requires_grad_() if requires_grad else result


@function
def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """A tensor of that shape whose dimensions lie in memory in this order.

    Arguments and errors as in PyTorch.
    """
    order = list(physical_layout)
    if sorted(order) != list(range(len(size))):
        raise RuntimeError(f"empty_permuted: physical_layout {order} is no order of {len(size)} dimensions")
    result = _core.empty([size[d] for d in order], dtype=dtype).permute(_inverse(order)).detach()
    return result.requires_grad_() if requires_grad else result


@both
def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """See `split_with_sizes`; shapes and errors as in it."""
    return _core.split(input, list(split_sizes), dim)


@function
def real(input: Tensor) -> Tensor:
    """The tensor itself, any shape: numbers are real. Arguments as in PyTorch."""
    return input


@function
def imag(input: Tensor) -> Tensor:
    """RuntimeError, as in PyTorch: numbers are real. Arguments and shapes as there."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


@both
def angle(input: Tensor) -> Tensor:
    """0, or pi for negative numbers, NaN for NaN; any shape.

    Arguments and errors as in PyTorch.
    """
    if not input.is_floating_point():
        input = input.to(_core.get_default_dtype())
    return _core.where(input.isnan(), input, _core.where(input < 0, _core.full([], math.pi, dtype=input.dtype), 0.0))


@method
def to_dense(self: Tensor, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
    """The tensor itself, of any shape, in another dtype if one is given. Arguments and errors as in PyTorch."""
    return self if dtype is None else self.to(dtype)


@method
def __rmatmul__(self: Tensor, other: Any) -> Tensor:
    """other @ self, for what is no tensor, such as an array. Shapes and errors as in `matmul`."""
    return _core.matmul(_core.as_tensor(other), self)


@method
def __reversed__(self: Tensor) -> Tensor:
    """reversed(self): self with dimension 0 reversed, of its shape."""
    return self if self.dim() == 0 else self.flip(0)


@method
def __complex__(self: Tensor) -> complex:
    """complex(self), of one element. RuntimeError for more."""
    return complex(self.item())
