"""What may be written where: `out` and changes in place that read what they write, views told by places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import both
import pytest
from support import counted

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


def changed(library: Any) -> list[Any]:
    """The elements after every pair of windows was written and read, or the error that this raises."""
    windows: list[Callable[[Any], Any]] = [
        lambda x: x[:8], lambda x: x[4:12], lambda x: x[8:], lambda x: x[::2], lambda x: x[1::2], lambda x: x[:15:2],
        lambda x: x.detach()[:8], lambda x: x.detach()[1:9], lambda x: x.reshape(4, 4)[:2].flatten(),
        lambda x: x.reshape(4, 4)[2:].reshape(8), lambda x: x.reshape(4, 4)[1, :1].expand(8), lambda x: x[:8] + 1,
        lambda x: x.as_strided((8,), (1,), 8), lambda x: x.as_strided((8,), (2,), 1), lambda x: x.unfold(0, 8, 8)[1],
        lambda x: x.reshape(2, 8)[1], lambda x: x.reshape(2, 1, 8).squeeze()[0], lambda x: x[3:][5:],
    ]  # fmt: skip
    results = []

    def add(to: Any, of: Any) -> Any:
        x = library.arange(16.0)
        # Where PyTorch cannot tell, what it computes depends on the order in which it runs.
        to(x).add_(of(x)) if to is of else to(x).copy_(of(x).abs())
        to(x).mul_(2) if to is of else library.mul(to(x).clone(), 2, out=to(x))
        return x

    def checked(to: Any, of: Any) -> Any:
        target, read = to(x := library.arange(16.0)), of(x)
        target.mul_(read)
        return 0

    for to in windows:
        for of in windows:
            results += [both.attempt(add, to, of), both.attempt(checked, to, of)]
    squares: list[Callable[[Any], Any]] = [
        lambda m: m, lambda m: m.t(), lambda m: m.t().t(), lambda m: m.reshape(2, 8).reshape(4, 4),
        lambda m: m[:1].expand(4, 4),
        lambda m: m.unsqueeze(0)[0], lambda m: m.permute(1, 0), lambda m: m.as_strided((4, 4), (1, 4)),
        lambda m: m.detach().t(),
    ]  # fmt: skip

    def multiplied(to: Any, of: Any) -> Any:
        m = library.arange(16.0).reshape(4, 4)
        to(m).mul_(of(m))
        return 0

    return results + [both.attempt(multiplied, to, of) for to in squares for of in squares]


def test_what_raises_is_what_raises_in_pytorch() -> None:
    both.check(changed)


def shared(library: Any) -> list[Any]:
    """Windows that share elements: the last one written wins, and all show it."""
    x = library.zeros(3)
    w = x.unfold(0, 2, 1)
    w.copy_(library.tensor([[1.0, 2.0], [3.0, 4.0]]))
    results = [x.clone(), w.clone()]
    w[0] = 9
    results += [x.clone(), w.clone()]
    w[1].copy_(library.tensor([5.0, 6.0]))
    w.t()[0, :1].add_(1)
    results += [x.clone(), w.clone()]
    d = w.detach()
    d[0].mul_(3)
    results += [x.clone(), w.clone(), d.clone()]
    w.data[:, 1] = 4
    results += [x.clone(), w.clone()]
    # Nobody else holds what the windows are views of.
    w = library.zeros(4).as_strided((3, 2), (1, 1))
    w.copy_(library.arange(6.0).reshape(3, 2))
    rows = library.arange(4.0).expand(3, 4).unfold(1, 2, 1)
    rows[0].copy_(library.ones(3, 2))
    y = library.arange(4.0, requires_grad=True)
    z = y * 2
    z.unfold(0, 2, 1)[0].mul_(library.tensor([2.0, 3.0]))
    (z * z).sum().backward()
    return [*results, w, rows, y.grad]


def test_windows_that_share_elements_agree_after_a_change() -> None:
    both.check(shared)


def offsets(library: Any) -> list[Any]:
    x, m = library.arange(6.0), library.arange(6.0).reshape(2, 3)
    views = [x[6:], x[2:][::2], x[1::2][1:], m[1], m[:, 1:], m.t()[1:], m[1].expand(2, 3)[:, 1:], m.detach()[1]]
    views += [x.unfold(0, 2, 2)[1], x.as_strided((2,), (1,), 3)[1:], m[1:].unsqueeze(0).squeeze(), *m.unbind(1)]
    return [[view.storage_offset(), list(view.stride())] for view in views]


def test_storage_offsets_are_pytorchs() -> None:
    both.check(offsets)


def test_strides_beyond_all_memory_are_out_of_bounds() -> None:
    for shape, strides in (((3,), (2**62,)), ((2, 2), (2**62, 2**62)), ((5,), (1,))):
        with pytest.raises(RuntimeError, match="out of bounds"):
            pycnn.arange(4.0).as_strided(shape, strides)
    assert pycnn.arange(4.0).as_strided((1,), (2**62,), 3).tolist() == [3]


@pytest.mark.skipif(pycnn.plan.get_mode() == "eager", reason="eager mode evaluates every operator")
def test_views_and_changes_between_them_evaluate_nothing() -> None:
    x = line() * 1

    def record() -> None:
        for i in range(1, 6):
            x[i] += x[i - 1]
        x[:2].mul_(x[4:])
        x[::2].copy_(x[:3])
        pycnn.add(x[:2], x[2:4], out=x[4:])
        x.unfold(0, 2, 2)[1].add_(x.as_strided((2,), (1,), 4))

    assert counted(record)["nodes_evaluated"] == 0
    expected = [0.0, 1, 3, 6, 10, 15]
    expected[:2] = [expected[0] * 10, expected[1] * 15]
    expected[::2] = expected[:3]
    expected[4:] = [expected[0] + expected[2], expected[1] + expected[3]]
    expected[2:4] = [expected[2] + expected[4], expected[3] + expected[5]]
    assert x.tolist() == expected


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
