"""Layers and containers: their printed form, what they call, their initial values."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import pytest

import pycnn as torch
import pycnn.nn.functional as F
from pycnn import nn


def values(tensor) -> np.ndarray:
    return np.array(tensor.detach().numpy())


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
            "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        ),
        (
            lambda: nn.BatchNorm2d(3, momentum=None, bias=False, track_running_stats=False),
            "BatchNorm2d(3, eps=1e-05, momentum=None, affine=True, bias=False, track_running_stats=False)",
        ),
        (lambda: nn.LogSigmoid(), "LogSigmoid()"),
        (lambda: nn.ModuleList(), "ModuleList()"),
        (
            lambda: nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)]),
            "ModuleList(\n  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2): ReLU()\n"
            "  (3): Linear(in_features=2, out_features=2, bias=True)\n)",
        ),
        (
            lambda: nn.Sequential(nn.ModuleList([nn.Sequential(nn.ReLU(), nn.Tanh()) for _ in range(3)])),
            "Sequential(\n  (0): ModuleList(\n    (0-2): 3 x Sequential(\n      (0): ReLU()\n      (1): Tanh()\n    )\n"
            "  )\n)",
        ),
        (
            lambda: nn.ParameterList([torch.zeros(2, 3), 4]),
            "ParameterList(\n    (0): Parameter containing: [pycnn.float32 of size 2x3]\n"
            "    (1): Object of type: int\n)",
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


def test_printed_form_equals_pytorchs():
    pytorch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    builders = [
        lambda nn: nn.ModuleList([nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.BatchNorm3d(2, affine=False)]),
        lambda nn: nn.Sequential(nn.ModuleDict({"a": nn.ModuleList([nn.ReLU(), nn.ReLU()]), "b": nn.ModuleList()})),
        lambda nn: nn.Sequential(nn.MaxPool1d(2, return_indices=True), nn.AvgPool3d(2), nn.Unflatten(1, (2, 3))),
        lambda nn: nn.Sequential(nn.Softplus(), nn.Softmax(1), nn.Dropout2d(), nn.LocalResponseNorm(2), nn.SiLU()),
        lambda nn: nn.Sequential(
            nn.ReflectionPad2d(1), nn.ConstantPad1d((1, 2), 3.5), nn.ZeroPad3d(2), nn.CircularPad1d(1)
        ),
        lambda nn: nn.ConvTranspose3d(2, 4, 3, output_padding=(1, 0, 1), stride=2, groups=2, bias=False),
    ]
    for build in builders:
        assert repr(build(nn)) == repr(build(pytorch.nn))


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


def test_padding_layers():
    x = torch.arange(24.0).reshape(2, 3, 4)
    for layer, mode in (
        (nn.ReflectionPad1d, "reflect"),
        (nn.ReplicationPad1d, "replicate"),
        (nn.CircularPad1d, "circular"),
    ):
        assert torch.equal(layer((2, 1))(x), F.pad(x, (2, 1), mode=mode))
    assert torch.equal(nn.ZeroPad2d(1)(x), F.pad(x, (1, 1, 1, 1)))
    assert torch.equal(nn.ConstantPad2d((0, 1, 2, -1), 3.5)(x), F.pad(x, (0, 1, 2, -1), value=3.5))
    assert nn.ReflectionPad3d(1)(x[None]).shape == (1, 4, 5, 6) and nn.CircularPad2d(1)(x).shape == (2, 5, 6)
    assert nn.ReplicationPad3d((1, 0, 0, 0, 0, 2))(x[None]).shape == (1, 4, 3, 5)
    assert tuple(nn.ZeroPad2d((1, 2))(torch.zeros(1, 3, 4)).shape) == (1, 3, 7)


def test_bad_layer_arguments():
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="padding='same' is not supported for strided"):
        nn.Conv2d(3, 4, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match="Invalid padding string"):
        nn.Conv2d(3, 4, 3, padding="full")
    with pytest.raises(ValueError, match="dropout probability"):
        nn.Dropout(1.5)
    with pytest.raises(RuntimeError, match="conv2d"):
        nn.Conv2d(3, 4, (3, 3, 3))(torch.zeros(1, 3, 5, 5))


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


def test_batch_norm_without_bias():
    norm = nn.BatchNorm1d(2, bias=False)
    assert norm.bias is None and list(norm.state_dict())[:2] == ["weight", "running_mean"]
    x = torch.randn(5, 2)
    norm(x).sum().backward()
    assert np.allclose(values(norm(x)).mean(0), 0, atol=1e-6) and norm.weight.grad is not None


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
