"""What may be written where: `out` and changes in place that read what they write, views told by places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pycnn


def grid() -> Any:
    return pycnn.arange(16.0).reshape(4, 4)


def line() -> Any:
    return pycnn.arange(6.0)


def assign(x: Any) -> None:
    x[1:] = x[:-1]


PARTIAL: dict[str, Callable[[Any, Any], Any]] = {
    "add_": lambda x, m: x[1:].add_(x[:-1]),
    "copy_": lambda x, m: x[1:].copy_(x[:-1]),
    "assignment": lambda x, m: assign(x),
    "transpose": lambda x, m: m.add_(m.t()),
    "addcmul_": lambda x, m: x[1:].addcmul_(x[:-1], x[1:]),
    "lerp_": lambda x, m: m.lerp_(m.t(), 0.5),
    "out of add": lambda x, m: pycnn.add(x[1:], 1, out=x[:-1]),
    "out of cat": lambda x, m: pycnn.cat((x[:2], x[3:5]), out=x[:4]),
    "out of gather": lambda x, m: pycnn.gather(x, 0, pycnn.tensor([0, 1]), out=x[:2]),
    "out of take": lambda x, m: pycnn.take(x, pycnn.tensor([0] * 6), out=x),
    "out of index_select": lambda x, m: pycnn.index_select(m, 0, pycnn.tensor([1, 0]), out=m[:2]),
    "expanded out": lambda x, m: pycnn.gather(m, 1, pycnn.tensor([[0, 1]] * 4), out=m[:, :1].expand(4, 2)),
    "index_add_": lambda x, m: m.index_add_(0, pycnn.tensor([0]), m[:1]),
    "scatter_": lambda x, m: m.scatter_(0, pycnn.tensor([[0, 1]]), m),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTIAL)
def test_what_is_written_must_not_be_read_elsewhere(name: str) -> None:
    with pytest.raises(RuntimeError, match="unsupported operation"):
        PARTIAL[name](line(), grid())


def test_the_same_and_disjoint_elements_are_fine() -> None:
    x, m = line(), grid()
    x.add_(x)
    assert x.tolist() == [0, 2, 4, 6, 8, 10]
    x[:3].add_(x[3:])
    assert x.tolist() == [6, 10, 14, 6, 8, 10]
    x[::2].mul_(x[1::2])
    assert x.tolist() == [60, 10, 84, 6, 80, 10]
    pycnn.mul(x, 2, out=x)
    assert x.tolist() == [120, 20, 168, 12, 160, 20]
    m[:, :2] += m[:, 2:]
    assert m[1].tolist() == [10, 12, 6, 7]


@pytest.mark.parametrize(
    "call",
    [
        lambda out: pycnn.gather(line(), 0, pycnn.tensor([1, 2]), out=out),
        lambda out: pycnn.index_select(line(), 0, pycnn.tensor([1, 2]), out=out),
        lambda out: pycnn.amax(grid(), 0, out=out),
        lambda out: pycnn.mm(grid(), grid(), out=out),
        lambda out: pycnn.tril(grid(), out=out),
        lambda out: pycnn.multinomial(line() + 1, 2, out=out),
    ],
)
def test_out_has_the_results_own_dtype(call: Callable[[Any], Any]) -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        call(pycnn.empty(0, dtype=pycnn.float64))


def test_views_told_by_places_write_through() -> None:
    x = line()
    windows = x.unfold(0, 2, 2)
    windows[1] = 9
    assert x.tolist() == [0, 1, 9, 9, 4, 5]
    x[0] = -1
    assert windows.tolist() == [[-1, 1], [9, 9], [4, 5]]
    m = grid()
    part = m[1:].as_strided((2, 2), (4, 1))
    part.zero_()
    assert m[1].tolist() == [0, 0, 6, 7]
    assert m.t()[1:].as_strided((1,), (1,)).item() == 1
    w = pycnn.ones(4, requires_grad=True)
    (w * 2).unfold(0, 3, 1).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [2, 4, 4, 2]
    for bad in (lambda: x.as_strided((4, 2), (2, 1)), lambda: x.as_strided((2,), (1, 1)),
                lambda: x.as_strided((2,), (-1,)), lambda: x.unfold(0, 7, 1), lambda: x.unfold(0, 2, 0)):  # fmt: skip
        with pytest.raises(RuntimeError):
            bad()


def test_matrices_that_cannot_be_inverted() -> None:
    singular = pycnn.tensor([[1.0, 2.0], [2.0, 4.0]])
    for call in (lambda: pycnn.inverse(singular), lambda: pycnn.linalg.solve(singular, pycnn.ones(2)),
                 lambda: pycnn.matrix_power(singular, -1)):  # fmt: skip
        with pytest.raises(pycnn.linalg.LinAlgError, match="singular"):
            call()
    with pytest.raises(RuntimeError, match="Batch element 1"):
        pycnn.linalg.inv(pycnn.stack([pycnn.eye(2), singular]))
    for bad in (pycnn.ones(2, 3), pycnn.ones(3), pycnn.eye(2).long()):
        for function in (pycnn.det, pycnn.slogdet, pycnn.inverse, pycnn.matrix_exp):
            with pytest.raises(RuntimeError):
                function(bad)
    assert pycnn.det(singular).item() == 0
    assert pycnn.logdet(-pycnn.eye(3)).isnan()
    assert pycnn.slogdet(singular)[1].item() == -float("inf")
    singular.requires_grad_()
    pycnn.det(singular).backward()
    # The matrix of cofactors.
    assert singular.grad is not None
    assert pycnn.allclose(singular.grad, pycnn.tensor([[4.0, -2.0], [-2.0, 1.0]]))
