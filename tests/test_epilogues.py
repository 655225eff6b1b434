"""What follows a product runs on its blocks while they are in cache: the same bits as in steps of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import bits

import pycnn
import pycnn.nn.functional as F
from pycnn import Tensor, _core

#: Chains through vectors per channel, numbers and a residual; and two programs that are no chains.
PROGRAMS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "scale, shift, relu": lambda y, scale, shift, residual: F.relu(y * scale + shift),
    "residual on the left": lambda y, scale, shift, residual: F.relu(residual - y * scale),
    "relu6": lambda y, scale, shift, residual: (shift + y).clamp(0, 6),
    "two residuals": lambda y, scale, shift, residual: (y + residual) * scale + residual,
    "one number": lambda y, scale, shift, residual: y * 3,
    "the result twice": lambda y, scale, shift, residual: y * y.sigmoid(),
    "vectors among themselves": lambda y, scale, shift, residual: y * (scale + shift),
}

#: batch, channels in and out, side of the image, kernel, stride.
SHAPES = {
    "1x1, rows beyond a block": (2, 24, 80, 13, 1, 1),
    "1x1, columns beyond a vector": (1, 40, 37, 12, 1, 1),
    "1x1, few pixels": (1, 96, 70, 7, 1, 1),
    "1x1, rows that collide": (1, 1024, 72, 7, 1, 1),
    "1x1, long sums": (1, 2100, 40, 5, 1, 1),
    "3x3 with stride": (2, 20, 40, 9, 3, 2),
    "5x5, few channels": (2, 6, 6, 20, 5, 1),
    "3x3, four channels to five": (2, 4, 5, 13, 3, 1),
    "depthwise": (2, 40, 40, 9, 3, 1),
    "depthwise, blocks of channels": (1, 300, 300, 9, 3, 1),
    "depthwise, large": (1, 64, 64, 184, 3, 1),
    "depthwise with stride": (2, 40, 40, 9, 3, 2),
    "depthwise with stride, large": (1, 64, 64, 184, 3, 2),
    "depthwise 5x5": (2, 24, 24, 17, 5, 1),
}


@pytest.fixture(params=_core.available_levels())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _core.active_level()
    _core.set_level(request.param)
    yield request.param
    _core.set_level(before)


def operands(batch: int, inputs: int, outputs: int, side: int, kernel: int, stride: int, groups: int) -> Any:
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> Tensor:
        return pycnn.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    x, weight = normal(batch, inputs, side, side), normal(outputs, inputs // groups, kernel, kernel)
    after = (side + 2 * (kernel // 2) - kernel) // stride + 1
    residual = normal(batch, outputs, after, after)
    # Infinities and NaNs in some pixels, zeros of either sign in some channels.
    x.data[0, 0, 1, 1], x.data[-1, -1, 3, 2], residual.data[0, 0, 0, 0] = np.inf, np.nan, np.nan
    scale, shift = normal(outputs, 1, 1), normal(outputs, 1, 1)
    scale.data[1], shift.data[1], scale.data[2], shift.data[2] = 0.0, -0.0, -0.0, -0.0
    scale.data[3], shift.data[3] = 1e-39, 1e-40
    return x, weight, scale, shift, residual


@pytest.mark.parametrize("dtype", [pycnn.float32, pycnn.bfloat16], ids=str)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_and_alone(level: str, shape: str, program: str, dtype: pycnn.dtype) -> None:
    batch, inputs, outputs, side, kernel, stride = SHAPES[shape]
    groups = inputs if shape.startswith("depthwise") else 1
    given = operands(batch, inputs, outputs, side, kernel, stride, groups)
    x, weight, scale, shift, residual = (operand.to(dtype) for operand in given)
    keywords: dict[str, Any] = {"stride": stride, "padding": kernel // 2, "groups": groups}
    with pycnn.no_grad():
        fused = bits(PROGRAMS[program](F.conv2d(x, weight, **keywords), scale, shift, residual))
        alone = F.conv2d(x, weight, **keywords)
        pycnn.eval(alone)
        assert fused == bits(PROGRAMS[program](alone, scale, shift, residual))


@pytest.mark.parametrize("shape", SHAPES)
def test_derivative_of_relu_behind_an_input_gradient(level: str, shape: str) -> None:
    batch, outputs, inputs, side, kernel, stride = SHAPES[shape]  # the gradient is the narrower one's
    groups = inputs if shape.startswith("depthwise") else 1
    x, weight, _, _, _ = operands(batch, inputs, outputs, side, kernel, stride, groups)
    x.data[0, 1, 0, 0], x.data[0, 1, 0, 1] = 0.0, -0.0
    x.requires_grad_()
    rng = np.random.default_rng(4)
    h = F.relu(x)
    y = F.conv2d(h, weight, stride=stride, padding=kernel // 2, groups=groups)
    gradient = pycnn.from_numpy(rng.standard_normal(y.shape, dtype=np.float32))
    residual = pycnn.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))
    loss = (y * gradient).sum() + (h * residual).sum()
    (inner,) = pycnn.autograd.grad(loss, [h], retain_graph=True)
    pycnn.eval(inner)
    (fused,) = pycnn.autograd.grad(loss, [x])
    expected = np.where(h.detach().numpy() <= 0, np.float32(0), inner.numpy())
    assert bits(fused) == bits(pycnn.from_numpy(expected))


@pytest.mark.parametrize("dtype", [pycnn.float32, pycnn.bfloat16], ids=str)
def test_large_depthwise_results(level: str, dtype: pycnn.dtype) -> None:
    """They go past the caches, those of the first rows alone do not."""
    rng = np.random.default_rng(7)
    x = pycnn.from_numpy(rng.standard_normal((1, 96, 220, 220), dtype=np.float32)).to(dtype)
    weight = pycnn.from_numpy(rng.standard_normal((96, 1, 3, 3), dtype=np.float32)).to(dtype)
    with pycnn.no_grad():
        all_rows = F.conv2d(x, weight, padding=1, groups=96)[:, :, :18]
        first_rows = F.conv2d(x[:, :, :19], weight, padding=1, groups=96)[:, :, :18]
        assert bits(all_rows) == bits(first_rows)


@pytest.mark.parametrize("program", PROGRAMS)
def test_results_that_go_past_the_caches(level: str, program: str) -> None:
    # 70 × 250 pixels in tiles, the last ones not whole, of 256 channels: more than 16 MiB.
    rng = np.random.default_rng(5)
    x = rng.standard_normal((1, 17, 70, 250), dtype=np.float32)
    weight = rng.standard_normal((256, 17, 1, 1), dtype=np.float32)
    scale, shift = (pycnn.from_numpy(rng.standard_normal((256, 1, 1), dtype=np.float32)) for _ in range(2))
    residual = pycnn.randn(1, 256, 70, 250)
    with pycnn.no_grad():
        y = F.conv2d(pycnn.from_numpy(x), pycnn.from_numpy(weight))
        fused = PROGRAMS[program](y, scale, shift, residual)
        del y  # what is held is no part of a fused step
        fused = fused.numpy()
    exact = np.einsum("oc,chw->ohw", weight[:, :, 0, 0].astype(np.float64), x[0].astype(np.float64))[None]
    y = F.conv2d(pycnn.from_numpy(x), pycnn.from_numpy(weight))
    np.testing.assert_allclose(y.numpy(), exact, rtol=1e-5, atol=1e-5)
    with pycnn.no_grad():
        assert np.array_equal(fused, PROGRAMS[program](y, scale, shift, residual).numpy())


@pytest.mark.parametrize("columns", [1, 17, 33, 65])
@pytest.mark.parametrize("dtype", [pycnn.float64, pycnn.float32, pycnn.int64, pycnn.bfloat16], ids=str)
def test_result_of_one_element_is_read_after_it_is_written(level: str, dtype: pycnn.dtype, columns: int) -> None:
    """One element looks like an operand that repeats, which programs read before they begin: here it is not there yet,
    and what lies there is the result of the run before."""
    rng = np.random.default_rng(4)
    for _ in range(3):
        a, b = rng.integers(-3, 3, (1, 6)), rng.integers(-3, 3, (columns, 6))
        left, right = pycnn.tensor(a).to(dtype), pycnn.tensor(b).to(dtype)
        pixel = F.conv2d(left.reshape(1, 1, 2, 3), right.reshape(columns, 1, 2, 3))
        for result in (left @ right.t(), pixel, F.linear(left, right)):
            np.testing.assert_array_equal(result.double().numpy().ravel(), (a @ b.T).ravel())


@pytest.mark.parametrize("results", [2, 3])
@pytest.mark.parametrize("product", ["conv2d", "matmul"])
def test_several_results_of_one_product(product: str, results: int) -> None:
    """The product itself is nobody's result: it may lie where one of them will, which the others must not read."""
    rng = np.random.default_rng(6)
    a, b = (pycnn.from_numpy(rng.standard_normal(shape, dtype=np.float32)) for shape in [(2, 6, 5, 5), (6, 6, 1, 1)])

    def raw() -> Tensor:
        return F.conv2d(a, b) if product == "conv2d" else a.permute(0, 2, 3, 1).reshape(50, 6) @ b.reshape(6, 6)

    def programs(y: Tensor) -> list[Tensor]:
        return [F.relu(y), y * 2, y + F.relu(y)][:results]

    y = raw()
    pycnn.eval(y)
    alone = [bits(result) for result in programs(y)]
    fused = programs(raw())
    pycnn.eval(*fused)
    assert [bits(result) for result in fused] == alone


@pytest.mark.parametrize("dtype", [pycnn.float32, pycnn.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (1, 1, 1, 1), (2, 6, 20, 20)], ids=str)
def test_gradient_of_a_relu_whose_input_was_expanded(level: str, shape: tuple[int, ...], dtype: pycnn.dtype) -> None:
    """The gradient of the convolution's input ends with a choice by values that rows share."""
    rng = np.random.default_rng(5)

    def normal(*shape: int) -> Tensor:
        return pycnn.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(dtype)

    x, weight, direction = (
        normal(*shape).expand(2, 6, 20, 20).requires_grad_(),
        normal(5, 6, 3, 3),
        normal(2, 5, 20, 20),
    )
    hidden = F.leaky_relu(x, 0.0)
    loss = (F.conv2d(hidden, weight, padding=1) * direction).sum()
    (behind,) = pycnn.autograd.grad(loss, [hidden], retain_graph=True)
    pycnn.eval(behind)
    expected = pycnn.where(x <= 0, pycnn.zeros_like(behind), behind)
    (gradient,) = pycnn.autograd.grad(loss, [x])
    assert bits(gradient) == bits(expected)
