"""What is asked of a tensor's storage: resizing in place, empty tensors in a layout, the order of dimensions in it."""

from __future__ import annotations

from typing import Any

import both
import pytest
from both import attempt

import pycnn


def resized(torch: Any) -> Any:
    transposed = torch.arange(6).view(2, 3).t()
    x = torch.arange(6.0)
    view = x[:2]
    x.resize_(6)[0] = 9
    last, kept = torch.channels_last, torch.preserve_format
    return [
        torch.arange(6).view(2, 3).t().resize_(6), torch.arange(6).view(2, 3).t().resize_(2, 2),
        transposed.resize_(3, 2), transposed.stride(), x, view, torch.arange(6.0).view(2, 3)[:, 1:].resize_(3),
        torch.arange(6.0)[::2].resize_(3, 1), torch.arange(6.0)[2:].resize_(2, 2), torch.arange(3).resize_(2),
        torch.arange(24).resize_(1, 2, 3, 4, memory_format=last),
        torch.arange(24).view(1, 2, 3, 4).resize_(1, 2, 3, 4, memory_format=last),
        torch.arange(24).resize_as_(torch.ones(1, 2, 3, 4), memory_format=kept),
        torch.arange(24).resize_as_(torch.empty_permuted((1, 2, 3, 4), (0, 2, 3, 1)), memory_format=kept),
        attempt(lambda: torch.zeros(2).resize_(2, 3, memory_format=last)),
        attempt(lambda: torch.zeros(2).resize_(2, 3, memory_format=kept)),
        attempt(lambda: torch.zeros(2).resize_(-1)), attempt(lambda: torch.zeros(2, requires_grad=True).resize_(1)),
    ]  # fmt: skip


def new(torch: Any) -> Any:
    x = torch.ones(2, dtype=torch.float64)
    made = [x.new(), x.new(4), x.new(2, 3), x.new(torch.Size([2, 3])), x.new(torch.Size([]))]
    return [
        [(tuple(t.shape), t.dtype) for t in made], x.new([2, 3]), x.new((2, 3)), x.new(x),
        attempt(x.new, torch.ones(2)), attempt(x.new, 1.5),
    ]  # fmt: skip


def orders_of_dimensions(torch: Any) -> Any:
    formats = [torch.contiguous_format, torch.channels_last]
    tensors = [
        torch.empty_permuted((2, 3, 4), (1, 2, 0)), torch.empty_permuted((2, 3, 4, 5), (0, 2, 3, 1)),
        torch.empty_permuted((2, 1, 4, 5), (0, 2, 3, 1)), torch.empty(2, 1, 4, 5), torch.empty(1, 3, 4, 5),
        torch.empty(2, 3), torch.empty(2, 3).t(), torch.empty(1, 1, 3, 1), torch.empty(1, 1), torch.empty(1, 3).t(),
        torch.empty(3).expand(2, 3), torch.empty(2, 0, 3), torch.empty(3), torch.empty(()),
    ]  # fmt: skip
    return [
        [(tuple(t.shape), t.stride()) for t in tensors[:3]],
        [[attempt(t.dim_order, ambiguity_check=check) for check in (False, True, formats, formats[1:])]
         for t in tensors],
        attempt(tensors[0].dim_order, ambiguity_check=3), attempt(tensors[0].dim_order, ambiguity_check=[3]),
        [attempt(torch.empty_permuted, (2, 3), order) for order in ((1, 1), (0,), (0, 5))],
    ]  # fmt: skip


@pytest.mark.parametrize("code", [resized, new, orders_of_dimensions])
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)


def test_a_resized_tensor_has_a_storage_of_its_own() -> None:
    x = pycnn.arange(6.0)
    view = x[:2]
    x.resize_(2).resize_(4)
    assert x.tolist() == [0, 1, 0, 0]
    x[0] = 9
    assert view.tolist() == [0, 1]
