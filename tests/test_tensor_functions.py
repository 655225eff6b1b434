"""What the functions of tensors have in common: results written to `out`, generators, in-place forms, printing."""

from __future__ import annotations

import math
import warnings
from collections import deque
from typing import Any

import both
import pytest
from both import attempt

import pycnn
from pycnn import nn


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
    with pytest.raises(RuntimeError, match="device 'cuda' is not available"):
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


@pytest.mark.parametrize("code", [numpys_names, sequences_as_indices])
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
