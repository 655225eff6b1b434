"""Kernels that read and write bfloat16: float32's results, rounded once where the operator ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
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


@pytest.fixture
def depthwise() -> Iterator[None]:
    passes = ("convolution_forward", "convolution_input_gradient", "convolution_weight_gradient")
    for primitive in passes:
        _core.force_algorithm(primitive, "depthwise")
    yield
    for primitive in passes:
        _core.force_algorithm(primitive, None)


@pytest.mark.usefixtures("depthwise")
@pytest.mark.parametrize("level", _core.available_levels())
@pytest.mark.parametrize("channels", [2, 16, 37, 64])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"padding": 1}),
        (3, {"padding": 1, "stride": 2}),
        (5, {"padding": 2}),
        (5, {"padding": 1, "stride": 2}),
        (3, {"padding": 2, "dilation": 2}),
        ((2, 4), {"stride": 3}),
    ],
    ids=str,
)
def test_depthwise_convolution_rounds_once(
    kernel: int | tuple[int, int], options: dict[str, int], channels: int, level: str
) -> None:
    _core.set_level(level)
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = pycnn.randn(2, channels, 11, 19).bfloat16()
    w = pycnn.randn(channels, 1, height, width).bfloat16()

    def convolve(x: Any, w: Any) -> Any:
        return F.conv2d(x, w, groups=channels, **options)

    with pycnn.no_grad():
        gradient = pycnn.randn(*convolve(x, w).shape).bfloat16()
    found = []
    for cast in (pycnn.Tensor.bfloat16, pycnn.Tensor.float):
        operands = [cast(t).detach().requires_grad_() for t in (x, w)]
        y = convolve(*operands)
        found.append([y.detach(), *pycnn.autograd.grad(y, operands, [cast(gradient)])])
    for got, expected in zip(*found, strict=True):
        assert got.dtype == pycnn.bfloat16
        assert pycnn.equal(got, expected.bfloat16())


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 to the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(values), np.float32("nan"), nearest)


def chain(x: Any, y: Any, c: Any, library: Any, number: Callable[[float], Any], step: Callable[[Any], Any]) -> Any:
    """Operators that become one program, each of which rounds with `step`."""
    scaled = step(step(step(x - c) * y) + c)
    positive = step(library.maximum(scaled, number(0)))
    return step(library.where(y < scaled, positive, step(number(1.5) - positive)))


@pytest.mark.parametrize("level", _core.available_levels())
@pytest.mark.parametrize("shape", [(1, 1), (3, 15), (5, 37), (40, 129), (7, 1030), (1, 5000)])
def test_every_operator_of_a_chain_rounds(shape: tuple[int, int], level: str) -> None:
    _core.set_level(level)
    generator = np.random.default_rng(0)
    x, y = (rounded(generator.standard_normal(shape) * 3) for _ in range(2))
    c = rounded(generator.standard_normal(shape[1:]))
    specials = np.array([np.nan, np.inf, -np.inf, 1e-40, -0.0], np.float32)[: x.shape[1]]
    x[0, : len(specials)] = rounded(specials)
    with np.errstate(invalid="ignore"):
        expected = chain(x, y, c, np, np.float32, rounded)
    # Dense, columns of something wider, and rows in another order: what programs walk through in different ways.
    for lay_out in (
        lambda a: pycnn.from_numpy(a).bfloat16(),
        lambda a: pycnn.from_numpy(np.repeat(a, 2, axis=-1)).bfloat16()[..., ::2],
        lambda a: pycnn.from_numpy(np.ascontiguousarray(a.T)).bfloat16().T,
    ):
        found = chain(lay_out(x), lay_out(y), pycnn.from_numpy(c).bfloat16(), pycnn, pycnn.tensor, lambda value: value)
        assert found.dtype == pycnn.bfloat16
        np.testing.assert_array_equal(found.float().numpy(), expected)


@pytest.mark.parametrize("level", _core.available_levels())
def test_only_roundings_that_change_nothing_are_left_out(level: str) -> None:
    """Behind a sum that rounds, a bound that bfloat16 represents commutes with rounding; others do not."""
    _core.set_level(level)
    values = rounded(np.random.default_rng(0).standard_normal(1037) * 3)
    values[:6] = rounded(np.array([np.nan, np.inf, -np.inf, 1e-40, -1e-40, -0.0], np.float32))
    values[-6:] = 0  # what the specials are added to
    x, c = pycnn.from_numpy(values).bfloat16(), pycnn.from_numpy(values[::-1].copy()).bfloat16()
    total = rounded(values + values[::-1])
    for bound in (0.0, 0.5, -1.0):
        found = pycnn.clamp(x + c, min=bound)
        np.testing.assert_array_equal(found.float().numpy(), np.maximum(total, np.float32(bound)))
    found = pycnn.clamp(x + c, max=1.5)
    np.testing.assert_array_equal(found.float().numpy(), np.minimum(total, np.float32(1.5)))
    found = pycnn.maximum(x + c, c)
    np.testing.assert_array_equal(found.float().numpy(), np.maximum(total, values[::-1]))


@pytest.mark.parametrize("level", _core.available_levels())
def test_results_too_large_for_caches(level: str) -> None:
    _core.set_level(level)
    x = pycnn.arange(3 * 2**22 + 5, dtype=pycnn.float32).bfloat16()
    found = (x * 0.5 - 3).float().numpy()
    x32 = x.float().numpy()
    np.testing.assert_array_equal(found, rounded(rounded(x32 * np.float32(0.5)) - np.float32(3)))


def test_in_place_updates_read_before_they_write() -> None:
    x = pycnn.arange(1000, dtype=pycnn.float32).bfloat16()
    before = x.float().numpy().copy()
    old = x + 0
    x *= 2
    x += old
    np.testing.assert_array_equal(x.float().numpy(), rounded(rounded(before * 2) + before))
