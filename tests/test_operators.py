"""Every row of operator_cases.py: gradients, precision, modes, threads, instruction sets, algorithms, PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from case import Array, Case, cotangents, distance, in_bfloat16, run
from operator_cases import CASES

import pycnn
from pycnn import _core

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
differentiable = pytest.mark.parametrize(
    "case",
    [c for c in CASES if any(s is not None and s.gradient for s in c.inputs)],
    ids=lambda case: case.name,
)


def finite_differences(case: Case, most: int = 60) -> Iterator[tuple[int, Array, Array]]:
    """Per input: where its gradient was checked (a 0/1 or dense direction each) and the central differences there."""
    step = 1e-5
    arrays = case.arrays()
    whole = run(pycnn, case)
    directions = cotangents(case, whole.outputs)
    rng = np.random.default_rng(1)

    def along(index: int, direction: Array) -> float:
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[index] = arrays[index] + sign * step * direction
            ends.append(run(pycnn, case, arrays=moved, gradients=False).outputs)
        terms = zip(*ends, directions, whole.differentiable, strict=True)
        return sum(float(((a - b) * v).sum()) for a, b, v, wanted in terms if wanted) / (2 * step)

    for index, (spec, array) in enumerate(zip(case.inputs, arrays, strict=True)):
        if spec is None or array is None or not spec.gradient or array.dtype.kind != "f":
            continue
        chosen = range(array.size) if array.size <= most else rng.choice(array.size, most, replace=False)
        rows = np.zeros((len(chosen), *array.shape))
        for row, element in zip(rows, chosen, strict=True):
            row.reshape(-1)[element] = 1.0
        if array.size > most:  # the elements left out still enter these
            rows = np.concatenate([rows, rng.standard_normal((4, *array.shape))])
        yield index, rows, np.array([along(index, row) for row in rows])


@differentiable
def test_gradient_equals_finite_differences(case: Case) -> None:
    gradients = run(pycnn, case).gradients
    for index, rows, numerical in finite_differences(case):
        gradient = gradients[index]
        if gradient is None:
            assert not np.any(numerical), f"input {index} has no gradient"
            continue
        assert gradient.dtype == np.float64
        analytic = np.array([float((gradient * row).sum()) for row in rows])
        scale = float(np.abs(numerical).max(initial=0.0)) or 1.0
        np.testing.assert_allclose(analytic, numerical, rtol=1e-6, atol=1e-6 * scale, err_msg=f"input {index}")


def assert_near(case: Case, actual: Any, expected: Any, tolerance: float) -> None:
    for kind in ("outputs", "gradients"):
        for number, (a, e) in enumerate(zip(getattr(actual, kind), getattr(expected, kind), strict=True)):
            assert (a is None) == (e is None), f"{kind}[{number}]"
            if e is None:
                continue
            assert a.shape == e.shape, f"{kind}[{number}]"
            if e.dtype.kind != "f":
                np.testing.assert_array_equal(a, e, err_msg=f"{kind}[{number}]")
            else:
                limit = max(tolerance, 1e-7 if e.dtype == np.float32 else 0)  # integers divided are float32
                assert distance(a, e) <= limit, f"{kind}[{number}] of {case.name}"


@every_case
@pytest.mark.parametrize("level", _core.available_levels())
def test_float32_is_near_float64(case: Case, level: str) -> None:
    _core.set_level(level)
    single, double = run(pycnn, case, "float32"), run(pycnn, case, "float64")
    assert all(a.dtype == np.float32 for a in single.outputs if a.dtype.kind == "f")
    assert_near(case, single, double, case.float32_tolerance)


@every_case
def test_eager_mode_has_the_same_bits(case: Case) -> None:
    planned = run(pycnn, case, "float32").bits()
    _core.set_mode("eager")
    assert run(pycnn, case, "float32").bits() == planned


@every_case
def test_any_number_of_threads_has_the_same_bits(case: Case) -> None:
    found = []
    for threads in (1, 2, 3, 7):
        pycnn.set_num_threads(threads)
        found.append(run(pycnn, case, "float32").bits())
    assert found[1:] == found[:1] * 3


@every_case
def test_pytorch_agrees(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if case.random:
        pytest.skip("random numbers differ from PyTorch's by design")
    if "maxout" in case.name:
        pytest.skip("PyTorch has no maxout")
    ours, theirs = run(pycnn, case), run(torch, case)
    assert [a.dtype for a in ours.outputs] == [a.dtype for a in theirs.outputs]
    assert_near(case, ours, theirs, 1e-12)


_PRIMITIVES = {
    "convolution_forward": "conv",
    "convolution_input_gradient": "conv",
    "convolution_weight_gradient": "conv",
    "matmul": ("matmul", "linear", "bmm"),
}


@pytest.fixture
def forced(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    primitive, algorithm = request.param
    yield primitive, algorithm
    _core.force_algorithm(primitive, None)


@pytest.mark.parametrize(
    "forced",
    [(primitive, name) for primitive in _PRIMITIVES for name in _core.algorithms(primitive)],
    indirect=True,
    ids=" ".join,
)
def test_each_algorithm_agrees_with_float64(forced: tuple[str, str]) -> None:
    """An algorithm may decline a shape; it must serve at least one row and be right wherever it serves."""
    primitive, algorithm = forced
    served = 0
    narrow = algorithm == "widened" or algorithm.startswith("bfloat16")
    for case in (c for c in CASES if c.name.startswith(_PRIMITIVES[primitive])):
        expected = run(pycnn, case, "float64")
        _core.force_algorithm(primitive, algorithm)
        try:
            found = run(pycnn, in_bfloat16(case) if narrow else case, "float32")
        except RuntimeError as error:
            assert algorithm in str(error), error
            continue
        finally:
            _core.force_algorithm(primitive, None)
        assert_near(case, found, expected, 0.02 if narrow else case.float32_tolerance)
        served += 1
    assert served > 0


_PRODUCTS = [c for c in CASES if c.name.startswith(("conv", "matmul", "linear", "bmm"))]


@pytest.mark.parametrize("case", _PRODUCTS, ids=lambda case: case.name)
def test_bfloat16_products(case: Case) -> None:
    """Operands and results rounded to 8 bits; the same bits in both modes, on any number of threads."""
    narrow = in_bfloat16(case)
    found = run(pycnn, narrow, "float32")
    assert_near(case, found, run(pycnn, case, "float64"), 0.02)
    bits = []
    for threads in (1, 2, 3, 7):
        pycnn.set_num_threads(threads)
        bits.append(run(pycnn, narrow, "float32").bits())
    _core.set_mode("eager")
    bits.append(run(pycnn, narrow, "float32").bits())
    assert bits == [found.bits()] * 5
