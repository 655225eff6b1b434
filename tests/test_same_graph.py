"""The graph seen from Python: its nodes, edges and hooks, errors of backward, dual numbers: the same with PyTorch."""

from __future__ import annotations

import copy
from typing import Any

import both
import pytest
from both import attempt


def nodes(torch: Any) -> Any:
    x, w = torch.ones(3, requires_grad=True), torch.ones(3)
    y = x * 2 + w
    z = y.sum()
    after = z.grad_fn.next_functions[0][0]
    leaf = after.next_functions[0][0].next_functions[0][0]
    leaf.register_hook(lambda *_: None)
    parts = (x * 1).split(1)
    return [
        z.grad_fn.name(), type(after).__name__, [index for _, index in z.grad_fn.next_functions],
        [target is None for target, _ in after.next_functions], after is y.grad_fn, after == y.grad_fn,
        hash(y.grad_fn) == hash(y.grad_fn), y.grad_fn != z.grad_fn, isinstance(after, torch.autograd.graph.Node),
        leaf.name(), leaf.next_functions, leaf.variable, x.grad_fn, w.grad_fn, y.grad_fn.metadata,
        [part.output_nr for part in parts], len({part.grad_fn for part in parts}), hasattr(after, "variable"),
    ]  # fmt: skip


def functions_as_nodes(torch: Any) -> Any:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: Any) -> Any:
            ctx.note = "here"
            y = x * factor
            ctx.save_for_backward(x, y, None)
            return y

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            x, y, _ = ctx.saved_tensors
            return gradient * x * y, None

    x = torch.ones(3, requires_grad=True)
    y = Twice.apply(x, 2)
    node = y.grad_fn
    found = [
        node.name(), type(node).__name__, repr(y), [target.name() for target, _ in node.next_functions], node.note,
        list(node.saved_tensors), attempt(lambda: node.nothing),
    ]  # fmt: skip
    y.sum().backward()
    return [*found, attempt(lambda: node.saved_tensors), attempt(y.sum().backward), x.grad]


def hooks_of_nodes(torch: Any) -> Any:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    seen: list[Any] = []
    handles = [
        y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 3,)),
        y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0], outputs[0], len(inputs)))),
        y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + 1, *inputs[1:])),
    ]
    y.sum().backward(retain_graph=True)
    first = x.grad.clone()
    for handle in handles:
        handle.remove()
    y.sum().backward(retain_graph=True)
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0],) * 3)
    return [seen, first, x.grad, attempt(y.sum().backward)]


def edges(torch: Any) -> Any:
    graph, x = torch.autograd.graph, torch.ones(3, requires_grad=True)
    y = x * 2
    edge, at_leaf = graph.get_gradient_edge(y), graph.get_gradient_edge(x)
    z = (y * y).sum()
    return [
        edge.node.name(), edge.output_nr, at_leaf.node.name(), torch.autograd.grad(z, edge, retain_graph=True),
        torch.autograd.grad(z, [edge, x, at_leaf]), attempt(graph.get_gradient_edge, torch.ones(2)),
    ]  # fmt: skip


def several_gradients(torch: Any) -> Any:
    register = torch.autograd.graph.register_multi_grad_hook
    x = torch.ones(2, requires_grad=True)
    a, b = x * 2, x * 3
    seen: list[Any] = []
    handle = register([a, b], lambda gradients: seen.append(list(gradients)))
    register([a, b], lambda gradient: seen.append(gradient), mode="any")
    for _ in range(2):
        (a * 5 + b * 5).sum().backward(retain_graph=True)
    handle.remove()
    (a * 5 + b * 5).sum().backward()
    return seen, attempt(register, [a], print, mode="some")


def errors(torch: Any) -> Any:
    def after(change: Any) -> Any:
        x = torch.ones(3, requires_grad=True)
        return attempt(change, x)

    def hooked(x: Any, result: Any) -> Any:
        x.register_hook(lambda _: result)
        x.sum().backward()
        return x.grad

    grad, ones = torch.autograd.grad, torch.ones
    changes = [
        lambda x: hooked(x, ones(2)), lambda x: hooked(x, 3), lambda x: hooked(x, ones(3).double()),
        lambda x: hooked(x, ones(3) * 2), lambda x: setattr(x, "grad", x), lambda x: setattr(x, "grad", ones(2)),
        lambda x: setattr(x, "grad", ones(3).double()), lambda x: setattr(x, "grad", 3), lambda x: grad([], []),
        lambda x: grad(x.sum(), [3]), lambda x: grad(x.sum(), ones(1, requires_grad=True)), lambda x: x[0].detach_(),
        lambda x: (x * 1)[0].detach_(), lambda x: (x * 1).detach_().requires_grad, lambda x: x.mul(2).backward(),
        lambda x: x.sum().backward(inputs=[]), lambda x: x.sum().backward(inputs=[ones(2)]), lambda x: x[:2].add_(1),
        lambda x: ones(2).retain_grad(), lambda x: x.retain_grad(), lambda x: copy.deepcopy(x * 1),
        lambda x: (x * 1).register_post_accumulate_grad_hook(print), lambda x: ones(2).register_hook(print),
        lambda x: x.double().mul(2).backward(ones(2)), lambda x: torch.autograd.graph.increment_version(ones(2)),
    ]  # fmt: skip
    return [after(change) for change in changes]


def dual_numbers(torch: Any) -> Any:
    dual = torch.autograd.forward_ad
    x, t = torch.tensor([0.5, 1.5]), torch.tensor([1.0, 3.0])
    found: list[Any] = []
    with dual.dual_level():
        a, b = dual.make_dual(x, t), dual.make_dual(x * 2, t * 2)
        for y in (a, a.sin() * b, (a * b).sum(), torch.ones(2), a.exp() / a):
            found += [*dual.unpack_dual(y)]
        found += [attempt(dual.enter_dual_level), attempt(dual.make_dual, x, torch.ones(3))]
        found.append(attempt(dual.make_dual, x.long(), x.long()))
    weights = torch.nn.Linear(2, 2)
    with dual.dual_level():
        tangent = dual.unpack_dual(weights(dual.make_dual(x, t))).tangent
        tangent.sum().backward()
    return [*found, weights.weight.grad, attempt(dual.make_dual, x, t), attempt(dual.exit_dual_level)]


def switches(torch: Any) -> Any:
    with torch.autograd.set_multithreading_enabled(False):
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
    with torch.autograd.graph.save_on_cpu(pin_memory=False):
        y = (x.exp() * x).sum()
    y.backward()
    return x.grad, issubclass(torch.autograd.function.InplaceFunction, torch.autograd.Function)


CODE = (
    nodes, functions_as_nodes, hooks_of_nodes, edges, several_gradients, errors, dual_numbers, switches,
)  # fmt: skip


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.__name__)
@pytest.mark.filterwarnings("ignore")
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
