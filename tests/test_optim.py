"""SGD and the learning-rate schedules against their formulas and PyTorch."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import pycnn
from pycnn import nn, optim
from pycnn.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR

SETTINGS = [
    {"lr": 0.1},
    {"lr": 0.1, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"lr": 0.1, "momentum": 0.5, "maximize": True},
]


def values(tensor) -> np.ndarray:
    return np.array(tensor.detach().numpy())


def reference(start, gradients, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """SGD as its documentation states it, in float64."""
    p, v = start.astype(np.float64), None
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            v = g if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p, v


@pytest.mark.parametrize("settings", SETTINGS)
def test_sgd_follows_its_formula(settings):
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((5, 3, 4))
    parameter = nn.Parameter(pycnn.tensor(start))
    optimizer = optim.SGD([parameter], **settings)
    for gradient in gradients:
        parameter.grad = pycnn.tensor(gradient)
        optimizer.step()
        optimizer.zero_grad()
        assert parameter.grad is None
    expected, velocity = reference(start, gradients, **settings)
    assert np.allclose(values(parameter), expected, rtol=1e-12, atol=0)
    if velocity is None:
        assert optimizer.state_dict()["state"] == {}
    else:
        assert np.allclose(values(optimizer.state[parameter]["momentum_buffer"]), velocity, rtol=1e-12, atol=0)
    assert parameter.requires_grad and parameter.is_leaf


@pytest.mark.parametrize("settings", SETTINGS)
def test_sgd_equals_pytorch(settings):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    rng = np.random.default_rng(1)
    start = rng.standard_normal((4, 5)).astype(np.float32)
    ours, theirs = nn.Parameter(pycnn.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    first, second = optim.SGD([ours], **settings), torch.optim.SGD([theirs], **settings)
    for _ in range(5):
        gradient = rng.standard_normal((4, 5)).astype(np.float32)
        ours.grad, theirs.grad = pycnn.tensor(gradient), torch.tensor(gradient)
        first.step()
        second.step()
    assert np.allclose(values(ours), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    own, other = first.state_dict(), second.state_dict()
    assert set(own["param_groups"][0]) == set(other["param_groups"][0])
    assert set(own["state"]) == set(other["state"])


def test_parameters_without_gradient_stay():
    a, b = nn.Parameter(pycnn.ones(2)), nn.Parameter(pycnn.ones(2))
    optimizer = optim.SGD([a, b], lr=1.0, weight_decay=0.5)
    a.grad = pycnn.ones(2)
    optimizer.step()
    assert values(a).tolist() == [-0.5, -0.5] and values(b).tolist() == [1, 1]


def test_old_values_survive_a_step():
    parameter = nn.Parameter(pycnn.ones(3))
    kept = parameter.detach().clone()
    loss = (parameter * parameter).sum()
    optimizer = optim.SGD([parameter], lr=0.5)
    loss.backward()
    optimizer.step()
    assert values(kept).tolist() == [1, 1, 1] and values(parameter).tolist() == [0, 0, 0] and loss.item() == 3


def test_groups():
    a, b = nn.Parameter(pycnn.zeros(1)), nn.Parameter(pycnn.zeros(1))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.1)
    c = nn.Parameter(pycnn.zeros(1))
    optimizer.add_param_group({"params": [c], "lr": 2.0})
    for parameter in (a, b, c):
        parameter.grad = pycnn.ones(1)
    optimizer.step()
    assert [round(parameter.item(), 6) for parameter in (a, b, c)] == [-0.1, -1.0, -2.0]
    assert "Parameter Group 2" in repr(optimizer) and "lr: 2.0" in repr(optimizer)


def test_closure_gives_the_loss():
    parameter = nn.Parameter(pycnn.tensor([2.0]))
    optimizer = optim.SGD([parameter], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    with pycnn.no_grad():
        assert optimizer.step(closure).item() == 4
    assert parameter.item() == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lr": -1}, ValueError, "Invalid learning rate: -1"),
        ({"momentum": -0.1}, ValueError, "Invalid momentum value: -0.1"),
        ({"weight_decay": -1}, ValueError, "Invalid weight_decay value: -1"),
        ({"nesterov": True}, ValueError, "Nesterov momentum requires a momentum and zero dampening"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        optim.SGD([nn.Parameter(pycnn.zeros(1))], **arguments)


def test_bad_parameters():
    parameter = nn.Parameter(pycnn.zeros(1))
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([])
    with pytest.raises(TypeError, match="iterable of Tensors or dicts"):
        optim.SGD(parameter)
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        optim.SGD([3])
    with pytest.raises(ValueError, match="non-leaf"):
        optim.SGD([parameter * 2])
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [parameter]}, {"params": [parameter]}])
    with pytest.raises(TypeError, match="ordered collections"):
        optim.SGD([{"params": {parameter}}])


def test_duplicate_parameters_are_updated_twice_after_a_warning():
    first, second = nn.Parameter(pycnn.ones(1)), nn.Parameter(pycnn.ones(1))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([first, first, second], lr=0.25)
    (first + second).sum().backward()
    optimizer.step()
    assert (first.item(), second.item()) == (0.5, 0.75)
    assert optimizer.state_dict()["param_groups"][0]["params"] == [1, 1, 2]


def test_state_dict_resumes():
    def make():
        pycnn.manual_seed(3)
        net = nn.Linear(3, 2)
        return net, optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def steps(net, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            (net(pycnn.ones(1, 3)) ** 2).sum().backward()
            optimizer.step()

    net, optimizer = make()
    steps(net, optimizer, 2)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    steps(net, optimizer, 2)
    again, resumed = make()
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    steps(again, resumed, 2)
    assert np.array_equal(values(net.weight), values(again.weight))
    assert saved[1]["param_groups"][0]["params"] == [0, 1] and sorted(saved[1]["state"]) == [0, 1]
    with pytest.raises(ValueError, match="different number of parameter groups"):
        resumed.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="doesn't match the size"):
        resumed.load_state_dict({"state": {}, "param_groups": [{"params": [0]}]})


@pytest.mark.parametrize("name", ["LBFGS", "Muon"])
def test_state_of_a_step_with_a_closure_crosses(name, tmp_path):
    """To PyTorch and back in files; the steps after that are the same."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    start = np.random.default_rng(0).standard_normal((4, 3))

    def begin(package, state=None):
        parameter = package.nn.Parameter(package.tensor(start))
        optimizer = getattr(package.optim, name)([parameter], lr=0.01)
        if state is not None:
            optimizer.load_state_dict(state)

        def closure():
            optimizer.zero_grad()
            loss = ((parameter - 1) ** 2 * (1 + parameter**2)).sum()
            loss.backward()
            return loss

        return optimizer, closure, parameter

    made = {}
    for package, path in ((pycnn, tmp_path / "ours.pt"), (torch, tmp_path / "theirs.pt")):
        optimizer, closure, _ = begin(package)
        for _ in range(3):
            optimizer.step(closure)
        package.save(optimizer.state_dict(), path)
    for package, path in ((pycnn, tmp_path / "theirs.pt"), (torch, tmp_path / "ours.pt")):
        optimizer, closure, parameter = begin(package, package.load(path))
        optimizer.step(closure)
        made[package] = parameter.detach().numpy()
    # Muon's iteration has eight bits.
    tolerance = 1e-9 if name == "LBFGS" else 5e-4
    np.testing.assert_allclose(made[pycnn], made[torch], rtol=0, atol=tolerance)


def test_interrupted_step_leaves_all_parameters_old_or_all_new(monkeypatch):
    net = nn.Linear(2, 2)
    optimizer = optim.SGD(net.parameters(), lr=1.0, momentum=0.9)
    net(pycnn.ones(1, 2)).sum().backward()
    before = [values(parameter) for parameter in net.parameters()]
    gradients = [values(parameter.grad) for parameter in net.parameters()]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pycnn._core.eval", interrupted)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
    after = [values(parameter) for parameter in net.parameters()]
    new = [old - gradient for old, gradient in zip(before, gradients, strict=True)]
    assert all(map(np.array_equal, after, before)) or all(map(np.array_equal, after, new))
    optimizer.step()
    assert all(np.isfinite(values(parameter)).all() for parameter in net.parameters())
    assert not any(map(np.array_equal, [values(parameter) for parameter in net.parameters()], after))


def test_step_hooks():
    parameter = nn.Parameter(pycnn.zeros(1))
    optimizer = optim.SGD([parameter])
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    handle = optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert seen == ["pre", "post", "pre"]


# -- schedules ---------------------------------------------------------------------------------------------------------
SCHEDULES = [
    (StepLR, {"step_size": 3}),
    (StepLR, {"step_size": 2, "gamma": 0.7}),
    (CosineAnnealingLR, {"T_max": 5}),
    (CosineAnnealingLR, {"T_max": 4, "eta_min": 0.01}),
]


@pytest.mark.parametrize(("kind", "arguments"), SCHEDULES)
def test_schedule_follows_its_formula(kind, arguments):
    optimizer = optim.SGD([{"params": [nn.Parameter(pycnn.zeros(1))]}], lr=0.3)
    schedule = kind(optimizer, **arguments)
    for epoch in range(12):
        if kind is StepLR:
            expected = 0.3 * arguments.get("gamma", 0.1) ** (epoch // arguments["step_size"])
        else:
            low, period = arguments.get("eta_min", 0), arguments["T_max"]
            expected = low + (0.3 - low) * (1 + math.cos(math.pi * epoch / period)) / 2
        assert schedule.get_last_lr() == [optimizer.param_groups[0]["lr"]]
        assert math.isclose(schedule.get_last_lr()[0], expected, rel_tol=1e-9, abs_tol=1e-9)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("kind", "arguments"), SCHEDULES)
def test_schedule_has_pytorchs_bits(kind, arguments):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    ours = optim.SGD([nn.Parameter(pycnn.zeros(1))], lr=0.3)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    first = kind(ours, **arguments)
    second = getattr(torch.optim.lr_scheduler, kind.__name__)(theirs, **arguments)
    for _ in range(15):
        assert first.get_last_lr() == second.get_last_lr()
        ours.step()
        theirs.step()
        first.step()
        second.step()


def test_schedule_state_dict():
    def make():
        optimizer = optim.SGD([nn.Parameter(pycnn.zeros(1))], lr=0.3)
        return optimizer, CosineAnnealingLR(optimizer, 7)

    optimizer, schedule = make()
    for _ in range(3):
        optimizer.step()
        schedule.step()
    other, resumed = make()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert "optimizer" not in schedule.state_dict()
    schedule.step()
    resumed.step()
    assert resumed.get_last_lr() == schedule.get_last_lr()
    with pytest.raises(TypeError, match="is not an Optimizer"):
        LRScheduler(3)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="initial_lr"):
        StepLR(optim.SGD([nn.Parameter(pycnn.zeros(1))]), 3, last_epoch=2)
