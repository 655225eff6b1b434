"""What backward keeps: hooks that pack it, and tensors that were changed in place before it was read."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from scipy import special

import pycnn
import pycnn.nn.functional as F
from pycnn.autograd.graph import saved_tensors_hooks


def network() -> tuple[pycnn.nn.Module, pycnn.Tensor]:
    pycnn.manual_seed(0)
    net = pycnn.nn.Sequential(
        pycnn.nn.Conv2d(2, 3, 3), pycnn.nn.BatchNorm2d(3), pycnn.nn.ReLU(), pycnn.nn.MaxPool2d(2), pycnn.nn.Flatten(),
        pycnn.nn.Linear(12, 4), pycnn.nn.Tanh(), pycnn.nn.Linear(4, 3),
    )  # fmt: skip
    return net, pycnn.randn(5, 2, 6, 6)


def gradients(net: pycnn.nn.Module, loss: pycnn.Tensor) -> list[Any]:
    net.zero_grad()
    loss.backward()
    return [parameter.grad.tolist() for parameter in net.parameters()]


def test_packed_as_arrays_and_back() -> None:
    net, x = network()
    target = pycnn.tensor([0, 1, 2, 0, 1])
    expected = gradients(net, F.cross_entropy(net(x), target))
    kept: list[np.ndarray[Any, Any]] = []

    def pack(tensor: pycnn.Tensor) -> Any:
        kept.append(tensor.detach().numpy().copy())
        return kept[-1]

    with saved_tensors_hooks(pack, pycnn.from_numpy):
        loss = F.cross_entropy(net(x), target)
    assert len(kept) > 8
    assert gradients(net, loss) == expected


def test_backward_reads_what_unpack_gives() -> None:
    a, b = (pycnn.full((2,), value, requires_grad=True) for value in (2.0, 3.0))
    with saved_tensors_hooks(lambda t: t, lambda t: t * 10), saved_tensors_hooks(lambda t: t, lambda t: t * 100):
        y = a * b
    z = y * 1
    z.sum().backward()
    assert a.grad.tolist() == [300, 300] and b.grad.tolist() == [200, 200]


def test_results_arrive_without_history_and_are_freed() -> None:
    x = pycnn.ones(3, requires_grad=True)
    kept: list[pycnn.Tensor] = []
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        y = x.exp()
    assert kept[0].grad_fn is None and kept[0].tolist() == y.tolist()

    class Held:
        def __init__(self, tensor: pycnn.Tensor) -> None:
            self.tensor = tensor

    held: list[Any] = []

    def pack(tensor: pycnn.Tensor) -> Held:
        packed = Held(tensor)
        held.append(weakref.ref(packed))
        return packed

    with saved_tensors_hooks(pack, lambda packed: packed.tensor):
        y = x.exp().sigmoid()
        y.sum().backward()
    gc.collect()
    assert len(held) == 2 and all(reference() is None for reference in held)


def test_second_derivatives_through_hooks() -> None:
    x = pycnn.tensor([0.5, 1.5], dtype=pycnn.float64, requires_grad=True)
    with saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
        (first,) = pycnn.autograd.grad((x.sin() * x).sum(), x, create_graph=True)
    (second,) = pycnn.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 2 * np.cos([0.5, 1.5]) - np.array([0.5, 1.5]) * np.sin([0.5, 1.5]))


def test_wrong_hooks() -> None:
    x = pycnn.ones(3, requires_grad=True)
    for unpack, error in (
        (lambda t: 3, TypeError), (lambda t: pycnn.ones(2), RuntimeError), (lambda t: t.double(), RuntimeError),
    ):  # fmt: skip
        with saved_tensors_hooks(lambda t: t, unpack):
            y = x.exp().sum()
        with pytest.raises(error):
            y.backward()
    with pytest.raises(ZeroDivisionError), saved_tensors_hooks(lambda t: 1 / 0, lambda t: t):
        x.exp()
    assert x.exp().sum().item() == pytest.approx(3 * np.e)
    with (
        pycnn.autograd.graph.disable_saved_tensors_hooks("not here"),
        pytest.raises(RuntimeError, match="not here"),
        saved_tensors_hooks(lambda t: t, lambda t: t),
    ):
        pass


class Squared(pycnn.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: pycnn.Tensor) -> pycnn.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: pycnn.Tensor) -> pycnn.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def test_functions_of_ones_own() -> None:
    x = pycnn.full((2,), 3.0, requires_grad=True)
    with saved_tensors_hooks(lambda t: t.tolist(), lambda packed: pycnn.tensor(packed) * 10):
        y = Squared.apply(x)
    y.sum().backward()
    assert x.grad.tolist() == [60, 60]
    w = pycnn.ones(2) * x
    z = Squared.apply(w)
    assert z.grad_fn.saved_tensors[0].tolist() == [3, 3]
    w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


# -- changed in place --------------------------------------------------------------------------------------------------
def test_what_was_saved_and_changed_since_is_refused() -> None:
    x = pycnn.ones(3, requires_grad=True)
    y = x.sin()
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_an_optimisers_step_counts() -> None:
    weight = pycnn.ones(2, 2, requires_grad=True)
    optimizer = pycnn.optim.SGD([weight], lr=0.1)
    x = pycnn.ones(2, 2, requires_grad=True)
    loss = F.linear(x, weight).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_what_nobody_saved_may_change() -> None:
    x = pycnn.ones(3, requires_grad=True)
    y = x * 2
    z = y + 1
    y.add_(5)
    z.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_operators_in_place_read_their_own_operand() -> None:
    x, w = pycnn.full((2,), 3.0, requires_grad=True), pycnn.full((2,), 4.0, requires_grad=True)
    y = x * 1
    y.mul_(w)
    y.sin_()
    y.lgamma_().sum().backward()
    of_product = np.cos(12.0) * special.digamma(np.sin(12.0))
    np.testing.assert_allclose(x.grad.numpy(), [4 * of_product] * 2, rtol=1e-5)
    np.testing.assert_allclose(w.grad.numpy(), [3 * of_product] * 2, rtol=1e-5)


def test_another_tensor_with_the_same_elements_may_change() -> None:
    x = pycnn.ones(3, requires_grad=True)
    source, buffer = pycnn.full((3,), 2.0), pycnn.zeros(3)
    buffer.copy_(source)
    y = (x * source).sum()
    del source
    buffer.zero_()
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_changes_that_autograd_does_not_see() -> None:
    """Backward reads what was saved, as no value ever changes; PyTorch reads what is there now."""
    x = pycnn.full((2,), 3.0, requires_grad=True)
    y = (x * x).sum()
    x.data.zero_()
    y.backward()
    assert x._version == 0 and x.tolist() == [0, 0] and x.grad.tolist() == [6, 6]


def test_changes_allowed() -> None:
    x = pycnn.ones(3, requires_grad=True)
    with pycnn.autograd.graph.allow_mutation_on_saved_tensors():
        y = x.sin()
        z = y * y
        y.add_(1)
        z.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.sin(2.0), rtol=1e-6)


def test_versions_count_changes() -> None:
    x = pycnn.zeros(4)
    x.add_(1)
    x[0] = 5
    x[1:].mul_(2)
    assert x._version == x[2:]._version == 3
    pycnn.autograd.graph.increment_version(x)
    assert x._version == 4


UNARY = [
    "abs",
    "acos",
    "asin",
    "atan",
    "cos",
    "cosh",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "relu",
    "neg",
    "sign",
    "floor",
]


@pytest.mark.parametrize("name", [*UNARY, "mul", "div", "add", "sub", "matmul", "pow", "maximum", "hypot"])
def test_refuses_where_pytorch_does(name: str) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (pycnn, torch):
        raised = []
        operands = 1 if name in UNARY else 2
        for wanted in range(1, 2**operands):
            for changed in (*range(operands), "result"):
                values = [library.tensor([[0.3, 0.4], [0.5, 0.6]]), library.tensor([[1.3, 0.4], [2.5, 0.6]])]
                arguments = [
                    value.requires_grad_() * 1 if wanted >> i & 1 else value
                    for i, value in enumerate(values[:operands])
                ]
                y = getattr(library, name)(*arguments)
                (y if changed == "result" else arguments[changed]).add_(0.25)
                try:
                    y.sum().backward()
                    raised.append(False)
                except RuntimeError as error:
                    assert "inplace" in str(error)
                    raised.append(True)
        found.append(raised)
    if name in ("pow",):  # PyTorch saves the result as well, for the gradient at a base of 0
        found = [[a for i, a in enumerate(raised) if i % 3 != 2] for raised in found]
    assert found[0] == found[1]


def adversaries(torch: Any, leak: bool) -> None:
    maker, judge = torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
    step = torch.optim.Adam(judge.parameters()).step
    made = maker(torch.ones(4, 2))
    verdict = judge(made if leak else made.detach())
    verdict.sum().backward(retain_graph=True)
    step()
    (verdict if leak else judge(made)).sum().backward()


def twice(torch: Any, module: Any, *shape: int) -> None:
    (module(torch.ones(*shape)).sum() + module(torch.ones(*shape) * 2).sum()).backward()


def averaged_teacher(torch: Any) -> None:
    student, teacher, x = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.ones(1, 2)
    loss = (student(x) - teacher(x).detach()).pow(2).sum()
    with torch.no_grad():
        teacher.weight.mul_(0.9).add_(student.weight, alpha=0.1)
    loss.backward()


def rows_of_a_result(torch: Any) -> None:
    w, state, out = torch.ones(3, requires_grad=True), torch.zeros(3), torch.zeros(5, 3)
    for i in range(5):
        state = (state + w).tanh()
        out[i] = state
    out.sum().backward()


def scratch(torch: Any, copied: bool) -> None:
    w, x, total = torch.ones(3, requires_grad=True), torch.zeros(3), 0
    for i in range(3):
        x.fill_(i)
        total = total + ((x.clone() if copied else x) * w).sum()
    total.backward()


def residual(torch: Any) -> None:
    F, x = torch.nn.functional, torch.ones(1, 2, 4, 4)
    y = torch.nn.BatchNorm2d(2)(torch.nn.Conv2d(2, 2, 3, padding=1)(x))
    y += x
    F.dropout(F.relu(y, inplace=True), 0.5, inplace=True).sum().backward()


def on_a_result(change: Any) -> Any:
    def run(torch: Any) -> None:
        change(torch, torch.full((3, 3), 0.5, requires_grad=True) * 1).sum().backward()

    return run


def renormalised(torch: Any, y: Any) -> Any:
    y = y.softmax(1)
    y /= y.sum(1, keepdim=True)
    return y


def masked(torch: Any, y: Any) -> Any:
    y = y @ torch.ones(3, 3)
    return y.masked_fill_(torch.ones(3, 3).triu(1).bool(), -1e9).softmax(-1)


def fresh_factor(torch: Any, y: Any) -> Any:
    y += y.sin()
    y *= y.exp().detach()
    return y


def square_added(torch: Any, y: Any) -> Any:
    y += y * y
    return y


def into_an_operand(torch: Any) -> None:
    x, b = torch.ones(3, requires_grad=True), torch.zeros(3)
    y = (x * b).sum()
    torch.add(torch.ones(3), 1, out=b)
    y.backward()


PROGRAMS: dict[str, Any] = {
    "adversaries": lambda torch: adversaries(torch, False),
    "adversaries, one graph for both": lambda torch: adversaries(torch, True),
    "spectral_norm": lambda torch: twice(torch, torch.nn.utils.spectral_norm(torch.nn.Linear(3, 3)), 4, 3),
    "batch norm": lambda torch: twice(torch, torch.nn.BatchNorm1d(3), 4, 3),
    "averaged teacher": averaged_teacher,
    "rows of a result": rows_of_a_result,
    "scratch": lambda torch: scratch(torch, False),
    "scratch, copied": lambda torch: scratch(torch, True),
    "residual": residual,
    "renormalised": on_a_result(renormalised),
    "masked": on_a_result(masked),
    "fresh factor": on_a_result(fresh_factor),
    "square added": on_a_result(square_added),
    "sigmoid and 1": on_a_result(lambda torch, y: y.sigmoid().add_(1)),
    "into an operand": into_an_operand,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run_or_are_refused_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")

    def refused(library: Any) -> bool:
        library.manual_seed(0)
        try:
            PROGRAMS[name](library)
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)
            return True
        return False

    assert refused(pycnn) == refused(torch)


def test_hooks_that_end_in_another_order() -> None:
    called: list[str] = []
    first, second = (
        saved_tensors_hooks(lambda t, n=n: called.append(n) or t, lambda t: t) for n in ("first", "second")
    )
    x = pycnn.ones(2, requires_grad=True)
    first.__enter__()
    second.__enter__()
    first.__exit__()
    x.exp()
    second.__exit__()
    x.exp()
    assert called == ["second"]
