"""GPUs: every row of operator_cases.py there against the CPU. Skipped where there is none; with PYCNN_CUDA_LIBRARY set
to the emulated plug-in of the C++ build the same kernels run on the host."""

from __future__ import annotations

import re

import numpy as np
import pytest
from case import Case, distance, in_bfloat16, run
from operator_cases import CASES

import pycnn

pytestmark = pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason())

# Of equal elements the CPU finds those that PyTorch's partial sort does, a GPU the first ones.
FIRST_OF_EQUALS = re.compile(r"(topk|kthvalue) of (equals|few)")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
unambiguous_case = pytest.mark.parametrize(
    "case", [c for c in CASES if not FIRST_OF_EQUALS.match(c.name)], ids=lambda case: case.name
)


def assert_near(actual: object, expected: object, tolerance: float) -> None:
    for kind in ("outputs", "gradients"):
        for number, (a, e) in enumerate(zip(getattr(actual, kind), getattr(expected, kind), strict=True)):
            assert (a is None) == (e is None), f"{kind}[{number}]"
            if e is None:
                continue
            if e.dtype.kind == "f":
                assert distance(a, e) <= tolerance, f"{kind}[{number}]"
            else:
                np.testing.assert_array_equal(a, e, err_msg=f"{kind}[{number}]")


@unambiguous_case
def test_float32_is_near_the_cpu_in_float64(case: Case) -> None:
    assert_near(run(pycnn, case, "float32", device="cuda"), run(pycnn, case), max(1e-5, case.float32_tolerance))


@unambiguous_case
def test_float64_is_near_the_cpu(case: Case) -> None:
    assert_near(run(pycnn, case, device="cuda"), run(pycnn, case), 1e-12)


@every_case
def test_results_are_repeatable(case: Case) -> None:
    assert run(pycnn, case, "float32", device="cuda").bits() == run(pycnn, case, "float32", device="cuda").bits()


@unambiguous_case
def test_bfloat16_is_near_the_cpu(case: Case) -> None:
    narrow = in_bfloat16(case)
    try:
        expected = run(pycnn, narrow, "float32")
    except (RuntimeError, TypeError, NotImplementedError) as error:
        with pytest.raises(type(error)):
            run(pycnn, narrow, "float32", device="cuda")
        return
    assert_near(run(pycnn, narrow, "float32", device="cuda"), expected, 1e-2)
