"""Module, parameters, hooks and grad modes: names, rules, messages."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pycnn as torch
from pycnn import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(self.norm(self.conv(x))))


def values(tensor) -> np.ndarray:
    return np.array(tensor.detach().numpy())


# -- registration ------------------------------------------------------------------------------------------------------
def test_names_of_parameters_buffers_and_modules():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == [
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
    ]  # fmt: skip
    assert [name for name, _ in net.named_modules()] == [
        "",
        "conv",
        "norm",
        "body",
        "body.0",
        "body.1",
        "body.2",
        "head",
    ]
    assert [name for name, _ in net.named_children()] == ["conv", "norm", "body", "head"]
    assert net.get_submodule("body.1") is net.body[1]
    assert net.get_parameter("head.weight") is net.head.weight
    with pytest.raises(AttributeError, match="has no attribute `nothing`"):
        net.get_submodule("nothing")


def test_shared_members_are_listed_once():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert len(list(net.parameters())) == 2
    assert len(list(net.children())) == 2
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_assignment_rules():
    module = nn.Module()
    module.weight = nn.Parameter(torch.ones(2))
    with pytest.raises(
        TypeError, match=r"cannot assign '.*Tensor' as parameter 'weight' \(.*Parameter or None expected\)"
    ):
        module.weight = torch.ones(2)
    module.weight = None
    assert list(module.parameters()) == [] and module.weight is None
    module.child = nn.ReLU()
    with pytest.raises(TypeError, match="cannot assign 'int' as child module 'child'"):
        module.child = 3
    module.register_buffer("mean", torch.zeros(2))
    with pytest.raises(TypeError, match="cannot assign 'str' as buffer 'mean'"):
        module.mean = "0"
    module.mean = torch.ones(2)
    assert values(dict(module.named_buffers())["mean"]).tolist() == [1, 1]
    module.other = nn.Buffer(torch.zeros(1), persistent=False)
    assert [name for name, _ in module.named_buffers()] == ["mean", "other"]
    assert "other" not in module.state_dict()
    module.mean = nn.Parameter(torch.zeros(1))
    assert [name for name, _ in module.named_buffers()] == ["other"]
    del module.mean
    assert not hasattr(module, "mean")
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'mean'"):
        _ = module.mean


def test_registration_errors():
    module = nn.Module()
    with pytest.raises(KeyError, match="contain"):
        module.register_buffer("a.b", torch.zeros(1))
    with pytest.raises(KeyError, match="empty string"):
        module.register_parameter("", None)
    with pytest.raises(KeyError, match="already exists"):
        module.register_buffer("training", torch.zeros(1))
    with pytest.raises(TypeError, match="not a Module subclass"):
        module.add_module("x", 3)  # type: ignore[arg-type]


def test_members_before_init():
    class Broken(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(torch.ones(1))

    class Broken2(nn.Module):
        def __init__(self):
            self.child = nn.ReLU()

    with pytest.raises(AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"):
        Broken()
    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Broken2()


def test_parameter_requires_grad_and_prints_itself():
    parameter = nn.Parameter(torch.zeros(2))
    assert parameter.requires_grad and parameter.is_leaf and isinstance(parameter, torch.Tensor)
    assert not nn.Parameter(torch.zeros(2), requires_grad=False).requires_grad
    assert repr(parameter).startswith("Parameter containing:\ntensor(")
    assert isinstance(copy.deepcopy(parameter), nn.Parameter)
    again = pickle.loads(pickle.dumps(parameter))
    assert isinstance(again, nn.Parameter) and again.requires_grad


# -- state -------------------------------------------------------------------------------------------------------------
def test_state_dict_round_trip_and_copy():
    torch.manual_seed(1)
    first, second = Net(), Net()
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    assert str(second.load_state_dict(state)) == "<All keys matched successfully>"
    for name, tensor in second.state_dict().items():
        assert np.array_equal(values(tensor), values(state[name])), name
    assert not any(tensor.requires_grad for tensor in first.state_dict().values())


def test_load_state_dict_reports_everything_and_changes_nothing():
    net = Net()
    before = {name: values(tensor) for name, tensor in net.state_dict().items()}
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    del state["norm.bias"]
    state["extra"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(5, 4)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Net:\n\t")
    assert 'Missing key(s) in state_dict: "norm.bias". ' in message
    assert 'Unexpected key(s) in state_dict: "extra". ' in message
    assert "size mismatch for head.weight: copying a param with shape " in message
    assert "[5, 4]) from checkpoint, the shape in current model is " in message
    for name, tensor in net.state_dict().items():
        assert np.array_equal(values(tensor), before[name]), name


def test_load_state_dict_not_strict():
    net = nn.Linear(2, 1)
    result = net.load_state_dict({"weight": torch.ones(1, 2), "extra": torch.zeros(1)}, strict=False)
    assert result.missing_keys == ["bias"] and result.unexpected_keys == ["extra"]
    assert values(net.weight).tolist() == [[1, 1]]
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict({"weight": torch.ones(2, 2)}, strict=False)
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match='parameter named "weight"'):
        net.load_state_dict({"weight": 3, "bias": torch.zeros(1)})


def test_load_state_dict_casts_unless_it_assigns():
    net = nn.Linear(2, 1)
    wide = {name: tensor.double() for name, tensor in net.state_dict().items()}
    net.load_state_dict(wide)
    assert net.weight.dtype == torch.float32
    net.load_state_dict(wide, assign=True)
    assert net.weight.dtype == torch.float64 and net.weight.requires_grad


def test_extra_state():
    class Counting(nn.Linear):
        count = 3

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    module = Counting(1, 1)
    state = module.state_dict()
    assert state["_extra_state"] == {"count": 3}
    state["_extra_state"] = {"count": 7}
    module.load_state_dict(state)
    assert module.count == 7
    del state["_extra_state"]
    with pytest.raises(RuntimeError, match="_extra_state"):
        module.load_state_dict(state)


def test_deepcopy_and_pickle():
    net = Net()
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [name for name, _ in again.named_parameters()] == [name for name, _ in net.named_parameters()]
        assert np.array_equal(values(again.head.weight), values(net.head.weight))
        with torch.no_grad():
            again.head.weight.zero_()
        assert np.any(values(net.head.weight) != 0)


# -- modes and conversions ---------------------------------------------------------------------------------------------
def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert all(module.training for module in net.train().modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")  # type: ignore[arg-type]


def test_conversions_keep_parameter_objects_and_integers():
    net = Net()
    weight = net.head.weight
    assert net.double() is net
    assert net.head.weight is weight and weight.dtype == torch.float64 and weight.requires_grad
    assert net.norm.running_mean.dtype == torch.float64
    assert net.norm.num_batches_tracked.dtype == torch.int64
    assert net(torch.zeros(2, 1, 5, 5, dtype=torch.float64)).dtype == torch.float64
    assert net.to(torch.float32).head.weight.dtype == torch.float32
    assert net.to("cpu", torch.float64).to(torch.zeros(1)).head.weight.dtype == torch.float32
    assert net.to(memory_format=torch.channels_last).cpu().float() is net
    with pytest.raises(TypeError, match="only accepts floating point"):
        net.to(torch.int64)
    assert net.half().head.weight.dtype == torch.float16 and net.bfloat16().head.weight.dtype == torch.bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_modules_do_not_move_to_a_gpu_that_is_not_there():
    net = nn.Linear(1, 1)
    for move in (lambda: net.to("cuda"), net.cuda, lambda: net.cuda(0)):
        with pytest.raises(RuntimeError, match="CUDA is not available"):
            move()


def test_apply_goes_children_first():
    seen = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["ReLU", "Tanh", "Sequential", "Sequential"]


def test_zero_grad_and_requires_grad():
    net = nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    assert net.weight.grad is not None
    net.zero_grad(set_to_none=False)
    assert values(net.weight.grad).tolist() == [[0, 0]]
    net.zero_grad()
    assert net.weight.grad is None
    net.requires_grad_(False)
    assert not net(torch.ones(1, 2)).requires_grad


# -- hooks -------------------------------------------------------------------------------------------------------------
def test_forward_hooks():
    net = nn.Linear(2, 2)
    seen = []
    first = net.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    second = net.register_forward_hook(lambda module, args, output: seen.append(values(args[0]).tolist()) or output + 1)
    x = torch.ones(1, 2)
    hooked = values(net(x))
    second.remove()
    plain = values(net(x))
    assert seen == [[[2, 2]]]
    assert np.allclose(hooked, plain + 1)
    first.remove()
    first.remove()
    assert np.array_equal(values(net(x)), values(net.forward(x)))


def test_forward_hooks_with_keywords_and_order():
    class Scale(nn.Module):
        def forward(self, x, factor=1):
            return x * factor

    net = Scale()
    order = []
    net.register_forward_pre_hook(lambda *_: order.append("second"))
    net.register_forward_pre_hook(lambda *_: order.append("first"), prepend=True)
    net.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"factor": kwargs["factor"] + 1}), with_kwargs=True
    )
    assert net(torch.ones(1), factor=2).item() == 3
    assert order == ["first", "second"]


def test_full_backward_hooks():
    net = nn.Linear(3, 2)
    seen = {}

    def hook(module, grad_input, grad_output):
        seen["input"], seen["output"] = grad_input, grad_output
        return (grad_input[0] * 2,)

    handle = net.register_full_backward_hook(hook)
    x = torch.ones(1, 3, requires_grad=True)
    net(x).sum().backward()
    assert values(seen["output"][0]).tolist() == [[1, 1]]
    assert np.allclose(values(seen["input"][0]), values(net.weight).sum(0))
    assert np.allclose(values(x.grad), 2 * values(net.weight).sum(0))
    handle.remove()
    x.grad = None
    net(x).sum().backward()
    assert np.allclose(values(x.grad), values(net.weight).sum(0))


# -- grad modes --------------------------------------------------------------------------------------------------------
def test_grad_modes_as_blocks_and_decorators():
    @torch.no_grad()
    def first():
        return torch.is_grad_enabled()

    @torch.no_grad
    def second():
        return torch.is_grad_enabled()

    @torch.no_grad()
    def generate():
        while True:
            yield torch.is_grad_enabled()

    assert not first() and not second() and torch.is_grad_enabled()
    generator = generate()
    assert next(generator) is False and torch.is_grad_enabled() and next(generator) is False
    with torch.no_grad():
        with torch.enable_grad():
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    with pytest.raises(KeyError), torch.no_grad():
        raise KeyError
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


def test_function_in_python():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            assert ctx.needs_input_grad == (True, False)
            return scale * x**3

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * ctx.scale * 3 * x**2, None

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = Cube.apply(x, 2)
    assert values(y).tolist() == [2, 16]
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert values(first).tolist() == [6, 24]
    (second,) = torch.autograd.grad(first.sum(), x)
    assert values(second).tolist() == [12, 24]


def test_function_errors_and_options():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return gradient, gradient

    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"incorrect number of gradients \(expected 1, got 2\)"):
        Wrong.apply(x).sum().backward()

    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            indices = x.argmax()
            ctx.mark_non_differentiable(indices)
            ctx.set_materialize_grads(False)
            return x * 2, x * 3, indices

        @staticmethod
        def backward(ctx, first, second, _):
            assert second is None
            return first * 2

    doubled, _, where = Two.apply(x)
    assert not where.requires_grad
    doubled.sum().backward()
    assert values(x.grad).tolist() == [2, 2]

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.once_differentiable
        def backward(ctx, gradient):
            return gradient * 2 * ctx.saved_tensors[0]

    (gradient,) = torch.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    assert values(gradient).tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()
