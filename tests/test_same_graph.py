"""The graph seen from Python: its nodes, edges and hooks, errors of backward, dual numbers: the same with PyTorch."""

from __future__ import annotations

import copy
import gc
import threading
from typing import Any

import both
import pytest
from both import attempt

import pycnn
from pycnn.autograd import function


def nodes(torch: Any) -> Any:
    x, w = torch.ones(3, requires_grad=True), torch.ones(3)
    y = x * 2 + w
    z = y.sum()
    after = z.grad_fn.next_functions[0][0]
    leaf = after.next_functions[0][0].next_functions[0][0]
    leaf.register_hook(lambda *_: None)
    parts = (x * 1).split(1)
    y.grad_fn.metadata["note"] = leaf.metadata["note"] = "kept"
    y.backward(torch.ones(3), retain_graph=True)
    return [
        z.grad_fn.name(), type(after).__name__, [index for _, index in z.grad_fn.next_functions],
        [target is None for target, _ in after.next_functions], after is y.grad_fn, after == y.grad_fn,
        hash(y.grad_fn) == hash(y.grad_fn), y.grad_fn != z.grad_fn, isinstance(after, torch.autograd.graph.Node),
        leaf.name(), leaf.next_functions, leaf.variable, x.grad_fn, w.grad_fn, y.grad_fn.metadata,
        z.grad_fn.metadata, leaf is y.grad_fn.next_functions[0][0].next_functions[0][0], leaf.metadata,
        leaf is (x * 3).grad_fn.next_functions[0][0], leaf is torch.autograd.graph.get_gradient_edge(x).node, x.grad,
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

    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            return first * 2 + second * 3

    def of_results(*results: Any) -> Any:
        places = [graph.get_gradient_edge(result) for result in results]
        total = sum((result * (i + 2) ** 2).sum() for i, result in enumerate(results))
        return [place.output_nr for place in places], torch.autograd.grad(total, [*places, x], retain_graph=True)

    return [
        of_results(*(x * 1).split(1)), of_results(*Two.apply(x)), of_results(*x.sort()[:1]),
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
    (a * 5 + b * 5).sum().backward(retain_graph=True)
    u, v = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    product, other = u * v, u * v
    register((u, v), lambda gradients: seen.append(list(gradients)))
    register((u, v, product, other), lambda gradients: seen.append([each is not None for each in gradients]))
    (u * 3).sum().backward()
    (v * 4).sum().backward()
    product.sum().backward(retain_graph=True)
    torch.autograd.backward([other.sum(), product.sum()], retain_graph=True)
    c, d = x * 2, x * 3
    register((c, d), lambda gradients: seen.append(list(gradients)))
    torch.autograd.grad(c.sum(), x)
    x.sum().backward()
    seen.append(attempt(register, [a], print, mode="some"))
    wanted = torch.ones(2, requires_grad=True)
    register([torch.ones(2), wanted], lambda gradient: seen.append(gradient), mode="any")
    (wanted * 2).sum().backward()
    return seen


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
        changed = dual.make_dual(x.clone(), t.clone())
        found += [*dual.unpack_dual(changed.mul_(3)), *dual.unpack_dual(changed), *dual.unpack_dual(changed * x)]
        found.append(attempt(dual.make_dual, changed * 2, t))
        p = torch.ones(2, requires_grad=True)
        of_p = dual.make_dual(p, t)
        for y in (a * 2, a * p, p * 2, of_p.exp() * p, p, torch.ones(2), dual.make_dual(x, t * p) * 2):
            unpacked = dual.unpack_dual(y)
            found += [*unpacked, *(part is not None and part.requires_grad for part in unpacked)]
        found.append(torch.autograd.grad(dual.unpack_dual((of_p * p).exp()).tangent.sum(), p))
    with torch.no_grad():
        with dual.dual_level():
            for y in (dual.make_dual(x, t).sin(), dual.make_dual(x, t) * p):
                unpacked = dual.unpack_dual(y)
                found += [*unpacked, *(part.requires_grad for part in unpacked)]
        found.append(torch.is_grad_enabled())
    weights = torch.nn.Linear(2, 2)
    with dual.dual_level():
        tangent = dual.unpack_dual(weights(dual.make_dual(x, t))).tangent
        tangent.sum().backward()
    return [*found, weights.weight.grad, attempt(dual.make_dual, x, t), attempt(dual.exit_dual_level)]


def mutation_allowed(torch: Any) -> Any:
    allow = torch.autograd.graph.allow_mutation_on_saved_tensors

    def nested() -> None:
        with allow():
            pass

    with allow() as context:
        x = torch.ones(2, requires_grad=True)
        y = x.sin()
        z = (y * y).sum()
        y.add_(1)
        z.backward()
        found = [x.grad, attempt(nested), attempt(context.clear)]
    y = x.sin()
    z = (y * y).sum()
    y.add_(1)
    return [*found, attempt(z.backward)]


def switches(torch: Any) -> Any:
    with torch.autograd.set_multithreading_enabled(False):
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
    with torch.autograd.graph.save_on_cpu(pin_memory=False):
        y = (x.exp() * x).sum()
    y.backward()
    return x.grad, issubclass(torch.autograd.function.InplaceFunction, torch.autograd.Function)


CODE = (
    nodes, functions_as_nodes, hooks_of_nodes, edges, several_gradients, errors, dual_numbers, mutation_allowed,
    switches,
)  # fmt: skip


def test_dual_numbers_need_recording() -> None:
    dual, x = pycnn.autograd.forward_ad, pycnn.ones(2)
    with dual.dual_level():
        made = dual.make_dual(x, x)
        with pycnn.no_grad():
            for use in (lambda: dual.make_dual(x, x), lambda: dual.unpack_dual(made * 2)):
                with pytest.raises(RuntimeError, match=r"enter dual_level\(\) inside of no_grad\(\)"):
                    use()
            assert dual.unpack_dual(made).tangent.tolist() == [1, 1]


def test_several_gradients_in_nested_passes_and_of_tensors_that_have_none() -> None:
    register, seen = pycnn.autograd.graph.register_multi_grad_hook, []
    x, y = pycnn.ones(1, requires_grad=True), pycnn.ones(1, requires_grad=True)
    register((x, y), lambda gradients: seen.append([each and each.item() for each in gradients]))
    first: list[float] = []
    z, inner = x * 2, (y * 3).sum()
    register((z, y), lambda gradient: first.append(gradient.item()), mode="any")
    z.register_hook(lambda gradient: inner.backward())
    (z * y).sum().backward()
    assert seen == [[None, 3], [2, 2]] and first == [1, 3]
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        register((x, pycnn.ones(1)), print)

    def fails(gradient: Any) -> None:
        raise ZeroDivisionError

    w = x * 2
    w.register_hook(fails)
    with pytest.raises(ZeroDivisionError):
        (w * x).sum().backward()
    (y * 4).sum().backward()
    assert seen[2:] == [[None, 4]]


def test_contexts_that_a_user_keeps_belong_to_no_other_node() -> None:
    kept: list[Any] = []

    class Keeps(pycnn.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            kept.append(ctx)
            ctx.note = "mine"
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 2

    x = pycnn.ones(2, requires_grad=True)
    own = [Keeps.apply(x) for _ in range(100)]
    assert all(y.grad_fn.note == "mine" for y in own)
    places = {y.grad_fn._raw.key for y in own}
    del own
    gc.collect()
    assert len(kept) == 100 and not any(place in function._contexts for place in places)


def test_mutation_is_allowed_until_the_last_thread_has_left() -> None:
    def changes_what_is_saved() -> bool:
        y = pycnn.ones(2, requires_grad=True).sin()
        z = (y * y).sum()
        y.add_(1)
        return attempt(z.backward) is None

    allow, inside, leave = pycnn.autograd.graph.allow_mutation_on_saved_tensors, threading.Event(), threading.Event()

    def other() -> None:
        with allow():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with allow():
        thread.start()
        assert inside.wait(60)
    found = [changes_what_is_saved()]
    leave.set()
    thread.join()
    assert [*found, changes_what_is_saved()] == [True, False]


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.__name__)
@pytest.mark.filterwarnings("ignore")
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
