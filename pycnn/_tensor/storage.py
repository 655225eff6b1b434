"""What PyTorch does to a tensor's storage and says of it: sizes in place, elements one by one, real and imaginary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
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


@method
def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives self another shape, in place: the elements go on row by row, what is new is zero.

    Arguments and errors as in PyTorch: RuntimeError if self requires grad.
    """
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = [int(n) for n in (sizes[0] if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes)]
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_: negative size in {shape}")
    count = math.prod(shape)
    flat = self.reshape(-1)[:count]
    missing = count - flat.numel()
    if missing:
        flat = _core.cat([flat, _core.zeros(missing, dtype=self.dtype)])
    self.data = flat.reshape(shape).clone()
    return self


@both
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Gives input the template's shape, in place: see `Tensor.resize_`.

    Arguments and errors as in it.
    """
    return resize_(input, list(the_template.shape))


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
    """A tensor of self's dtype of that shape, or of that data.

    Arguments and errors as in PyTorch.
    """
    if len(data) == 1 and not isinstance(data[0], int):
        return _core.tensor(data[0], dtype=self.dtype)
    return _core.empty(list(data) or [0], dtype=self.dtype)


@method
def dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost in memory to the innermost, any shape. Arguments as in PyTorch."""
    strides = self.stride()
    return tuple(sorted(range(self.dim()), key=lambda d: (-strides[d], d)))


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
    inverse = sorted(range(len(order)), key=order.__getitem__)
    result = _core.empty([size[d] for d in order], dtype=dtype).permute(inverse).detach()
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
