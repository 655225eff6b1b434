"""What the functions of tensors have in common: results written to `out`, generators, in-place forms, printing."""

from __future__ import annotations

import math
import warnings
from collections import deque
from typing import Any

import both
import numpy as np
import pytest
from both import attempt
from scipy import special

import pycnn
from pycnn import nn
from pycnn._tensor import registry


def test_out_takes_the_result_and_is_returned() -> None:
    x, out = pycnn.tensor([1.0, -2.0]), pycnn.empty(2)
    assert pycnn.abs(x, out=out) is out
    assert out.tolist() == [1.0, 2.0]
    assert pycnn.add(x, 1, out=None).tolist() == [2.0, -1.0]
    pycnn.cat([x, x], out=out)
    assert out.tolist() == [1.0, -2.0, 1.0, -2.0]


def test_out_of_a_function_written_in_python() -> None:
    out = pycnn.empty(0)
    assert pycnn.einsum("i,i->", pycnn.ones(3), pycnn.ones(3), out=out) is out
    assert out.item() == 3


def test_out_of_several_results() -> None:
    values, indices = pycnn.empty(2), pycnn.empty(2, dtype=pycnn.int64)
    result = pycnn.max(pycnn.tensor([[1.0, 3.0], [5.0, 2.0]]), 1, out=(values, indices))
    assert values.tolist() == [3.0, 5.0]
    assert indices.tolist() == [1, 0]
    assert result.values is values
    kept = pycnn.topk(pycnn.tensor([1.0, 3.0, 2.0]), 2, out=(values, indices))
    assert kept.indices is indices
    assert values.tolist() == [3.0, 2.0]


def test_out_must_be_able_to_hold_the_result() -> None:
    with pytest.raises(RuntimeError, match="can't be cast"):
        pycnn.exp(pycnn.ones(2), out=pycnn.zeros(2, dtype=pycnn.int64))
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        pycnn.exp(pycnn.ones(2, requires_grad=True), out=pycnn.zeros(2))
    with pytest.raises(TypeError, match="'out' must be Tensor"):
        pycnn.exp(pycnn.ones(2), out=3)
    with pytest.raises(TypeError, match="out"):
        pycnn.ones(2).exp(out=pycnn.ones(2))


def test_generators_decide_and_leave_the_global_one_alone() -> None:
    pycnn.manual_seed(1)
    expected = pycnn.rand(3)
    pycnn.manual_seed(1)
    generator = pycnn.Generator().manual_seed(7)
    first = [pycnn.randn(4, generator=generator), pycnn.empty(4).uniform_(0, 1, generator=generator)]
    assert pycnn.equal(pycnn.rand(3), expected)
    generator.manual_seed(7)
    again = [pycnn.randn(4, generator=generator), pycnn.empty(4).uniform_(0, 1, generator=generator)]
    for a, b in zip(first, again, strict=True):
        assert pycnn.equal(a, b)
    assert not pycnn.equal(pycnn.randn(4, generator=generator), first[0])


def test_shapes_in_place_keep_history_and_share_elements() -> None:
    w = pycnn.ones(2, 3, requires_grad=True)
    y = w * 2
    y.transpose_(0, 1).unsqueeze_(0)
    assert tuple(y.shape) == (1, 3, 2)
    y.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[2.0] * 3] * 2
    x = pycnn.zeros(2, 3)
    flat = x.view(6)
    x.t_()
    x[0, 1] = 5
    assert flat.tolist() == [0, 0, 0, 5, 0, 0]


def test_multinomial() -> None:
    weights = pycnn.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]])
    drawn = pycnn.multinomial(weights, 2000, replacement=True)
    share = (drawn[0] == 2).double().mean().item()
    assert 0.7 < share < 0.8
    assert drawn[1].max().item() == 0
    assert sorted(pycnn.multinomial(weights[0], 2).tolist()) == [1, 2]
    for bad in (pycnn.tensor([-1.0, 2.0]), pycnn.tensor([0.0, 0.0]), pycnn.tensor([math.nan]), pycnn.tensor([1, 2])):
        with pytest.raises(RuntimeError):
            pycnn.multinomial(bad, 1)
    with pytest.raises(RuntimeError, match="not enough"):
        pycnn.multinomial(weights[0], 3)


@pytest.mark.parametrize(
    ("fill", "mean"),
    [
        (lambda x: x.exponential_(2.0), 0.5),
        (lambda x: x.geometric_(0.25), 4.0),
        (lambda x: x.log_normal_(0.0, 0.5), math.exp(0.125)),
        (lambda x: x.copy_(pycnn.poisson(pycnn.full_like(x, 3.0))), 3.0),
        (lambda x: x.copy_(pycnn.binomial(pycnn.full_like(x, 10.0), pycnn.full_like(x, 0.3))), 3.0),
    ],
)
def test_distributions_have_their_mean(fill, mean) -> None:  # type: ignore[no-untyped-def]
    pycnn.manual_seed(0)
    x = fill(pycnn.empty(20000, dtype=pycnn.float64))
    # Four standard errors.
    assert abs(x.mean().item() - mean) < 4 * x.std().item() / math.sqrt(20000)


def test_print_options() -> None:
    try:
        pycnn.set_printoptions(precision=2)
        assert repr(pycnn.tensor([1.23456])) == "tensor([1.23])"
        pycnn.set_printoptions(sci_mode=True)
        assert repr(pycnn.tensor([1.5])) == "tensor([1.50e+00])"
        pycnn.set_printoptions(threshold=4, edgeitems=1)
        assert repr(pycnn.arange(5)) == "tensor([0,  ..., 4])"
    finally:
        pycnn.set_printoptions(profile="default")
    assert repr(pycnn.tensor([1.23456])) == "tensor([1.2346])"


def test_functions_that_take_no_numbers() -> None:
    x = pycnn.tensor([1, 2])
    for name in ("maximum", "atan2", "fmax", "logical_and", "gcd"):
        with pytest.raises(TypeError):
            getattr(pycnn, name)(x, 2)
    with pytest.raises(TypeError):
        pycnn.eq(2, x)
    assert pycnn.mul(2, x).tolist() == [2, 4]


@pytest.mark.parametrize(
    "call",
    [
        lambda device: pycnn.logspace(0, 1, 3, device=device), lambda device: pycnn.tril_indices(2, 2, device=device),
        lambda device: pycnn.hann_window(3, device=device), lambda device: pycnn.zeros(2, device=device),
        lambda device: pycnn.randint_like(pycnn.ones(2), 3, device=device),
        lambda device: nn.Transformer.generate_square_subsequent_mask(3, device=device),
    ],
)  # fmt: skip
def test_other_devices_are_refused(call: Any) -> None:
    call("cpu")
    with pytest.raises(RuntimeError, match="meta"):
        call("meta")
    if not pycnn.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA is not available"):
            call("cuda")


def numpys_names(torch: Any) -> Any:
    x = torch.arange(6.0).reshape(2, 3)
    index = torch.tensor([[0], [1]])
    return [
        x.sum(axis=1), x.mean(axis=(0, 1), keepdims=True), torch.argmax(x, axis=1), x.max(axis=0)[0],
        torch.cat([x, x], axis=1), torch.stack((x, x), axis=-1), torch.softmax(x, axis=0), x.std(axis=1, keepdims=True),
        torch.cumsum(x, axis=1), torch.cumprod(x, axis=1), x.topk(1, axis=0)[1], torch.sort(x, axis=0)[0],
        x.unsqueeze(axis=1), torch.median(x, axis=1)[0], x.gather(axis=1, index=index), torch.norm(x, dim=1),
        torch.quantile(x, 0.5, axis=1, keepdims=True), x.nansum(axis=0), torch.aminmax(x, axis=0), torch.exp(x=x),
        torch.add(x1=x, x2=x), torch.sum(a=x), torch.matmul(x, x2=x.t()), torch.sum(x, axis=1, out=torch.empty(2)),
        attempt(torch.sum, x, axes=1), attempt(torch.sum, x, dim=0, axis=0), attempt(x.sum, axis=5),
        attempt(torch.topk, x, 1, axes=0), attempt(x.median, axis=5), attempt(torch.exp, y=x),
    ]  # fmt: skip


def sequences_as_indices(torch: Any) -> Any:
    x, y = torch.arange(20.0).reshape(4, 5), torch.zeros(4, 5)
    y[range(4), range(1, 5)] = 1
    indices = [
        range(2), (range(2), range(1, 3)), [range(2), range(2)], deque([1, 2]), range(0), (slice(None), range(3)),
        [[0, 1], range(2)], (None, range(2)), "a", b"ab", {1, 2}, 1.5, range(9), [range(2)], deque(["a"]),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return y, [attempt(lambda index=index: x[index]) for index in indices]


def numpys_names_in_python(torch: Any) -> Any:
    x = torch.arange(6.0).reshape(2, 3)
    return [
        torch.quantile(x, 0.5, axis=1, keepdims=True), attempt(torch.quantile, x, 0.5, dim=0, axis=0),
        attempt(torch.quantile, x, 0.5, axes=0), attempt(torch.fliplr, 3), attempt(x.quantile, 0.5, keepdims=3, y=1),
    ]  # fmt: skip


def repeated(torch: Any) -> Any:
    x = torch.arange(3)
    given = [
        2, 2.7, "2", True, [1, 2, 3], -2, torch.tensor(2), torch.tensor([2]), torch.tensor([2, 0, 1]),
        torch.tensor(2.0), torch.tensor([2.0]), torch.tensor([2.0, 1, 1]), torch.tensor([True]),
        torch.tensor([[1, 2, 3]]), torch.tensor([-1, 1, 1]), torch.tensor([2, 0, 1], dtype=torch.int32),
    ]  # fmt: skip
    return [
        [attempt(torch.repeat_interleave, x, repeats) for repeats in given],
        [attempt(torch.repeat_interleave, x, 2, output_size=size) for size in (None, 6, 5, 7)],
        [attempt(x.repeat_interleave, torch.tensor([2, 0, 1]), output_size=size) for size in (None, 3, 2, 4)],
        [attempt(torch.repeat_interleave, x, output_size=size) for size in (None, 3, 2, 4)],
        attempt(torch.repeat_interleave, torch.tensor([1.0])),
    ]


def powers_of_two(torch: Any) -> Any:
    half, exponents = torch.tensor([1e-4, 0.0, -3.0, 1.0]).half(), torch.tensor([20, 30, 15, -24])
    numbers = [half, half.bfloat16(), half.float(), half.double(), torch.tensor([1, 2, 3, 4])]
    results = [torch.ldexp(x, e) for x in numbers for e in (exponents, exponents / 2)]
    return [(result.dtype, result.double()) for result in results]


def triangles(torch: Any) -> Any:
    nan, solve = float("nan"), torch.linalg.solve_triangular
    ones = torch.ones(2, 1)
    return [
        solve(torch.zeros(2, 2), ones, upper=True), solve(torch.tensor([[1.0, 2], [nan, 3]]), ones, upper=True),
        solve(torch.tensor([[nan, 2.0], [3, nan]]), ones, upper=False, unitriangular=True),
        solve(torch.ones(0, 0), torch.ones(0, 3), upper=True), solve(torch.ones(3, 2, 2), torch.ones(2, 4), upper=True),
    ]  # fmt: skip


def exponentials(torch: Any) -> Any:
    small, inf = torch.eye(2) * 1e-3, float("inf")
    return [
        torch.matrix_exp(torch.stack([small, torch.eye(2) * -1e6])),
        torch.matrix_exp(torch.stack([small, torch.eye(2) * inf, small * 1000])),
    ]


@pytest.mark.parametrize(
    "code",
    [
        numpys_names, sequences_as_indices, numpys_names_in_python, repeated, powers_of_two, triangles, exponentials,
    ],
)  # fmt: skip
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)


def test_a_type_error_from_within_is_not_taken_for_one_of_names() -> None:
    """A function is not called again with other names because something in it raised."""
    calls: list[float] = []

    def refuse(value: float) -> float:
        calls.append(value)
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        registry._taking_numpy_names(_calling)(callable=refuse, x=2.0)
    assert calls == [2.0]


def _calling(callable: Any, x: float, input: int = 0) -> Any:
    return callable(x)


def test_incomplete_gamma_of_large_numbers() -> None:
    points = np.array([
        (1e8, 1e8 + 2), (1e10, 1e10), (1e10, 1e10 + 1e5), (1e10, 1e10 - 3e5), (1e6, 1e6 + 1e3), (99.9, 101.5),
        (100, 105), (100, 70), (100, 71), (100, 129.9), (100, 131), (1e4, 9000), (1e5, 1.2e5), (1e10, 1), (1e10, 2e10),
        (1, 1e10), (150, 200),
    ])  # fmt: skip
    a, x = points.T
    for mine, theirs in ((pycnn.igamma, special.gammainc), (pycnn.igammac, special.gammaincc)):
        found = mine(pycnn.tensor(a), pycnn.tensor(x)).numpy()
        np.testing.assert_allclose(found, theirs(a, x), rtol=2e-13, atol=1e-300)
    # Ten standard deviations away SciPy has no digit left: the integral by mpmath, with 40 digits.
    a, x = pycnn.tensor([1e10], dtype=pycnn.float64), pycnn.tensor([1e10 - 1e6], dtype=pycnn.float64)
    assert pycnn.igamma(a, x).item() == pytest.approx(7.594501210977073e-24, rel=1e-12)
