"""NaN, infinity, integers that overflow, empty batches: the figures are PyTorch's on x86."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn

nan, inf = float("nan"), float("inf")
LOWEST = -(2**31)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


# -- conversions -----------------------------------------------------------------------------------------------------

HARD = [nan, inf, -inf, 3e9, -3e9, 300.7, -1.5, 1e20, -1e20]
CONVERTED = {
    "uint8": [0, 0, 0, 0, 0, 44, 255, 0, 0],
    "int8": [0, 0, 0, 0, 0, 44, -1, 0, 0],
    "int16": [0, 0, 0, 0, 0, 300, -1, 0, 0],
    "int32": [LOWEST, LOWEST, LOWEST, LOWEST, LOWEST, 300, -1, LOWEST, LOWEST],
    "int64": [-(2**63)] * 3 + [3_000_000_000, -3_000_000_000, 300, -1] + [-(2**63)] * 2,
    "bool": [True] * 9,
}


@pytest.mark.parametrize("to", CONVERTED)
@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("level", pycnn._core.available_levels())
def test_floats_to_integers(source: str, to: str, level: str) -> None:
    before = pycnn._core.active_level()
    pycnn._core.set_level(level)
    try:
        values = pycnn.tensor(HARD * 5, dtype=getattr(pycnn, source))
        converted = values.to(getattr(pycnn, to))
        assert converted.tolist() == CONVERTED[to] * 5
        # The same where the conversion is fused with what follows.
        assert (values.to(getattr(pycnn, to)).double() * 1).tolist() == [float(v) for v in CONVERTED[to] * 5]
    finally:
        pycnn._core.set_level(before)


def test_conversions_agree_with_pytorch(torch: Any) -> None:
    for source in ("float32", "float64", "bfloat16", "float16"):
        for to in CONVERTED:
            ours = pycnn.tensor(HARD).to(getattr(pycnn, source)).to(getattr(pycnn, to))
            theirs = torch.tensor(HARD).to(getattr(torch, source)).to(getattr(torch, to))
            assert ours.tolist() == theirs.tolist(), (source, to)


def test_numbers_that_an_integer_dtype_cannot_hold() -> None:
    assert pycnn.full((1,), -1, dtype=pycnn.uint8).tolist() == [255]
    calls: list[Callable[[], Any]] = [
        lambda: pycnn.full((1,), 200, dtype=pycnn.int8),
        lambda: pycnn.full((1,), nan, dtype=pycnn.int32),
        lambda: pycnn.zeros(1, dtype=pycnn.int64).fill_(inf),
        lambda: pycnn.tensor([300], dtype=pycnn.uint8),
        lambda: pycnn.tensor([nan], dtype=pycnn.int32),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="cannot be converted to type .* without overflow"):
            call()


# -- a number is converted to the dtype of the tensor it meets -------------------------------------------------------

NUMBERS: dict[str, tuple[Callable[[Any, Any], Any], list[Any]]] = {
    "*": (lambda lib, u: u * -1, [56, 251]),
    "+": (lambda lib, u: u + (-1), [199, 4]),
    "-": (lambda lib, u: u - 300, [156, 217]),
    "reflected": (lambda lib, u: -1 - u, [55, 250]),
    "//": (lambda lib, u: u // -2, [0, 0]),
    "%": (lambda lib, u: u % -3, [200, 5]),
    ">": (lambda lib, u: u > -1, [False, False]),
    ">=": (lambda lib, u: u >= -1, [False, False]),
    "<": (lambda lib, u: u < 300, [False, True]),
    "==": (lambda lib, u: u == -56, [True, False]),
    "&": (lambda lib, u: u & -1, [200, 5]),
    "/": (lambda lib, u: u / -2, [-100.0, -2.5]),
    "clamp": (lambda lib, u: u.clamp(min=-5), [251, 251]),
    "minimum": (lambda lib, u: lib.minimum(u, lib.tensor(-1)), [200, 5]),
    "where": (lambda lib, u: lib.where(u > 10, u, -1), [200, 255]),
    "masked_fill": (lambda lib, u: u.masked_fill(u > 10, -1), [255, 5]),
    "add_": (lambda lib, u: u.clone().add_(-1), [199, 4]),
    "alpha": (lambda lib, u: lib.add(u, u, alpha=-1), [0, 0]),
    "int8": (lambda lib, u: lib.tensor([100, -100], dtype=lib.int8) < 200, [False, True]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_uint8_and_numbers_outside_of_its_range(name: str) -> None:
    function, expected = NUMBERS[name]
    assert function(pycnn, pycnn.tensor([200, 5], dtype=pycnn.uint8)).tolist() == expected


def test_uint8_and_numbers_agree_with_pytorch(torch: Any) -> None:
    for name, (function, expected) in NUMBERS.items():
        assert function(torch, torch.tensor([200, 5], dtype=torch.uint8)).tolist() == expected, name


# -- NaN -------------------------------------------------------------------------------------------------------------

ROWS = [[1.0, nan, 3.0], [nan, 2.0, nan], [-inf, -inf, -inf], [2.0, 2.0, 1.0]]
NAN_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "max": lambda lib, x: x.max(),
    "min along": lambda lib, x: x.min(1),
    "max along": lambda lib, x: x.max(1),
    "max along 0": lambda lib, x: x.max(0),
    "argmax": lambda lib, x: x.argmax(),
    "argmin": lambda lib, x: x.argmin(1),
    "amax": lambda lib, x: x.amax(1),
    "amin": lambda lib, x: x.amin(0),
    "maximum": lambda lib, x: lib.maximum(x, lib.ones_like(x)),
    "clamp": lambda lib, x: x.clamp(0, 1),
    "relu": lambda lib, x: lib.relu(x),
    "max_pool2d": lambda lib, x: lib.nn.functional.max_pool2d(x[None], 2, 1, return_indices=True),
    "max_pool2d padded": lambda lib, x: lib.nn.functional.max_pool2d(x[None], 3, 2, 1, return_indices=True),
    "max_pool1d dilated": lambda lib, x: lib.nn.functional.max_pool1d(x, 2, 1, dilation=2),
    "adaptive_max_pool2d": lambda lib, x: lib.nn.functional.adaptive_max_pool2d(x[None], 2),
}


def outcome(lib: Any, name: str, dtype: str) -> list[Any]:
    x = lib.tensor(ROWS, dtype=getattr(lib, dtype), requires_grad=True)
    results = NAN_RULES[name](lib, x)
    results = [results] if hasattr(results, "backward") else list(results)
    if results[0].requires_grad:
        weights = lib.arange(1, 1 + results[0].numel()).view(results[0].shape).to(results[0].dtype)
        results[0].backward(weights)
        results.append(x.grad)
    return [r.detach().double().numpy() for r in results]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", NAN_RULES)
def test_nan_propagates_as_in_pytorch(torch: Any, name: str, dtype: str) -> None:
    for ours, theirs in zip(outcome(pycnn, name, dtype), outcome(torch, name, dtype), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nan_is_the_largest_and_the_smallest() -> None:
    """Without PyTorch at hand: some of the figures."""
    x = pycnn.tensor(ROWS)
    assert np.isnan(x.max().item())
    assert x.argmax().item() == 1
    assert x.max(1).indices.tolist() == [1, 0, 0, 0]
    assert x.min(1).indices.tolist() == [1, 0, 0, 2]
    images = x[None].clone().requires_grad_()
    values, indices = F.max_pool2d(images, (1, 3), return_indices=True)
    np.testing.assert_array_equal(values.flatten().tolist(), [nan, nan, -inf, 2.0])
    assert indices.flatten().tolist() == [1, 5, 6, 9]
    values.backward(pycnn.tensor([[[1.0], [2.0], [3.0], [4.0]]]))
    assert images.grad.tolist() == [[[0, 1, 0], [0, 0, 2], [3, 0, 0], [4, 0, 0]]]


def test_gradient_of_an_extreme_that_is_nan() -> None:
    x = pycnn.tensor([nan, 1.0, nan], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.5, 0, 0.5]
    y = pycnn.tensor([[nan, 1.0], [3.0, 3.0]], requires_grad=True)
    y.amax(1).sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), np.float32([[nan, nan], [0.5, 0.5]]))


# -- nothing to do ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 5), (0, 3, 4, 4)])
def test_batch_norm_of_an_empty_batch(shape: tuple[int, ...]) -> None:
    layer = nn.BatchNorm2d(3) if len(shape) == 4 else nn.BatchNorm1d(3)
    x = pycnn.zeros(shape, requires_grad=True)
    y = layer(x)
    assert y.shape == shape
    y.sum().backward()
    assert layer.weight.grad.tolist() == [0, 0, 0]
    assert layer.bias.grad.tolist() == [0, 0, 0]
    assert x.grad.shape == shape
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0, 0, 0], [1, 1, 1])
    assert layer.num_batches_tracked.item() == 1


def test_moments_of_no_elements_are_nan() -> None:
    for axis in (None, 1):
        variance, mean = pycnn.var_mean(pycnn.zeros(2, 0, 3), dim=axis)
        assert variance.isnan().all().item() and mean.isnan().all().item()


# -- class weights are constants -------------------------------------------------------------------------------------


def test_class_weights_have_no_gradient_in_index_losses() -> None:
    """As in PyTorch, they raise rather than stay without a gradient; with probabilities as targets they have one."""
    weight, x, target = pycnn.ones(3, requires_grad=True), pycnn.randn(2, 3), pycnn.tensor([0, 2])
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(RuntimeError, match=r"(cross_entropy|nll_loss): .*not differentiable .* 'weight'"):
            loss(x, target, weight=weight)
        with pycnn.no_grad():
            loss(x, target, weight=weight)
        loss(x, target, weight=weight.detach())
    with pytest.raises(RuntimeError, match="not differentiable"):
        F.cross_entropy(x, target, weight=weight, label_smoothing=0.1)
    F.cross_entropy(x, F.one_hot(target, 3).float(), weight=weight).backward()
    assert weight.grad is not None


# -- strides and padding far larger than the image --------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_stride_far_larger_than_the_image(dimensions: int) -> None:
    image = pycnn.ones(1, 2, *[3] * dimensions, requires_grad=True)
    weight = pycnn.full((4, 2, *[1] * dimensions), 0.5)
    getattr(F, f"conv{dimensions}d")(image, weight, stride=10**9).sum().backward()
    assert image.grad is not None
    expected = np.zeros(image.shape, np.float32)
    expected[(0, slice(None), *[0] * dimensions)] = 4 * 0.5
    np.testing.assert_array_equal(image.grad.numpy(), expected)


def test_padding_far_larger_than_the_image() -> None:
    image = pycnn.ones(1, 3, 4, 4, requires_grad=True)
    weight = pycnn.ones(16, 3, 3, 3, requires_grad=True)
    result = F.conv2d(image, weight, stride=10**6, padding=10**6)
    result.sum().backward()
    expected = np.zeros((1, 16, 3, 3), np.float32)
    expected[:, :, 1, 1] = 3 * 3 * 3
    np.testing.assert_array_equal(result.detach().numpy(), expected)
    assert weight.grad is not None and weight.grad.numpy().sum() == 16 * 27
    assert image.grad is not None and image.grad.numpy().sum() == 16 * 27


# -- deviations whose squares float32 cannot hold ---------------------------------------------------------------------

SPREADS = {
    "huge": [1e20, -1e20, 3e20],
    "tiny": [1e-30, -1e-30, 3e-30],
    "shifted": [1e4 + 1, 1e4 + 2, 1e4 + 4],
}


@pytest.mark.parametrize("name", SPREADS)
def test_standard_deviation_is_not_lost_in_its_squares(name: str, torch: Any) -> None:
    def moments(library: Any) -> list[float]:
        x = library.tensor(SPREADS[name], requires_grad=True)
        x.std().backward()
        with library.no_grad():
            rows = library.stack([x, x * 0.5])
            results = [x.std(), x.var(), *library.std_mean(x), *library.var_mean(x), x.grad]
            results += [rows.std(1), rows.std(0), rows.t().var(0)]
        return [v for result in results for v in result.reshape(-1).tolist()]

    np.testing.assert_allclose(moments(pycnn), moments(torch), rtol=2e-6, atol=0)


def test_spread_of_equal_huge_numbers_is_zero() -> None:
    x = pycnn.tensor([3e38, 3e38], requires_grad=True)
    deviation, mean = pycnn.std_mean(x)
    assert [deviation.item(), x.var().item(), mean.item()] == [0, 0, pycnn.tensor(3e38).item()]
    deviation.backward()
    assert not x.grad.isinf().any().item()


def test_variance_beyond_float64_is_infinite() -> None:
    x = pycnn.tensor([1e200, 3e200], dtype=pycnn.float64)
    assert x.std().item() == inf
    assert x.var().item() == inf
