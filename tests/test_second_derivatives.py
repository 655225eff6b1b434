"""Second derivatives of every row of operator_cases.py, along a random direction, against differences of gradients."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from case import Array, Case, cotangents
from operator_cases import CASES

import pycnn
from pycnn.autograd import grad

# The first has a gradient that PyTorch does not differentiate either; the second has ties, which a step breaks.
LEFT_OUT = ("ctc_loss", "norm inf")
# Made of singular values: a second derivative is refused, where PyTorch has one.
ONCE = ("matrix_norm nuc", "matrix_norm 2", "matrix_norm -2", "nuclear norm")


def directions(case: Case, arrays: list[Array | None], salt: int) -> list[Array | None]:
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + salt)
    return [
        rng.standard_normal(array.shape) if spec is not None and spec.gradient and array.dtype.kind == "f" else None
        for spec, array in zip(case.inputs, arrays, strict=True)
    ]


def slope(case: Case, arrays: list[Array | None], along: list[Array | None], second: bool) -> tuple[Any, list[Any]]:
    """The derivative of a random linear form of the results along a direction, and (`second`) its gradients."""
    leaves = [
        None if a is None else pycnn.tensor(a, requires_grad=d is not None) for a, d in zip(arrays, along, strict=True)
    ]
    if case.random:
        pycnn.manual_seed(7)
    results = case.call(pycnn, leaves)
    if not any(isinstance(r, pycnn.Tensor) and r.requires_grad for r in results):
        return 0.0, [None for d in along if d is not None]
    weighted = zip(results, cotangents(case, results), strict=True)
    form = sum((r * pycnn.tensor(w)).sum() for r, w in weighted if r.requires_grad)
    varied = [leaf for leaf, d in zip(leaves, along, strict=True) if d is not None]
    first = grad(form, varied, create_graph=second, allow_unused=True)
    ways = [pycnn.tensor(d) for d in along if d is not None]
    slopes = [(g * w).sum() for g, w in zip(first, ways, strict=True) if g is not None]
    total = sum(slopes, pycnn.zeros((), dtype=pycnn.float64))
    if not second or not total.requires_grad:
        return total.item(), [None] * len(varied)
    return total.item(), list(grad(total, varied, allow_unused=True))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name)
        for case in CASES
        if any(s is not None and s.gradient for s in case.inputs) and not case.name.startswith(LEFT_OUT)
    ],
)
def test_second_derivative_equals_differences_of_the_first(case: Case) -> None:
    arrays = case.arrays()
    way, step = directions(case, arrays, 2), directions(case, arrays, 3)
    if case.name.startswith(ONCE):
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope(case, arrays, way, True)
        return
    _, second = slope(case, arrays, way, True)
    moves = [s for s in step if s is not None]
    analytic = sum(float((g.numpy() * s).sum()) for g, s in zip(second, moves, strict=True) if g is not None)
    size = 1e-5
    ends = []
    for sign in (1, -1):
        moved = [a if s is None else a + sign * size * s for a, s in zip(arrays, step, strict=True)]
        ends.append(slope(case, moved, way, False)[0])
    terms = sum(float(np.abs(g.numpy() * s).sum()) for g, s in zip(second, moves, strict=True) if g is not None)
    scale = max(terms, abs(ends[0]), 1.0)
    assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(analytic, rel=1e-6, abs=1e-6 * scale)
