"""Differentiation with PyTorch's meaning: modes, accumulation, graphs kept or freed, changes in place."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn
from pycnn.autograd import Function, grad, gradcheck, gradgradcheck


def leaf(*values: float) -> Any:
    return pycnn.tensor(list(values), dtype=pycnn.float64, requires_grad=True)


def random_leaf(*shape: int) -> Any:
    return pycnn.randn(*shape, dtype=pycnn.float64).requires_grad_()


# -- which tensors take part -----------------------------------------------------------------------------------------


def test_requires_grad_spreads() -> None:
    x, y = leaf(1, 2), pycnn.ones(2, dtype=pycnn.float64)
    assert (x + y).requires_grad
    assert not (y + y).requires_grad
    assert x.is_leaf
    assert y.is_leaf
    assert not (x + y).is_leaf
    assert x.grad is None
    assert x.grad_fn is None
    assert (x * y).grad_fn is not None
    assert not (x > 0).requires_grad
    assert not x.argmax().requires_grad
    assert not x.long().requires_grad


def test_only_floats_require_gradients() -> None:
    with pytest.raises(RuntimeError, match="floating"):
        pycnn.arange(3).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        (leaf(1) * 2).requires_grad_(False)


def test_modes() -> None:
    x = leaf(1, 2)
    with pycnn.no_grad():
        assert not pycnn.is_grad_enabled()
        assert not (x * 2).requires_grad
        with pycnn.enable_grad():
            assert (x * 2).requires_grad
        with pycnn.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert pycnn.zeros(1, requires_grad=True).requires_grad
    assert (x * 2).requires_grad

    @pycnn.no_grad()
    def frozen() -> Any:
        return x * 2

    assert not frozen().requires_grad
    with pytest.raises(KeyError), pycnn.no_grad():
        raise KeyError
    assert pycnn.is_grad_enabled()


def test_detach() -> None:
    x = leaf(3)
    y = x * x
    (y.detach() * x).sum().backward()
    assert x.grad.tolist() == [9]
    assert y.detach().is_leaf
    z = (x * 2).detach_()
    assert not z.requires_grad


# -- backward --------------------------------------------------------------------------------------------------------


def test_gradients_accumulate() -> None:
    x = leaf(1, 2)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6, 12]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]
    x.grad.zero_()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_leaf_used_many_times() -> None:
    x = leaf(2)
    (x * x + x * 3 + x.expand(4).sum() + pycnn.cat([x, x]).prod()).backward(pycnn.ones(1, dtype=pycnn.float64))
    assert x.grad.tolist() == [2 * 2 + 3 + 4 + 2 * 2]


def test_backward_needs_a_gradient_unless_scalar() -> None:
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="scalar"):
        (x * 2).backward()
    (x * 2).backward(gradient=pycnn.tensor([1.0, 10.0], dtype=pycnn.float64))
    assert x.grad.tolist() == [2, 20]
    with pytest.raises(RuntimeError, match="shape"):
        (x * 2).backward(pycnn.ones(3, dtype=pycnn.float64))
    with pytest.raises(RuntimeError, match="require"):
        pycnn.ones(()).backward()


def test_backward_twice_raises_unless_retained() -> None:
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12]
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_backward_through_a_shared_part_raises_the_second_time() -> None:
    x = leaf(3)
    shared = x.exp()
    (shared * 2).sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        (shared * 3).sum().backward()


def test_a_graph_that_saved_nothing_may_be_walked_again() -> None:
    """As in PyTorch: only what was saved is freed."""
    x = leaf(1, 2, 3)
    y = (pycnn.cat([x + 1, -x.view(3, 1).expand(3, 2).flatten()]) - 3).mean()
    for count in (1, 2, 3):
        y.backward()
        np.testing.assert_allclose(x.grad.numpy(), np.full(3, -count / 9), rtol=1e-15)
    for saves in (x.exp() + 1, (x * 2).view(3), x.relu().clone()):
        z = saves.sum()
        z.backward()
        with pytest.raises(RuntimeError, match="second time"):
            z.backward()


def test_backward_of_some_inputs() -> None:
    x, y = leaf(2), leaf(3)
    (x * y).backward(pycnn.ones(1, dtype=pycnn.float64), inputs=[x])
    assert x.grad.tolist() == [3]
    assert y.grad is None


def test_in_place_change_of_a_leaf_raises() -> None:
    x = leaf(1, 2)
    for change in (lambda: x.add_(1), lambda: x.__setitem__(0, 5), lambda: x.view(2).mul_(2), lambda: x[:1].zero_()):
        with pytest.raises(RuntimeError, match="in-place"):
            change()
    with pycnn.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3]


def test_in_place_change_of_a_result_is_differentiated() -> None:
    x = leaf(1, 2, 3)
    y = x * 2
    y *= x
    y[1] = 0
    y[2:] += x[:1]
    y.sum().backward()
    assert x.grad.tolist() == [4 + 1, 0, 12]
    z = leaf(4)
    w = pycnn.zeros(2, dtype=pycnn.float64)
    w[1:] = z * z
    w.sum().backward()
    assert z.grad.tolist() == [8]


def test_a_saved_value_is_the_one_of_its_time() -> None:
    """PyTorch raises when a value that backward needs was changed; here the graph still has it. Both are not wrong."""
    x = leaf(1, 2)
    y = x.exp()
    z = (y * y).sum()
    try:
        y.add_(1)
        z.backward()
    except RuntimeError:
        return
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]), rtol=1e-14)


def test_retain_grad() -> None:
    x = leaf(3)
    y = x * x
    y.retain_grad()
    (y * 2).sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([2], [12])
    assert y.retains_grad
    assert not x.retains_grad
    assert not (x * x).retains_grad


def test_gradients_have_the_leafs_dtype() -> None:
    x = pycnn.ones(3, requires_grad=True)
    (x.double() * 2).sum().backward()
    assert x.grad.dtype == pycnn.float32
    y = pycnn.ones(3, dtype=pycnn.bfloat16, requires_grad=True)
    (y * 3).sum().backward()
    assert y.grad.dtype == pycnn.bfloat16
    assert y.grad.float().tolist() == [3, 3, 3]


def test_assigning_a_gradient() -> None:
    x = leaf(1, 2)
    x.grad = pycnn.tensor([5.0, 6.0], dtype=pycnn.float64)
    x.sum().backward()
    assert x.grad.tolist() == [6, 7]
    with pytest.raises((RuntimeError, TypeError)):
        x.grad = pycnn.ones(3, dtype=pycnn.float64)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(pycnn.ones(4)),
        lambda x: x.__iadd__(pycnn.ones(5)),
        lambda x: x.__setitem__(7, 1.0),
        lambda x: x.lerp_(pycnn.ones(4), 0.5),
    ],
)
def test_a_change_that_failed_does_not_hide_the_next(change: Any) -> None:
    x = pycnn.ones(3, requires_grad=True) * 1
    with pytest.raises((RuntimeError, IndexError)):
        change(x)
    y = x.sin()
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_data_takes_values_without_their_history() -> None:
    source = pycnn.tensor([3.0, 4.0], requires_grad=True)
    target = pycnn.zeros(2, requires_grad=True)
    writes = [
        lambda: target.data.copy_(source),
        lambda: target.data.copy_(0.5 * target + 0.5 * source),
        lambda: target.data.__setitem__(slice(None), source * 2),
        lambda: target.data.__setitem__(0, source[1]),
        lambda: target.data.add_(source),
        lambda: target.detach().copy_(source),
    ]
    for write in writes:
        write()
        assert target.is_leaf
        assert target.requires_grad
    assert target.tolist() == [3, 4]
    (target * 2).sum().backward()
    assert target.grad.tolist() == [2, 2]
    assert source.grad is None


def test_copies_without_grad_mode_stay_outside_of_the_graph() -> None:
    source = pycnn.tensor([3.0, 4.0], requires_grad=True)
    average = pycnn.zeros(2)
    with pycnn.no_grad():
        average.copy_(source)
        assert not average.requires_grad
        average[:] = source
        assert not average.requires_grad
        source.copy_(source)
        source.data.mul_(2)
    average.mul_(2)
    (source * average).sum().backward()
    assert (average.tolist(), source.grad.tolist()) == ([6, 8], [6, 8])


def test_what_was_copied_in_place_shares_no_gradient_with_its_source() -> None:
    source = pycnn.tensor([3.0, 4.0], requires_grad=True)
    copied = pycnn.zeros(2)
    copied.copy_(source)
    assert not copied.is_leaf
    copied.retain_grad()
    copied.register_hook(lambda gradient: gradient * 10)
    doubled = copied * 1
    doubled.copy_(copied)
    doubled.mul_(2)
    (doubled.sum() + source.sum()).backward()
    assert (copied.grad.tolist(), source.grad.tolist()) == ([20, 20], [21, 21])


def test_gradients_of_a_leaf_that_changed_after_it_was_read() -> None:
    a = pycnn.ones(2, requires_grad=True)
    before = a * 2
    with pycnn.no_grad():
        a.view(-1).add_(1)
    assert pycnn.autograd.grad(before.sum(), [a], retain_graph=True)[0].tolist() == [2, 2]
    total = (before + a * 3).sum()
    assert pycnn.autograd.grad(total, [a], retain_graph=True)[0].tolist() == [5, 5]
    total.backward(inputs=[a])
    assert a.grad.tolist() == [5, 5]


def test_what_was_overwritten_has_zero_gradient() -> None:
    a = pycnn.ones(2, 2, requires_grad=True)
    x = a * 2
    x.fill_(3)
    row = x[0]
    row.zero_()
    assert x.requires_grad
    assert not x.is_leaf
    assert row.requires_grad
    (x * a + row).sum().backward()
    assert a.grad.tolist() == [[0, 0], [3, 3]]


def test_views_of_a_leaf() -> None:
    x = random_leaf(2, 3)
    (x.view(6)[2:4].sum() + x.t()[0].sum() * 2 + x[..., -1].prod()).backward()
    a = x.detach().numpy()
    expected = np.zeros((2, 3))
    expected.reshape(-1)[2:4] += 1
    expected[:, 0] += 2
    expected[:, 2] += a[::-1, 2]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-14)


# -- autograd.grad and higher derivatives ----------------------------------------------------------------------------


def test_grad_returns_and_leaves_leaves_alone() -> None:
    x, y = leaf(2), leaf(3)
    gx, gy = grad((x * x * y).sum(), [x, y])
    assert (gx.tolist(), gy.tolist(), x.grad) == ([12], [4], None)
    assert grad(x * y, x, grad_outputs=pycnn.tensor([2.0], dtype=pycnn.float64))[0].tolist() == [6]
    middle = x * y
    assert grad((middle * middle).sum(), middle)[0].tolist() == [12]


def test_unused_inputs() -> None:
    x, y = leaf(2), leaf(3)
    with pytest.raises(RuntimeError, match="allow_unused"):
        grad((x * x).sum(), [x, y])
    assert grad((x * x).sum(), [x, y], allow_unused=True)[1] is None


def test_derivatives_of_derivatives() -> None:
    x = leaf(2)
    y = (x**4).sum()
    for expected in (32, 48, 48, 24):
        (y,) = grad(y.sum(), x, create_graph=True)
        assert y.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_penalty() -> None:
    """A loss on the gradient itself (Gulrajani et al. 2017): d/dx (|grad f|²)."""
    x, w = random_leaf(2, 3), random_leaf(3, 4)
    f = pycnn.tanh(x @ w).sum()
    (gx,) = grad(f, x, create_graph=True)
    (gx**2).sum().backward()
    assert x.grad is not None
    assert w.grad is not None
    a, b = x.detach().numpy(), w.detach().numpy()

    def penalty(a: np.ndarray, b: np.ndarray) -> float:
        return float((((1 - np.tanh(a @ b) ** 2) @ b.T) ** 2).sum())

    for index in np.ndindex(3, 4):
        h = np.zeros((3, 4))
        h[index] = 1e-6
        numerical = (penalty(a, b + h) - penalty(a, b - h)) / 2e-6
        assert w.grad.numpy()[index] == pytest.approx(numerical, rel=1e-6, abs=1e-7)


SECOND_ORDER: dict[str, Any] = {
    "pointwise": (lambda x: (x.exp() * x.sigmoid() - x.tanh() / (x * x + 1)).sqrt().log(), [(2, 3)], True),
    "activations": (lambda x: F.silu(x) + F.gelu(x) + F.softplus(x) + F.elu(x), [(2, 3)], False),
    "power": (lambda x, y: (x * x + 1) ** y, [(2, 2), (2,)], False),
    "matmul": (lambda x, w: x @ w, [(2, 3), (3, 2)], False),
    "batched matmul": (lambda x, w: (x @ w).exp(), [(2, 2, 3), (3, 2)], False),
    "linear": (F.linear, [(2, 3), (2, 3), (2,)], False),
    "reductions": (lambda x: x.var(1) * x.mean(1) + x.prod(1) + x.norm(dim=1), [(2, 3)], False),
    "softmax": (lambda x: F.softmax(x, 1) * F.log_softmax(x, 1), [(2, 3)], False),
    "shapes": (lambda x: (x.t().reshape(-1)[1:] ** 2).expand(2, -1), [(2, 3)], False),
    "pad": (lambda x: F.pad(F.pad(x, (2, -1), mode="reflect"), (2, 1), mode="circular") ** 3, [(1, 2, 4)], False),
    "pad replicate": (lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate") ** 3, [(1, 1, 2, 2)], False),
    "conv1d": (lambda x, w: F.conv1d(x, w, stride=2, padding=1), [(1, 2, 5), (2, 2, 3)], False),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2), [(1, 2, 3, 3), (2, 1, 2, 2), (2,)], False),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2), [(1, 2, 2, 2), (2, 1, 2, 2)], False),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2) ** 3, [(1, 1, 4, 4)], False),
    "mse_loss": (lambda x, y: F.mse_loss(x, y), [(2, 3), (2, 3)], False),
    "cross_entropy": (lambda x: F.cross_entropy(x, pycnn.tensor([0, 2])), [(2, 3)], False),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_second_derivatives(name: str) -> None:
    function, shapes, positive = SECOND_ORDER[name]
    inputs = [random_leaf(*shape) for shape in shapes]
    if positive:
        inputs = [(x.detach().abs() + 0.5).requires_grad_() for x in inputs]
    assert gradgradcheck(function, inputs)


def test_batch_norms_second_derivative_is_right_or_refused() -> None:
    x, w = random_leaf(4, 2), random_leaf(2)
    function = lambda x, w: F.batch_norm(x, None, None, w, None, training=True)  # noqa: E731
    try:
        assert gradgradcheck(function, [x, w], atol=1e-4)
    except RuntimeError as error:
        assert "differentiable" in str(error)  # noqa: PT017


def test_max_pools_second_derivative_is_right_or_refused() -> None:
    x = (pycnn.randperm(16).double().view(1, 1, 4, 4) / 4).requires_grad_()
    try:
        assert gradgradcheck(lambda x: F.max_pool2d(x, 2) ** 3, [x])
    except RuntimeError as error:
        assert "differentiable" in str(error)  # noqa: PT017


# -- gradcheck -------------------------------------------------------------------------------------------------------


class WrongSquare(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 2.001 * x * gradient


def test_gradcheck_passes_and_fails() -> None:
    x = leaf(1, -2, 3)
    assert gradcheck(lambda x: x * x, [x], rtol=1e-6)
    with pytest.raises(RuntimeError, match="[Jj]acobian|gradient|mismatch"):
        gradcheck(WrongSquare.apply, [x], rtol=1e-6, atol=1e-9)
    assert not gradcheck(WrongSquare.apply, [x], rtol=1e-6, atol=1e-9, raise_exception=False)


# -- lifetime --------------------------------------------------------------------------------------------------------


def test_graphs_are_freed() -> None:
    """A context of a custom function dies with its graph, backward or not."""
    contexts = []

    class Identity(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            marker = np.zeros(1)
            ctx.marker = marker
            contexts.append(weakref.ref(marker))
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient

    x = leaf(1)
    y = Identity.apply(x)
    del y
    Identity.apply(x).sum().backward()
    gc.collect()
    assert all(reference() is None for reference in contexts)


class Exponential(Function):
    """Saves an output between an input and nothing."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        marker = np.zeros(1)
        ctx.marker = marker
        Exponential.alive = weakref.ref(marker)
        ctx.save_for_backward(x, y, None)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        x, y, nothing = ctx.saved_tensors
        assert nothing is None
        assert y.requires_grad
        return gradient * y + 0 * x

    alive: Any = None


def test_a_saved_output_is_no_cycle() -> None:
    x = random_leaf(3)
    y = Exponential.apply(x)
    assert Exponential.alive() is not None
    del y
    assert Exponential.alive() is None
    assert gradcheck(Exponential.apply, [x])
    assert gradgradcheck(Exponential.apply, [x])
    y = Exponential.apply(x)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(x.detach().numpy()), rtol=1e-14)
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    del y
    assert Exponential.alive() is None


def test_a_custom_function_that_saves_nothing_may_run_again() -> None:
    class Negate(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return -x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return -gradient

    x = leaf(1, 2)
    y = Negate.apply(x).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [-2, -2]


def test_a_long_chain_neither_recurses_nor_forgets() -> None:
    x = leaf(0.5)
    y = x
    for _ in range(5000):
        y = y * 1.0001
    y.sum().backward()
    assert x.grad.item() == pytest.approx(1.0001**5000, rel=1e-10)


def test_a_small_network_equals_its_formula() -> None:
    """Two layers and a softmax, gradients by hand."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 3)), rng.integers(0, 2, 5)
    F.cross_entropy(net(pycnn.tensor(x)), pycnn.tensor(y)).backward()
    w1, b1, w2, b2 = (p.detach().numpy() for p in net.parameters())
    h = np.tanh(x @ w1.T + b1)
    z = h @ w2.T + b2
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dz = (p - np.eye(2)[y]) / 5
    dh = dz @ w2 * (1 - h**2)
    for parameter, expected in zip(net.parameters(), (dh.T @ x, dh.sum(0), dz.T @ h, dz.sum(0)), strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-12, atol=1e-15)
