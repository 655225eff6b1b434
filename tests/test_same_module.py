"""Modules, containers and state dicts: the same code gives the same with PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import both
import pytest
from both import attempt


def tree(torch: Any) -> Any:
    class Leaf(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(2, 2)
            self.register_buffer("kept", torch.ones(2))
            self.register_buffer("scratch", torch.zeros(1), persistent=False)

        def forward(self, x: Any) -> Any:
            return self.linear(x) + self.kept

    class Tree(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))
            self.first = Leaf()
            self.again = self.first
            self.chain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), Leaf())
            self.register_parameter("absent", None)
            self.register_buffer("no_buffer", None)
            self.add_module("no_module", None)

        def forward(self, x: Any) -> Any:
            return self.chain(self.first(x))

    net = Tree()
    for i, parameter in enumerate(net.parameters()):
        parameter.data.fill_(0.1 * i)
    return net


def names(torch: Any) -> Any:
    net = tree(torch)
    return [
        [name for name, _ in walk]
        for walk in (
            net.named_modules(), net.named_modules(remove_duplicate=False), net.named_modules(prefix="p"),
            net.named_parameters(), net.named_parameters(prefix="p", recurse=False),
            net.named_parameters(remove_duplicate=False), net.named_buffers(), net.named_buffers(recurse=False),
            net.named_buffers(prefix="p", remove_duplicate=False), net.named_children(),
        )
    ]  # fmt: skip


def members(torch: Any) -> Any:
    net = tree(torch)
    net.set_submodule("chain.1", torch.nn.Tanh())
    gets = [
        (net.get_submodule, ("chain.2.linear", "", "chain.9", "weight", "first.linear.weight")),
        (net.get_parameter, ("first.linear.weight", "none", "first.kept", "first.linear")),
        (net.get_buffer, ("first.kept", "first.linear.weight", "first.none", "none.none")),
    ]
    sets = [
        attempt(net.set_submodule, target, torch.nn.Tanh(), strict)
        for target, strict in (("", False), ("first.kept.c", False), ("first.none", True), ("first.kept", False))
    ]
    return [attempt(get, target) for get, targets in gets for target in targets], sets, repr(net)


def refusals(torch: Any) -> Any:
    nn, net = torch.nn, torch.nn.Module()

    def assign(name: str, value: Any) -> Any:
        layer = nn.Linear(2, 2)
        layer.register_buffer("buffer", torch.ones(1))
        layer.child = nn.ReLU()
        setattr(layer, name, value)
        return layer

    calls = [
        *((net.register_buffer, name, torch.ones(1)) for name in ("a.b", "", "training", 3)),
        (net.register_buffer, "x", 3), (net.register_parameter, "x", torch.ones(1)),
        *((net.register_parameter, name, None) for name in ("a.b", "", "forward")),
        (net.register_parameter, "x", nn.Parameter(torch.ones(1)) * 2),
        *((net.add_module, name, nn.ReLU()) for name in ("a.b", "", "forward", 3)), (net.add_module, "x", 3),
        (net, 3), (net.train, "a"), (nn.Module, 3), (delattr, net, "none"), (getattr, net, "none"),
        *((assign, name, 3) for name in ("weight", "buffer", "child")), (assign, "weight", torch.ones(2, 2)),
        *((assign, name, None) for name in ("weight", "buffer", "child")), (net.to, torch.int64),
    ]  # fmt: skip
    return [attempt(*call) for call in calls]


def state_dicts(torch: Any) -> Any:
    net = tree(torch)
    state = net.state_dict()
    wrong = OrderedDict(state)
    del wrong["weight"]
    wrong["extra"] = torch.ones(1)
    loose = net.load_state_dict(wrong, strict=False)
    wrong["first.kept"] = torch.ones(3)
    return [
        state, dict(state._metadata), list(net.state_dict(prefix="p.", keep_vars=True)), str(loose),
        str(net.load_state_dict(state)), attempt(net.load_state_dict, wrong), attempt(net.load_state_dict, [1]),
        attempt(net.load_state_dict, wrong, strict=False), attempt(net.load_state_dict, {**state, "weight": 3}),
    ]  # fmt: skip


def assigned_state(torch: Any) -> Any:
    net = torch.nn.Linear(2, 2).double()
    values = {"weight": torch.ones(2, 2), "bias": torch.zeros(2)}
    net.load_state_dict(values, assign=True)
    return net.weight, net.weight.requires_grad, net.weight.data_ptr() == values["weight"].data_ptr()


def state_hooks(torch: Any) -> Any:
    net, seen = tree(torch), []
    net.register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append((prefix, keep_vars)))
    net.first.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.pop(prefix + "kept") and None)
    net.again._register_state_dict_hook(lambda module, state, prefix, metadata: seen.append((prefix, metadata)))
    refused = attempt(net.state_dict)
    net.first._state_dict_hooks.popitem(last=False)
    state = net.state_dict()

    def fill(module: Any, state: Any, prefix: str, metadata: Any, strict: bool, *lists: Any) -> None:
        seen.append((prefix, strict, [len(each) for each in lists]))
        state[prefix + "kept"] = torch.full((2,), 7.0)

    def forgive(module: Any, keys: Any) -> None:
        seen.append((list(keys.missing_keys), list(keys.unexpected_keys)))
        keys.missing_keys.clear()

    net.first.register_load_state_dict_pre_hook(fill)
    net.register_load_state_dict_post_hook(forgive)
    del state["weight"]
    return refused, seen, str(net.load_state_dict(state)), net.first.kept


def extra_state(torch: Any) -> Any:
    class Counter(torch.nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    state, other = Counter(3).state_dict(), Counter(1)
    other.load_state_dict(state)
    return state, other.count, attempt(other.load_state_dict, {}), attempt(torch.nn.ReLU().load_state_dict, state)


def calls_and_hooks(torch: Any) -> Any:
    net, seen = tree(torch), []
    net.chain[2] = torch.nn.Linear(2, 2)

    def note(name: str) -> Any:
        return lambda module, *rest: seen.append((name, type(module).__name__, [len(part) for part in rest[:2]]))

    handles = [
        net.first.register_forward_hook(note("forward")), net.chain.register_forward_pre_hook(note("pre")),
        net.chain.register_full_backward_hook(note("backward")),
        net.chain[0].register_full_backward_pre_hook(note("backward pre")),
        net.register_forward_hook(lambda module, args, kwargs, out: seen.append(sorted(kwargs)), with_kwargs=True),
        net.register_forward_hook(note("first"), prepend=True),
        net.first.linear.register_backward_hook(lambda module, of_inputs, of_outputs: seen.append(len(of_outputs))),
    ]  # fmt: skip
    x = torch.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    both_kinds = attempt(net.chain.register_backward_hook, note("both"))
    for handle in handles:
        handle.remove()
    net(x)
    return seen, both_kinds


def hooks_of_all_modules(torch: Any) -> Any:
    everywhere, seen = torch.nn.modules.module, []
    handles = [
        everywhere.register_module_forward_pre_hook(lambda m, args: seen.append(("pre", type(m).__name__))),
        everywhere.register_module_forward_hook(lambda m, args, out: seen.append(("forward", type(m).__name__))),
        everywhere.register_module_full_backward_hook(lambda m, *grads: seen.append(("backward", type(m).__name__))),
        everywhere.register_module_parameter_registration_hook(lambda m, name, p: seen.append(name)),
        everywhere.register_module_module_registration_hook(lambda m, name, child: seen.append(name)),
        everywhere.register_module_buffer_registration_hook(lambda m, name, buffer: seen.append(name)),
    ]
    try:
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        net(torch.ones(2, 2, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    return seen


def hooks_called_always(torch: Any) -> Any:
    class Failing(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("no")

    net, seen = Failing(), []
    net.register_forward_hook(lambda module, args, out: seen.append(("always", out)), always_call=True)
    net.register_forward_hook(lambda module, args, out: seen.append("never"))
    return attempt(net, 1), seen


def sequential(torch: Any) -> Any:
    nn = torch.nn
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    net[1] = nn.Tanh()
    del net[0]
    net.append(nn.ReLU()).insert(0, nn.Sigmoid()).extend(nn.Sequential(nn.ELU()))
    longer = net + nn.Sequential(nn.Tanh())
    longer += nn.Sequential(nn.ELU())
    twice = 2 * nn.Sequential(nn.ReLU())
    twice *= 2
    wrong = [
        lambda: net[9],
        lambda: net[-9],
        lambda: net * 0,
        lambda: net * "a",
        lambda: net + 3,
        lambda: net.append(3),
    ]
    wrong += [lambda: net.insert(99, nn.ReLU()), lambda: net.insert(0, 3), lambda: nn.Sequential(3)]
    return [*map(repr, (net, net[1:], longer, twice, twice.pop(0), twice)), *map(attempt, wrong)]


def dictionaries(torch: Any) -> Any:
    nn = torch.nn
    modules = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Tanh()})
    modules.update([["z", nn.ELU()]])
    modules.update(nn.ModuleDict({"q": nn.ReLU()}))
    parameters = nn.ParameterDict({"b": torch.ones(2), "a": torch.zeros(1)})
    parameters |= nn.ParameterDict({"w": torch.ones(1)})
    found = [parameters.setdefault("k", torch.ones(1)), parameters.setdefault("a"), parameters.get("none", 5)]
    more = [list(parameters.copy()), list(reversed(parameters)), list(parameters.fromkeys(["x", "y"], torch.ones(1)))]
    wrong = [
        lambda: modules["none"], lambda: modules.update(3), lambda: modules.update([3]), lambda: modules(3),
        lambda: modules.update([[1, 2, 3]]), lambda: modules.update({"forward": nn.ReLU()}), lambda: parameters["none"],
        lambda: parameters.update(3), lambda: parameters(3), lambda: modules.pop("none"),
    ]  # fmt: skip
    listed = [list(modules), repr(modules.pop("a")), list(parameters.items()), list(parameters.state_dict())]
    popped = [parameters.popitem()[0], parameters.pop("a"), list(parameters)]
    parameters.clear()
    return [*listed, *found, *more, *popped, len(parameters), *map(attempt, wrong)]


def fusion(torch: Any) -> Any:
    utils, nn = torch.nn.utils, torch.nn
    pairs = [
        (nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), utils.fuse_conv_bn_eval, (), (2, 2, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), utils.fuse_conv_bn_eval, (True,), (2, 2, 5, 5)),
        (nn.Linear(2, 3), nn.BatchNorm1d(3), utils.fuse_linear_bn_eval, (), (4, 2)),
    ]
    results = []
    for layer, norm, fuse, options, shape in pairs:
        for tensor in (*layer.parameters(), *norm.parameters(), norm.running_mean, norm.running_var):
            tensor.data.copy_(torch.linspace(0.5, 1.5, tensor.numel()).reshape(tensor.shape))
        results.append(attempt(fuse, layer, norm, *options))
        layer.eval(), norm.eval()
        fused = fuse(layer, norm, *options)
        x = torch.linspace(-1, 1, 2 * shape[0] * shape[-1] ** (len(shape) - 2)).reshape(shape)
        results += [fused(x) - norm(layer(x)) + 1, fused.weight, fused.bias, fused.weight.requires_grad]
    return results


def gradients_of_convolutions(torch: Any) -> Any:
    results = []
    for rank in (1, 2, 3):
        x, weight = torch.linspace(-1, 1, 4 * 5**rank).reshape(1, 4, *[5] * rank), torch.ones(2, 2, *[3] * rank)
        weight = weight * torch.arange(3.0)
        output = getattr(torch.nn.functional, f"conv{rank}d")(x, weight, None, 2, 1, 1, 2)
        for kind, operands in (("input", (x.shape, weight)), ("weight", (x, weight.shape))):
            of = getattr(torch.nn.grad, f"conv{rank}d_{kind}")
            results.append(of(*operands, output, stride=2, padding=1, groups=2))
    return results


def older_names(torch: Any) -> Any:
    init, modules = torch.nn.init, torch.nn.modules
    with pytest.warns(FutureWarning, match="constant_"):
        filled = init.constant(torch.empty(2), 3.0)
    state = OrderedDict({"module.a": 1, "b": 2})
    modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    parallel = torch.nn.DataParallel(torch.nn.Linear(2, 2))
    return [
        filled, modules.utils._pair(3), modules.utils._triple((1, 2, 3)), state, list(parallel.state_dict()),
        modules.conv.Conv2d is torch.nn.Conv2d, modules.Linear is torch.nn.Linear,
        torch.nn.utils.skip_init(torch.nn.Linear, 2, 3).weight.shape,
        issubclass(modules.batchnorm.BatchNorm2d, torch.nn.Module),
    ]  # fmt: skip


CODE = (
    names, members, refusals, state_dicts, assigned_state, state_hooks, extra_state, calls_and_hooks,
    hooks_of_all_modules, hooks_called_always, sequential, dictionaries, fusion,
    gradients_of_convolutions, older_names,
)  # fmt: skip


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.__name__)
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
