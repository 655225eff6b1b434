"""Hooks of tensors and operators, and functions whose gradient a program gives itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn.autograd import Function, gradcheck, gradgradcheck


def leaf(*values: float) -> Any:
    return pycnn.tensor(list(values), dtype=pycnn.float64, requires_grad=True)


def random_leaf(*shape: int) -> Any:
    return pycnn.randn(*shape, dtype=pycnn.float64).requires_grad_()


def test_tensor_hooks_see_and_replace_gradients() -> None:
    x, seen = leaf(1, 2), []
    y = x * 3
    handle = y.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: g * 10)
    (y * y).sum().backward()
    assert seen == [[6, 12]]
    assert x.grad.tolist() == [180, 360]
    handle.remove()
    (x * 1).sum().backward()
    assert len(seen) == 1


def test_a_hook_that_raises_reaches_the_caller() -> None:
    x = leaf(1)
    y = x * 2

    def hook(gradient: Any) -> None:
        raise KeyError("from the hook")

    y.register_hook(hook)
    with pytest.raises(KeyError, match="from the hook"):
        y.sum().backward()


@pytest.mark.parametrize("register", ["register_hook", "register_prehook"])
def test_hooks_of_an_operator_may_remove_themselves_and_add_others(register: str) -> None:
    x, seen = leaf(1, 2), []
    y = x * 2

    def once(*gradients: Any) -> None:
        seen.append("once")
        first.remove()
        for _ in range(20):
            getattr(y.grad_fn, register)(lambda *gradients: seen.append("added"))

    first = getattr(y.grad_fn, register)(once)
    getattr(y.grad_fn, register)(lambda *gradients: seen.append("second"))
    y.sum().backward(retain_graph=True)
    assert seen == ["once", "second"]
    y.sum().backward()
    assert seen[2:] == ["second"] + 20 * ["added"]
    assert x.grad.tolist() == [4, 4]


class Scale(Function):
    """Two inputs, a plain argument, two outputs."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, factor: float) -> Any:
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        assert not pycnn.is_grad_enabled()
        return x * y * factor, x + y

    @staticmethod
    def backward(ctx: Any, product: Any, total: Any) -> Any:
        x, y = ctx.saved_tensors
        assert ctx.needs_input_grad[0]
        return product * y * ctx.factor + total, product * x * ctx.factor + total, None


def test_custom_functions() -> None:
    x, y = random_leaf(2, 3), random_leaf(2, 3)
    product, total = Scale.apply(x, y, 2.5)
    assert product.requires_grad
    np.testing.assert_allclose(product.detach().numpy(), x.detach().numpy() * y.detach().numpy() * 2.5, rtol=1e-15)
    (product * total).sum().backward()
    a, b = x.detach().numpy(), y.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), 2.5 * b * (a + b) + 2.5 * a * b, rtol=1e-13)
    assert gradcheck(lambda x, y: Scale.apply(x, y, 2.5), [x, y])
    assert gradgradcheck(lambda x, y: Scale.apply(x, y, 2.5), [x, y])


def test_a_custom_function_in_numpy() -> None:
    """forward may leave the graph: what it returns is a constant whose gradient backward defines."""

    class Cube(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return pycnn.from_numpy(x.detach().numpy() ** 3)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return 3 * ctx.saved_tensors[0] ** 2 * gradient

    x = random_leaf(4)
    assert gradcheck(Cube.apply, [x])


def test_straight_through_estimator() -> None:
    class Binarize(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.sign()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient

    x = leaf(-0.5, 2)
    (Binarize.apply(x) * pycnn.tensor([3.0, 4.0], dtype=pycnn.float64)).sum().backward()
    assert x.grad.tolist() == [3, 4]


def test_backward_may_raise() -> None:
    class Broken(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            raise ValueError("no derivative today")

    with pytest.raises(ValueError, match="no derivative today"):
        Broken.apply(leaf(1)).sum().backward()
