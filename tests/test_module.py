"""Module, containers, parameters, initial values, hooks and grad modes: names, rules, messages, printed form."""

from __future__ import annotations

import copy
import math
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import pycnn as torch
import pycnn.nn.functional as F
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
    with pytest.raises(RuntimeError):
        net.to("cuda")


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


# -- printed form ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("module", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3), "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))"),
        (
            lambda: nn.Conv2d(4, 4, 3, 2, "valid", 2, 2, False, "reflect"),
            "Conv2d(4, 4, kernel_size=(3, 3), stride=(2, 2), padding=valid, dilation=(2, 2), groups=2, bias=False, "
            "padding_mode=reflect)",
        ),
        (
            lambda: nn.ConvTranspose1d(2, 3, 4, 2, 1, 1),
            "ConvTranspose1d(2, 3, kernel_size=(4,), stride=(2,), padding=(1,), output_padding=(1,))",
        ),
        (lambda: nn.MaxPool2d(2), "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)"),
        (lambda: nn.AvgPool1d(3, 1), "AvgPool1d(kernel_size=(3,), stride=(1,), padding=(0,))"),
        (lambda: nn.AdaptiveAvgPool2d((2, None)), "AdaptiveAvgPool2d(output_size=(2, None))"),
        (lambda: nn.Linear(2, 3, bias=False), "Linear(in_features=2, out_features=3, bias=False)"),
        (
            lambda: nn.BatchNorm1d(3),
            "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
        ),
        (lambda: nn.ReLU(inplace=True), "ReLU(inplace=True)"),
        (lambda: nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (lambda: nn.Dropout(0.1), "Dropout(p=0.1, inplace=False)"),
        (lambda: nn.GELU(), "GELU(approximate='none')"),
        (lambda: nn.CrossEntropyLoss(), "CrossEntropyLoss()"),
        (lambda: nn.LocalResponseNorm(5), "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)"),
        (
            lambda: nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Sequential(nn.Tanh()))),
            "Sequential(\n  (a): ReLU()\n  (b): Sequential(\n    (0): Tanh()\n  )\n)",
        ),
    ],
)
def test_printed_form(module, text):
    assert repr(module()) == text


# -- containers --------------------------------------------------------------------------------------------------------
def test_sequential_is_a_list():
    net = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    assert len(net) == 3 and isinstance(net[-1], nn.Sigmoid)
    assert [type(module).__name__ for module in net[1:]] == ["Tanh", "Sigmoid"]
    del net[0]
    assert list(net._modules) == ["0", "1"]
    net.append(nn.ReLU()).insert(0, nn.ELU())
    assert [type(module).__name__ for module in net] == ["ELU", "Tanh", "Sigmoid", "ReLU"]
    net[1] = nn.SiLU()
    assert isinstance(net[1], nn.SiLU)
    with pytest.raises(IndexError, match="index 4 is out of range"):
        net[4]


def test_module_list_and_dict():
    modules = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    modules.append(nn.ReLU())
    modules += [nn.Tanh()]
    assert len(modules) == 4 and len(list(modules.parameters())) == 4
    assert isinstance(modules[1:], nn.ModuleList) and len(modules[1:]) == 3
    assert isinstance(modules.pop(-1), nn.Tanh) and len(modules) == 3
    named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    named["c"] = nn.Tanh()
    assert list(named) == ["a", "b", "c"] and "b" in named
    del named["a"]
    assert list(named.keys()) == ["b", "c"]


def test_parameter_list_and_dict():
    listed = nn.ParameterList([torch.zeros(2), nn.Parameter(torch.ones(1))])
    listed.append(torch.zeros(3))
    assert all(isinstance(value, nn.Parameter) for value in listed)
    assert [name for name, _ in listed.named_parameters()] == ["0", "1", "2"]
    named = nn.ParameterDict({"a": torch.zeros(2)})
    named["b"] = torch.ones(2)
    assert sorted(named.state_dict()) == ["a", "b"]
    assert named.pop("a") is not None and "a" not in named


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


# -- layers ------------------------------------------------------------------------------------------------------------
def test_layers_call_their_functions():
    x = torch.randn(2, 4, 8, 8)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    assert np.array_equal(values(conv(x)), values(F.conv2d(x, conv.weight, conv.bias, 2, 1, 1, 2)))
    assert nn.ConvTranspose2d(4, 3, 2, stride=2)(x).shape == (2, 3, 16, 16)
    assert nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1)(x, output_size=(16, 16)).shape == (2, 3, 16, 16)
    assert nn.Conv2d(4, 2, 3, padding="same", padding_mode="zeros")(x).shape == (2, 2, 8, 8)
    for mode in ("reflect", "replicate", "circular"):
        conv = nn.Conv2d(4, 2, 3, 2, (1, 2), padding_mode=mode)
        expected = F.conv2d(F.pad(x, (2, 2, 1, 1), mode=mode), conv.weight, conv.bias, 2)
        assert np.array_equal(values(conv(x)), values(expected))
        assert nn.Conv1d(8, 3, 4, padding="same", padding_mode=mode)(x[:, 0]).shape == (2, 3, 8)
        assert nn.Conv3d(1, 2, 3, padding=1, padding_mode=mode)(x[:, None]).shape == (2, 2, 4, 8, 8)
    pooled, where = nn.MaxPool2d(2, return_indices=True)(x)
    assert pooled.shape == where.shape == (2, 4, 4, 4) and where.dtype == torch.int64
    assert nn.Maxout(2)(x).shape == (2, 2, 8, 8)
    assert nn.Unflatten(1, (2, 2))(x).shape == (2, 2, 2, 8, 8)
    assert nn.Identity("ignored")(x) is x
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(4)(torch.zeros(2, 4))


def test_bad_layer_arguments():
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="padding='same' is not supported for strided"):
        nn.Conv2d(3, 4, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="Invalid padding string"):
        nn.Conv2d(3, 4, 3, padding="full")
    with pytest.raises(ValueError, match="dropout probability"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="kernel_size"):
        nn.Conv2d(3, 4, (3, 3, 3))


def test_batch_norm_tracks_batches():
    norm = nn.BatchNorm1d(2, momentum=None)
    batches = [np.arange(6, dtype=np.float32).reshape(3, 2) * scale for scale in (1, 3)]
    for batch in batches:
        norm(torch.tensor(batch))
    assert norm.num_batches_tracked.item() == 2
    assert np.allclose(values(norm.running_mean), np.mean([batch.mean(0) for batch in batches], 0))
    assert np.allclose(values(norm.running_var), np.mean([batch.var(0, ddof=1) for batch in batches], 0))
    norm.eval()
    norm(torch.zeros(1, 2))
    assert norm.num_batches_tracked.item() == 2
    assert nn.BatchNorm1d(2, affine=False, track_running_stats=False).state_dict() == {}


def test_inplace_relu_changes_its_input():
    x = torch.tensor([-1.0, 2.0])
    y = nn.ReLU(inplace=True)(x)
    assert values(x).tolist() == [0, 2] == values(y).tolist()


def test_dropout_only_drops_in_training():
    layer = nn.Dropout(0.5)
    x = torch.ones(1000)
    dropped = values(layer(x))
    assert set(np.unique(dropped)) == {0, 2} and 350 < (dropped == 0).sum() < 650
    assert np.array_equal(values(layer.eval()(x)), values(x))


# -- initial values ----------------------------------------------------------------------------------------------------
def test_default_initial_values_have_pytorchs_range():
    conv = nn.Conv2d(8, 64, 3)
    bound = 1 / math.sqrt(8 * 9)
    for tensor in (conv.weight, conv.bias):
        drawn = values(tensor)
        assert np.abs(drawn).max() <= bound and np.abs(drawn).max() > 0.9 * bound
    assert abs(values(conv.weight).std() - bound / math.sqrt(3)) < 0.02 * bound
    assert np.abs(values(nn.Linear(100, 200).weight)).max() <= 0.1


def test_init_functions():
    weight = nn.Parameter(torch.empty(256, 64))
    assert abs(values(nn.init.kaiming_normal_(weight, nonlinearity="relu")).std() - math.sqrt(2 / 64)) < 0.01
    assert abs(values(nn.init.xavier_normal_(weight)).std() - math.sqrt(2 / 320)) < 0.005
    assert np.abs(values(nn.init.glorot_uniform_(weight))).max() <= math.sqrt(6 / 320)
    assert np.abs(values(nn.init.kaiming_uniform_(weight, mode="fan_out"))).max() <= math.sqrt(2) * math.sqrt(3 / 256)
    assert np.abs(values(nn.init.trunc_normal_(weight, std=2.0, a=-1, b=1))).max() <= 1
    q = values(nn.init.orthogonal_(weight)).astype(np.float64)
    assert np.allclose(q.T @ q, np.eye(64), atol=1e-5)
    assert np.array_equal(values(nn.init.eye_(nn.Parameter(torch.empty(2, 3)))), np.eye(2, 3))
    assert values(nn.init.constant_(weight, 0.5)).min() == 0.5 and weight.requires_grad and weight.is_leaf
    dirac = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    nn.init.dirac_(dirac.weight)
    x = torch.randn(1, 3, 5, 5)
    assert np.array_equal(values(dirac(x)), values(x))
    assert nn.init.calculate_gain("relu") == math.sqrt(2)
    assert nn.init.calculate_gain("leaky_relu", 1) == 1
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("cube")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(torch.zeros(3))


def test_utilities_over_parameters():
    net = nn.Linear(2, 2)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (6,)
    nn.utils.vector_to_parameters(torch.arange(6.0), net.parameters())
    assert values(net.weight).tolist() == [[0, 1], [2, 3]] and values(net.bias).tolist() == [4, 5]
    net(torch.ones(1, 2)).sum().backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert abs(norm.item() - math.sqrt(6)) < 1e-5
    assert abs(sum((values(p.grad) ** 2).sum() for p in net.parameters()) - 1) < 1e-4


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


# -- the package -------------------------------------------------------------------------------------------------------
def test_package_accepts_what_pytorch_code_says_in_passing():
    with torch.autocast("cpu", enabled=False):
        pass
    with pytest.raises(NotImplementedError):
        torch.autocast("cpu")
    assert not torch.cuda.is_available()
    assert str(torch.device("cpu")) == "cpu"
    assert torch.nn is nn and torch.optim.SGD is not None and torch.utils.data.DataLoader is not None
    assert isinstance(torch.__version__, str)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = torch.nonsense
    net = nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last)
    assert net(torch.zeros(1, 1, 4, 4)).shape == (1, 2, 2, 2)
