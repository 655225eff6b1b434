"""Derivatives of determinants where the matrix may be singular, against minors in exact integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn.autograd import grad

MATRICES: dict[str, list[list[int]]] = {
    "regular": [[2, 1, 0], [1, 3, 1], [0, 1, 4]],
    "rank n - 1": [[1, 2, 3], [2, 4, 6], [1, 1, 1]],
    "rank n - 1, pivots 0": [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
    "rank n - 1, four pivots 0": [[0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3], [0, 0, 0, 0]],
    "rank n - 2": [[1, 2, 3], [2, 4, 6], [3, 6, 9]],
    "rank n - 2, pivots 0": [[0, 0, 0], [0, 0, 2], [0, 0, 0]],
    "rank n - 4": [[1, 2, 1, 2, 1]] * 5,
    "zeros": [[0, 0], [0, 0]],
    "zero": [[0]],
}


def expanded(matrix: Any) -> int:
    """The determinant, by Laplace's expansion."""
    if not len(matrix):
        return 1
    return sum((-1) ** j * int(matrix[0, j]) * expanded(np.delete(matrix[1:], j, 1)) for j in range(len(matrix)))


def cofactor(matrix: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> float:
    """The derivative of the determinant by the elements at these places."""
    if len(set(rows)) < len(rows) or len(set(columns)) < len(columns):
        return 0.0
    exchanged = (list(rows) != sorted(rows)) != (list(columns) != sorted(columns))
    sign = (-1) ** (sum(rows) + sum(columns) + exchanged)
    return float(sign * expanded(np.delete(np.delete(matrix, rows, 0), columns, 1)))


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_derivatives_are_cofactors(name: str, dtype: str) -> None:
    matrix = np.array(MATRICES[name])
    places = list(np.ndindex(*matrix.shape))
    first = np.array([cofactor(matrix, (i,), (j,)) for i, j in places]).reshape(matrix.shape)
    tolerance = 32 * np.finfo(dtype).eps * max(float(np.abs(matrix).max()), 1.0) ** (len(matrix) - 1)
    a = pycnn.tensor(matrix.tolist(), dtype=getattr(pycnn, dtype), requires_grad=True)
    (once,) = grad(pycnn.det(a), a)
    np.testing.assert_allclose(once.numpy(), first, rtol=0, atol=tolerance)
    (gradient,) = grad(pycnn.det(a), a, create_graph=True)
    np.testing.assert_allclose(gradient.detach().numpy(), first, rtol=0, atol=tolerance)
    if len(matrix) == 1:
        return
    for i, j in places:
        (row,) = grad(gradient[i, j], a, retain_graph=True)
        second = np.array([cofactor(matrix, (i, k), (j, m)) for k, m in places]).reshape(matrix.shape)
        np.testing.assert_allclose(row.numpy(), second, rtol=0, atol=tolerance)


def test_singular_and_regular_matrices_in_a_batch() -> None:
    batch = np.array([MATRICES[name] for name in ("regular", "rank n - 1, pivots 0", "rank n - 2")])
    expected = [[[cofactor(m, (i,), (j,)) for j in range(3)] for i in range(3)] for m in batch]
    a = pycnn.tensor(batch.tolist(), dtype=pycnn.float64, requires_grad=True)
    for create_graph in (False, True):
        (gradient,) = grad(pycnn.det(a).sum(), a, create_graph=create_graph)
        np.testing.assert_allclose(gradient.detach().numpy(), expected, rtol=0, atol=1e-12)
