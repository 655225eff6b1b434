"""Kernels that read and write bfloat16: float32's results, rounded once where the operator ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import _core

POOLINGS: dict[str, Callable[[Any], Any]] = {
    "max 2": lambda x: F.max_pool2d(x, 2),
    "max 3, stride 2, padding 1": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max 3, dilation 2": lambda x: F.max_pool2d(x, 3, 1, dilation=2),
    "max with indices": lambda x: F.max_pool2d(x, 3, 2, return_indices=True)[0],
    "average 2": lambda x: F.avg_pool2d(x, 2),
    "average 3, stride 1, padding 1": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "average 9, stride 1": lambda x: F.avg_pool2d(x, 9, 1),  # more windows than a kernel adds up at once
    "adaptive average": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "global average": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (4, 3)),
}


def result_and_gradient(pool: Callable[[Any], Any], x: Any, gradient: Any) -> tuple[Any, Any]:
    x = x.detach().requires_grad_()
    y = pool(x)
    return y.detach(), pycnn.autograd.grad(y, [x], [gradient.to(y.dtype)])[0]


@pytest.mark.parametrize("level", _core.available_levels())
@pytest.mark.parametrize("channels", [1, 6, 16, 37])
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_rounds_once(name: str, channels: int, level: str) -> None:
    _core.set_level(level)
    pool = POOLINGS[name]
    x = pycnn.randn(2, channels, 19, 17).bfloat16()
    x[0, 0, 3, 4], x[1, 0, 8, 8] = float("nan"), float("inf")
    with pycnn.no_grad():
        gradient = pycnn.randn(*pool(x).shape).bfloat16()
    for got, expected in zip(
        result_and_gradient(pool, x, gradient), result_and_gradient(pool, x.float(), gradient.float()), strict=True
    ):
        assert got.dtype == pycnn.bfloat16
        known = [pycnn.where(value.isnan(), 777.0, value).bfloat16() for value in (got, expected)]
        assert pycnn.equal(*known)


def test_the_gradient_of_a_pooling_gradient_is_native_too() -> None:
    x = pycnn.randn(2, 5, 8, 8).bfloat16().requires_grad_()
    (first,) = pycnn.autograd.grad(F.max_pool2d(x, 2).square().sum(), [x], create_graph=True)
    (second,) = pycnn.autograd.grad(first.sum(), [x])
    assert second.dtype == pycnn.bfloat16
    assert second.sum().item() == 2 * x.numel() / 4


def test_widened_copies_are_never_written() -> None:
    """A float32 copy of a bfloat16 activation for a formula's sake would be stored and kept until the backward pass."""
    x = pycnn.randn(2, 8, 6, 6)
    weight = pycnn.randn(8, 8, 3, 3, requires_grad=True)
    with pycnn.autocast("cpu", dtype=pycnn.bfloat16):
        loss = F.conv2d(F.conv2d(x, weight, padding=1).relu(), weight, padding=1).relu().float().sum()
    described = pycnn.plan.describe(pycnn.autograd.grad(loss, [weight])[0])
    activation = "float32(2, 8, 6, 6)"
    written = [line.partition("->")[2] for line in described.splitlines() if "relu" in line]
    assert written and not any(activation in line for line in written), described
