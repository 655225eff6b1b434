"""inference_mode: what is made in it stays outside of autograd, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn


def inference(*shape: int) -> Any:
    with pycnn.inference_mode():
        return pycnn.ones(*shape)


def weight(*shape: int) -> Any:
    return pycnn.ones(*shape, requires_grad=True)


def test_what_is_an_inference_tensor() -> None:
    normal, w = pycnn.ones(3), weight(3)
    with pycnn.inference_mode():
        assert pycnn.is_inference_mode_enabled()
        assert not pycnn.is_grad_enabled()
        made, computed, data = pycnn.ones(3), w * 2, pycnn.tensor([1.0])
        views = [normal.view(3, 1), w[1:], w.detach()]
        with pycnn.inference_mode(False):
            assert not pycnn.is_inference_mode_enabled()
            assert not pycnn.ones(3).is_inference()
            assert (w * 2).requires_grad
        normal += 1
    assert not pycnn.is_inference_mode_enabled()
    assert all(t.is_inference() and pycnn.is_inference(t) for t in (made, computed, data))
    assert not any(t.is_inference() for t in (normal, w, *views))
    assert not computed.requires_grad
    # A view of an inference tensor is one anywhere; a result of it is not.
    assert made[1:].is_inference()
    assert made.detach().is_inference()
    assert not (made * 2).is_inference()
    assert not made.clone().is_inference()


def test_the_forms_of_inference_mode() -> None:
    @pycnn.inference_mode()
    def called(x: Any) -> Any:
        return x * 2

    @pycnn.inference_mode
    def bare(x: Any) -> Any:
        return x * 2

    @pycnn.inference_mode()
    def steps(x: Any) -> Iterator[Any]:
        for factor in range(2):
            yield x * factor

    x = weight(2)
    assert called(x).is_inference()
    assert bare(x).is_inference()
    for y in steps(x):
        assert y.is_inference()
        assert not pycnn.is_inference_mode_enabled()
    with pytest.raises(KeyError), pycnn.inference_mode():
        raise KeyError
    assert pycnn.is_grad_enabled()
    assert (x * 2).requires_grad


SAVED: dict[str, Callable[[], Any]] = {
    "mul": lambda: inference(3) * weight(3),
    "linear": lambda: F.linear(inference(2, 3), weight(4, 3)),
    "matmul": lambda: inference(2, 3) @ weight(3, 2),
    "conv2d": lambda: F.conv2d(inference(1, 1, 4, 4), weight(1, 1, 3, 3)),
    "view": lambda: inference(4).view(2, 2)[0] * weight(2),
    "in place": lambda: (weight(3) * 1).mul_(inference(3)),
    "module": lambda: nn.Linear(3, 2)(inference(1, 3)),
    "batch_norm": lambda: F.batch_norm(inference(4, 2), None, None, weight(2), None, training=True),
}


@pytest.mark.parametrize("name", SAVED)
def test_autograd_refuses_to_save_inference_tensors(name: str) -> None:
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        SAVED[name]()


def test_labels_made_in_inference_mode_are_refused() -> None:
    with pycnn.inference_mode():
        target = pycnn.tensor([0])
    with pytest.raises(RuntimeError, match="cross_entropy: Inference tensors cannot be saved"):
        F.cross_entropy(weight(1, 3), target)


def test_what_is_not_saved_may_take_part() -> None:
    x, a = weight(3), inference(3)
    ((x + a) - a).sum().backward()
    pycnn.where(a > 0, x, -x).sum().backward()
    (x * a.clone()).sum().backward()
    with pycnn.no_grad():
        assert not (x * a).requires_grad
    assert x.grad.tolist() == [3, 3, 3]


def test_a_linear_layer_saves_what_its_gradients_read() -> None:
    # A bias's gradient reads neither factor, an input's only the weight; a convolution saves both, as in PyTorch.
    bias = weight(2)
    F.linear(inference(3, 4), pycnn.ones(2, 4), bias).sum().backward()
    assert bias.grad.tolist() == [3, 3]
    F.linear(pycnn.ones(3, 4), inference(2, 4), bias).sum().backward()
    assert bias.grad.tolist() == [6, 6]
    for x, w in ((inference(3, 4), weight(2, 4)), (weight(3, 4), inference(2, 4))):
        with pytest.raises(RuntimeError, match="linear: Inference tensors cannot be saved"):
            F.linear(x, w, bias)
    with pytest.raises(RuntimeError, match="conv2d: Inference tensors cannot be saved"):
        F.conv2d(inference(1, 4, 3, 3), pycnn.ones(2, 4, 1, 1), bias)


def test_in_place_changes_are_refused_outside() -> None:
    a = inference(4)
    changes = (lambda: a.add_(1), lambda: a.__setitem__(0, 5), lambda: a.view(2, 2).zero_(), lambda: a[1:].mul_(2))
    for change in changes:
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
            change()
        with pycnn.no_grad(), pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            change()
    assert a.tolist() == [1, 1, 1, 1]
    with pycnn.inference_mode():
        a.add_(1)
        a[1:].mul_(2)
    assert a.tolist() == [2, 4, 4, 4]


def test_requires_grad_is_refused_outside() -> None:
    a = inference(3)
    for change in (a.requires_grad_, lambda: nn.Parameter(a), lambda: setattr(a, "requires_grad", True)):
        with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor outside InferenceMode"):
            change()
    assert not a.requires_grad
    with pycnn.inference_mode():
        assert pycnn.ones(2, requires_grad=True).requires_grad


def test_changing_a_result_in_inference_mode_keeps_its_history() -> None:
    x = weight(2)
    y = x * 3
    with pycnn.inference_mode():
        y.add_(10)
    assert y.requires_grad
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([13, 13], [3, 3])


def test_custom_functions_save_no_inference_tensor() -> None:
    class Times(pycnn.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: Any) -> Any:
            ctx.save_for_backward(factor)
            return x * factor

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * ctx.saved_tensors[0], None

    with pytest.raises(RuntimeError, match="Times: Inference tensors cannot be saved for backward"):
        Times.apply(weight(2), inference(2))


def test_training_goes_on_after_inference() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = pycnn.randn(8, 3), pycnn.tensor([0, 1] * 4)
    for _ in range(3):
        with pycnn.inference_mode():
            net(x)  # moves the running statistics in place
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert not any(t.is_inference() for t in net.state_dict().values())
