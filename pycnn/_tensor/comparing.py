"""Comparing tensors, and what is said of one."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, function, method


@function
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where elements are among test_elements, as bool of elements' shape.

    Arguments and errors as in PyTorch.
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise RuntimeError("isin: one of elements and test_elements must be a tensor")
    left = elements if isinstance(elements, Tensor) else _core.tensor(elements)
    right = test_elements if isinstance(test_elements, Tensor) else _core.tensor(test_elements)
    left, wanted = left.detach(), right.detach().reshape(-1)
    if wanted.numel() < 16 or _core.bool in (left.dtype, wanted.dtype):
        found = (left.unsqueeze(-1) == wanted).any(-1)
    else:
        ascending = _core.sort(wanted, 0, False, True)[0]
        places = _core._searchsorted(ascending, left, False).clamp(max=wanted.numel() - 1)
        found = left == ascending.index_select(0, places.reshape(-1)).reshape(left.shape)
    return ~found if invert else found


@both
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape. See `equal` for the elements.

    Arguments and errors as in PyTorch.
    """
    return tuple(input.shape) == tuple(other.shape)


@both
def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor of one element, of any shape, is not zero.

    Errors: RuntimeError for any other number of elements.
    Arguments as in PyTorch.
    """
    if input.numel() != 1:
        raise RuntimeError(f"Boolean value of Tensor with {input.numel()} values is ambiguous")
    return bool(input.item())


_isclose = _core.isclose


@both
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |input - other| <= atol + rtol |other|, elementwise, shapes broadcast, as bool.

    Arguments and errors as in PyTorch: RuntimeError for a negative tolerance or different dtypes.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    if input.dtype is _core.bool and other.dtype is _core.bool:
        return input == other
    return _isclose(input, other, rtol, atol, equal_nan)


@method
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """self summed over the dimensions that `size` has not or has as 1.

    Arguments, shapes and errors as in PyTorch.
    """
    shape = list(size[0]) if len(size) == 1 and not isinstance(size[0], int) else list(size)
    added = self.dim() - len(shape)
    fits = added >= 0 and all(s in (1, have) for s, have in zip(shape, list(self.shape)[added:], strict=True))
    if not fits:
        raise RuntimeError(f"size {shape} is not expandable to size {list(self.shape)}.")
    summed = [d for d in range(self.dim()) if d < added or (shape[d - added] == 1 and self.shape[d] != 1)]
    if not summed:
        # What PyTorch adds up is no bool even if there is nothing to add.
        return self.reshape(shape) if self.dim() or self.dtype is not _core.bool else self.long()
    return self.sum(summed, keepdim=True).reshape(shape)
