"""Gradients, functions of one's own, generators, data sets, comparisons: the same code gives the same with PyTorch."""

from __future__ import annotations

from typing import Any

import both
import pytest
from both import attempt


def own_functions(torch: Any) -> Any:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(x: Any, factor: Any) -> Any:
            return x * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            x, factor = ctx.saved_tensors
            needed = ctx.needs_input_grad
            return gradient * factor if needed[0] else None, gradient * x if needed[1] else None

    x, factor = torch.ones(2, requires_grad=True), torch.full((2,), 3.0)
    Scale.apply(x, factor).sum().backward()
    return x.grad, factor.grad


def functions_that_change_their_input(torch: Any) -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, other: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            ctx.save_for_backward(other)
            return x, other * 3

        @staticmethod
        def backward(ctx: Any, gradient: Any, of_other: Any) -> Any:
            return gradient * 2, of_other * 3

    class Forgets(Double):
        @staticmethod
        def forward(ctx: Any, x: Any, other: Any) -> Any:
            ctx.mark_dirty(x)
            return other * 2, other

    weight, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    x = weight * 3
    y, z = Double.apply(x, other)
    (y * x + z).sum().backward()
    wrong = [lambda: Double.apply(weight, other), lambda: Forgets.apply(weight * 1, other)]
    return weight.grad, other.grad, x, y is x, z, *map(attempt, wrong)


def wrong_backwards(torch: Any) -> Any:
    class Base(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    def backward_of(make: Any) -> Any:
        function = type("Wrong", (Base,), {"backward": staticmethod(lambda ctx, g: make(g))})
        return function.apply(torch.ones(2, requires_grad=True)).sum().backward

    made = (lambda g: (g, g), lambda g: g.sum(), lambda g: "a", lambda g: None)
    return [attempt(backward_of(make)) for make in made]


def gradients_of_a_batch(torch: Any) -> Any:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    batched = torch.autograd.grad(y, x, torch.eye(2), retain_graph=True, is_grads_batched=True)
    return batched, attempt(y.backward, torch.ones(2), inputs=[])


def after_accumulation(torch: Any) -> Any:
    seen: list[Any] = []

    def take(parameter: Any) -> None:
        seen.append(parameter.grad.clone())
        parameter.grad = None

    x = torch.ones(2, requires_grad=True)
    handle = x.register_post_accumulate_grad_hook(take)
    for factor in (2, 3):
        (x * factor).sum().backward()
    handle.remove()
    x.sum().backward()
    wrong = attempt((x * 2).register_post_accumulate_grad_hook, take)
    return seen, x.grad, wrong, attempt(torch.ones(1).register_post_accumulate_grad_hook, take)


def gradcheck(torch: Any) -> Any:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 3

    x = torch.rand(3, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    return [
        check(torch.sin, (x,), fast_mode=True, nondet_tol=0.0), check(Wrong.apply, (x,), raise_exception=False),
        torch.autograd.gradgradcheck(torch.sin, (x,), gen_non_contig_grad_outputs=True),
        attempt(check, Wrong.apply, (x,)), attempt(check, torch.sin, (x.detach(),)),
        attempt(check, torch.sin, (x,), no_such_option=1),
    ]  # fmt: skip


def functional(torch: Any) -> Any:
    module, x, y, v = torch.autograd.functional, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.ones(2)

    def cubes(a: Any) -> Any:
        return (a**3).sum()

    def product(a: Any, b: Any) -> Any:
        return a * b * b

    def total(a: Any, b: Any) -> Any:
        return product(a, b).sum()

    right = [
        module.jacobian(product, (x, y)), module.jacobian(lambda a: (a**2, a.sum()), x, vectorize=True),
        module.jacobian(lambda a: torch.ones(2), x), module.hessian(cubes, x), module.hessian(total, (x, y)),
        module.vjp(product, (x, y), v), module.vjp(cubes, x), module.jvp(product, (x, y), (v, v)),
        module.hvp(cubes, x, v), module.vhp(total, (x, y), (v, v)),
        module.jacobian(lambda a: a**2, x, create_graph=True).requires_grad,
    ]  # fmt: skip
    wrong = [
        lambda: module.hessian(lambda a: a, x), lambda: module.vjp(lambda a: a, x), lambda: module.jacobian(cubes, 3),
        lambda: module.jacobian(lambda a: a.detach(), x, strict=True), lambda: module.jacobian(lambda a: 3, x),
        lambda: module.jvp(product, (x, y), v), lambda: module.hvp(cubes, x),
        lambda: module.vjp(product, (x, y), torch.ones(3)),
    ]  # fmt: skip
    return right, [attempt(call) for call in wrong]


def functions_of_functions(torch: Any) -> Any:
    func, x = torch.func, torch.tensor([1.0, 2.0])

    def cubes(a: Any) -> Any:
        return (a**3).sum()

    def product(a: Any, b: Any) -> Any:
        return (a * b * b).sum()

    def of_parameters(parameters: Any, a: Any) -> Any:
        return func.functional_call(net, parameters, (a,)).sigmoid()

    net = torch.nn.Linear(2, 1)
    ones = {name: torch.ones_like(value) for name, value in net.named_parameters()}
    pairs = {"left": x, "right": [x * 2, (x * 3,)]}

    def of_pairs(given: Any) -> Any:
        return {"sum": (given["left"] * given["right"][0]).sum(), "rest": (given["right"][1][0] ** 2,)}

    _, pull_pairs = func.vjp(of_pairs, pairs)
    value, pull = func.vjp(lambda a: a**2, x)
    batch = torch.arange(6.0).reshape(2, 3)
    return [
        func.grad(cubes)(x), func.grad_and_value(cubes)(x), func.grad(product, argnums=(0, 1))(x, x),
        func.grad(lambda a: (cubes(a), a * 2), has_aux=True)(x), func.grad(func.grad(lambda a: a**3))(x[1]),
        func.jacrev(lambda a: a**2)(x), func.jacfwd(product, argnums=1)(x, x), func.hessian(cubes)(x),
        func.jvp(lambda a: a**2, (x,), (x,)), value, pull(x), func.functional_call(net, ones, (x,)),
        torch.vmap(torch.dot)(batch, batch), torch.vmap(lambda a, b: (a + b, a), (0, None))(batch, torch.ones(3)),
        torch.vmap(lambda a: a * 2, in_dims=1, out_dims=1)(batch), func.vmap(func.grad(cubes))(batch),
        attempt(torch.vmap(torch.dot), batch, batch.t()), attempt(func.grad(lambda a: a), x),
        attempt(func.functional_call, net, {**ones, "none": x}, (x,)),
        func.grad(lambda p, a: of_parameters(p, a).sum())(ones, x),
        func.vmap(func.grad(lambda p, a: of_parameters(p, a).sum()), (None, 0))(ones, torch.ones(3, 2)),
        func.vmap(func.jacrev(of_parameters), (None, 0))(ones, torch.ones(3, 2)),
        func.hessian(lambda p: of_parameters(p, x).sum())(ones),
        func.grad_and_value(lambda g: of_pairs(g)["sum"])(pairs),
        pull_pairs({"sum": torch.ones(()), "rest": (x,)}), func.jvp(of_pairs, (pairs,), (pairs,)),
        func.jacrev(of_pairs)(pairs), func.vmap(of_pairs)(pairs),
        func.vmap(of_pairs, ({"left": 0, "right": None},))(pairs),
        func.vmap(lambda a, b: [a * b, (a,)], (0, None))(batch, 2.0),
        attempt(func.grad(lambda a: 1.0), x), attempt(func.grad(cubes), 1.0), attempt(torch.vmap(lambda a: 1.0), x),
        attempt(torch.vmap(torch.sum), 3), attempt(torch.vmap(torch.sum, in_dims=5), x),
    ]  # fmt: skip


def checkpoints(torch: Any) -> Any:
    import importlib

    module = importlib.import_module(torch.__name__ + ".utils.checkpoint")
    net, x = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()), torch.ones(1, 2, requires_grad=True)
    for parameter in net.parameters():
        parameter.data.fill_(0.3)
    outputs = [
        module.checkpoint(net, x, use_reentrant=False), module.checkpoint_sequential(net, 2, x, use_reentrant=False),
        module.checkpoint(lambda a, k=1: net(a) * k, x, k=2, use_reentrant=False),
    ]  # fmt: skip
    sum(y.sum() for y in outputs).backward()
    return outputs, x.grad, net[0].weight.grad


def anomalies(torch: Any) -> Any:
    x = torch.zeros(1, requires_grad=True)
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
        inside = torch.is_anomaly_enabled()
        found = attempt((torch.sqrt(x) * 0).sum().backward)
    with torch.autograd.set_detect_anomaly(False):
        (torch.sqrt(x) * 0).sum().backward()
    return inside, found, x.grad, torch.is_anomaly_enabled()


def variables(torch: Any) -> Any:
    variable = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    return variable, variable.requires_grad, isinstance(torch.ones(1), torch.autograd.Variable)


def generators(torch: Any) -> Any:
    generator, empty = torch.Generator(), torch.empty
    generator.manual_seed(5)
    calls = [
        lambda: torch.rand(2, generator=generator), lambda: torch.randint(0, 9, (4,), generator=generator),
        lambda: torch.randperm(9, generator=generator), lambda: empty(2).normal_(generator=generator),
        lambda: empty(2).uniform_(generator=generator), lambda: torch.normal(0.0, 1.0, (2,), generator=generator),
        lambda: torch.bernoulli(torch.full((99,), 0.5), generator=generator),
        lambda: torch.nn.init.kaiming_normal_(empty(2, 2), generator=generator),
        lambda: torch.nn.init.trunc_normal_(empty(2, 2), generator=generator),
    ]  # fmt: skip
    results: list[Any] = [generator.initial_seed()]
    for call in calls:
        state, of_all = generator.get_state(), torch.get_rng_state()
        first = call()
        results += [bool((first == call()).all()), bool((torch.get_rng_state() == of_all).all()), first.shape]
        generator.set_state(state)
        results.append(bool((first == call()).all()))
    before = torch.get_rng_state()
    with torch.random.fork_rng():
        torch.manual_seed(9)
    return results, bool((torch.get_rng_state() == before).all())


def more_data_sets(torch: Any) -> Any:
    data, x = torch.utils.data, torch.arange(6)
    pairs, named = data.StackDataset(x, x * 2), data.StackDataset(a=x, b=x * 2)
    sampler = data.DistributedSampler(range(10), num_replicas=3, rank=1, shuffle=False)
    wrong = [
        lambda: data.StackDataset(x, [1]), data.StackDataset, lambda: data.StackDataset(x, a=x),
        lambda: data.DistributedSampler(range(3), 3, 5), lambda: data.RandomSampler([]),
        lambda: data.RandomSampler(x, num_samples=-1),
    ]  # fmt: skip
    shares = [sorted(data.DistributedSampler(range(9), 3, rank, seed=1)) for rank in range(3)]
    return [
        pairs[1], len(pairs), named[2], list(sampler), len(sampler), sorted(sum(shares, [])),
        list(data.DistributedSampler(range(10), 3, 0, False, drop_last=True)), *map(attempt, wrong),
    ]  # fmt: skip


def limits_and_types(torch: Any) -> Any:
    limits = [torch.finfo(getattr(torch, name)) for name in ("float64", "float32", "float16", "bfloat16")]
    whole = [torch.iinfo(getattr(torch, name)) for name in ("int64", "int32", "int16", "int8", "uint8")]
    wrong = [lambda: torch.finfo(torch.int8), lambda: torch.iinfo(torch.float32), lambda: torch.iinfo(torch.bool)]
    wrong += [lambda: torch.FloatTensor(torch.ones(1).double()), lambda: torch.ones(1).type("no type")]
    names = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")
    x = torch.ones(2)
    return [
        [[getattr(limit, name) for name in names] for limit in limits], [repr(limit) for limit in limits],
        [[limit.bits, limit.max, limit.min] for limit in whole], torch.typename(x), torch.typename(3),
        x.type(), x.type(torch.LongTensor), x.type(x.double().type()), torch.FloatTensor([1, 2]),
        torch.LongTensor(2, 3).shape, isinstance(x, torch.FloatTensor), isinstance(x, torch.LongTensor),
        torch.HalfTensor(x.shape).shape, torch.IntTensor([[1]]), *map(attempt, wrong),
    ]  # fmt: skip


def closeness(torch: Any) -> Any:
    close, t, nan = torch.testing.assert_close, torch.tensor, float("nan")
    pairs: list[Any] = [
        (t([1.0, 2.0]), t([1.0, 3.0])), (t([1, 2]), t([1, 4])), (1.0, 2.0), (t([1.0]), t([1.0]).double()),
        (t([1.0]), t([1.0, 2.0])), ([1.0, t([1.0])], [1.0, t([2.0])]), ({"a": t([1.0])}, {"b": t([1.0])}),
        ({"a": {"b": 1.0}}, {"a": {"b": 2.0}}), (t([nan]), t([nan])), ("a", "a"), (None, None),
        ([1.0], [1.0, 2.0]), (t([True]), t([False])), (1, 1.0), ((1.0,), [1.0]), (t([]), t([])), (t(1.0), t(2.0)),
        (None, 3), (t([float("inf")]), t([1.0])), (t([1.0]), t([1.0000011])), (t([1.0]), t([1.001]).half()),
    ]  # fmt: skip
    options: list[Any] = [
        {"rtol": 1.0}, {"rtol": 0, "atol": 0.5}, {"rtol": 0, "atol": 1}, {"msg": "hi"}, {"msg": lambda m: "so: " + m},
    ]  # fmt: skip
    found = [attempt(close, a, b) for a, b in pairs] + [attempt(close, *pairs[0], **option) for option in options]
    found += [attempt(close, *pairs[8], equal_nan=True), attempt(close, *pairs[3], check_dtype=False)]
    return [(type(error).__name__, str(error)) for error in found]


CODE = (
    own_functions, functions_that_change_their_input, wrong_backwards, gradients_of_a_batch, after_accumulation,
    gradcheck, functional, functions_of_functions, checkpoints, anomalies, variables, generators, more_data_sets,
    limits_and_types, closeness,
)  # fmt: skip


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.__name__)
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
