"""Weights that are kept packed from one evaluation to the next: the same bits, and every change is seen."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import bits, counted

import pycnn
import pycnn.nn.functional as F
from pycnn import Tensor, _core, nn

LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "3x3": (lambda: nn.Conv2d(20, 24, 3), (2, 20, 6, 7)),
    "winograd": (lambda: nn.Conv2d(32, 32, 3, padding=1), (2, 32, 16, 16)),
    "1x1": (lambda: nn.Conv2d(40, 36, 1), (2, 40, 5, 5)),
    "groups": (lambda: nn.Conv2d(32, 64, 3, stride=2, groups=2), (2, 32, 9, 9)),
    "stem": (lambda: nn.Conv2d(3, 16, 7, stride=2, padding=3), (1, 3, 24, 24)),
    "transposed": (lambda: nn.ConvTranspose2d(20, 24, 3, stride=2), (1, 20, 6, 6)),
    "linear": (lambda: nn.Linear(70, 50), (30, 70)),
    "depthwise": (lambda: nn.Conv2d(40, 40, 3, padding=1, groups=40), (2, 40, 6, 7)),
}


#: What takes weights packed.
PRIMITIVES = ("convolution_forward", "convolution_input_gradient", "matmul")


CASES = [(name, form) for form in ("float32", "bfloat16", "autocast") for name in LAYERS]


@pytest.fixture(params=CASES, ids=" ".join)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Tensor]]:
    """A layer and its input: both of float32, both of bfloat16, or the input only."""
    name, form = request.param
    make, shape = LAYERS[name]
    pycnn.manual_seed(1)
    layer, x = make(), pycnn.randn(*shape)
    if form == "float32":
        yield layer, x
        return
    # What packs bfloat16, on processors that multiply float32 faster as well.
    for primitive in PRIMITIVES:
        padded = name == "stem" and primitive == "convolution_forward"
        _core.force_algorithm(primitive, "bfloat16_padded" if padded else "bfloat16_brgemm")
    yield layer.bfloat16() if form == "bfloat16" else layer, x.bfloat16()
    for primitive in PRIMITIVES:
        _core.force_algorithm(primitive, None)


def autocast(layer: Any, x: Tensor) -> pycnn.autocast:
    return pycnn.autocast("cpu", dtype=pycnn.bfloat16, enabled=x.dtype != layer.weight.dtype)


def evaluated(layer: Any, x: Tensor) -> list[bytes]:
    with pycnn.no_grad(), autocast(layer, x):
        return bits(layer(x))


def expected(layer: Any, x: Tensor) -> list[bytes]:
    """With a weight of the same elements that was never read before."""
    weight = layer.weight
    with pycnn.no_grad():
        fresh = pycnn.tensor(weight.detach().float().numpy()).to(weight.dtype)
        layer.weight = nn.Parameter(fresh)
        with autocast(layer, x):
            result = bits(layer(x))
        layer.weight = weight
    return result


def test_a_weight_is_packed_once_and_the_bits_stay(case: tuple[Any, Tensor]) -> None:
    layer, x = case
    once = evaluated(layer, x)
    again: list[list[bytes]] = []
    counts = counted(lambda: again.extend(evaluated(layer, x) for _ in range(4)))
    assert again == [once] * 4
    assert counts["operands_packed"] == 1


def write_from_outside(weight: Tensor) -> None:
    class Exporter:
        """An old producer, which cannot say that its memory is not to be written."""

        def __dlpack__(self, **_: Any) -> Any:
            return weight.detach().__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    array = np.from_dlpack(Exporter())
    elements = (ctypes.c_float * array.size).from_address(array.ctypes.data)
    elements[0] = 5.0


def step(layer: Any, x: Tensor) -> None:
    optimizer = pycnn.optim.SGD(layer.parameters(), lr=0.5)
    with autocast(layer, x):
        loss = layer(x).square().sum()
    loss.backward()
    optimizer.step()


def add_in_place(layer: Any, _: Tensor) -> None:
    with pycnn.no_grad():
        layer.weight += 1


def write_an_element(layer: Any, _: Tensor) -> None:
    layer.weight.data[0, 0] += 3


def load_state(layer: Any, _: Tensor) -> None:
    layer.load_state_dict({name: value * 2 for name, value in layer.state_dict().items()})


CHANGES = [step, add_in_place, write_an_element, load_state]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_are_seen(case: tuple[Any, Tensor], change: Callable[[Any, Tensor], None]) -> None:
    layer, x = case
    for _ in range(3):
        before = [evaluated(layer, x) for _ in range(3)]
        change(layer, x)
        after = [evaluated(layer, x) for _ in range(3)]
        assert after == [expected(layer, x)] * 3
        assert after[0] != before[0]


def test_what_is_written_from_outside_is_seen(case: tuple[Any, Tensor]) -> None:
    layer, x = case
    if layer.weight.dtype == pycnn.bfloat16:
        pytest.skip("NumPy knows no bfloat16")
    before = [evaluated(layer, x) for _ in range(3)]
    write_from_outside(layer.weight)
    assert evaluated(layer, x) == expected(layer, x) != before[0]


def test_two_windows_of_one_block_are_told_apart() -> None:
    weights = pycnn.randn(2, 16, 16, 3, 3)
    x = pycnn.randn(1, 16, 5, 5)
    with pycnn.no_grad():
        for _ in range(3):
            for i in range(2):
                fresh = pycnn.tensor(weights.numpy()[i])
                assert bits(F.conv2d(x, weights[i])) == bits(F.conv2d(x, fresh))


def test_training_packs_nothing_to_keep() -> None:
    pycnn.manual_seed(1)
    layer, x = nn.Conv2d(20, 24, 3), pycnn.randn(2, 20, 6, 7)
    optimizer = pycnn.optim.SGD(layer.parameters(), lr=0.5)

    def train() -> None:
        for _ in range(4):
            layer(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    assert counted(train)["operands_packed"] == 0


def test_captured_functions_keep_packed_weights_too(case: tuple[Any, Tensor]) -> None:
    layer, x = case
    once = evaluated(layer, x)
    captured = pycnn.capture(layer)
    with pycnn.no_grad(), autocast(layer, x):
        replayed: list[list[bytes]] = []
        counts = counted(lambda: replayed.extend(bits(captured(x)) for _ in range(4)))
        assert replayed == [once] * 4
        assert counts["operands_packed"] == 1
        add_in_place(layer, x)
        assert [bits(captured(x)) for _ in range(3)] == [expected(layer, x)] * 3


def test_threads_that_evaluate_at_once_agree(case: tuple[Any, Tensor]) -> None:
    layer, x = case
    once = evaluated(layer, x)
    results: list[list[bytes]] = []
    barrier = threading.Barrier(4)

    def run() -> None:
        barrier.wait()
        for _ in range(5):
            results.append(evaluated(layer, x))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [once] * 20
