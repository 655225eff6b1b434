"""Optimizer as a base class: the user's own optimisers, groups, hooks, and the saved form."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn import nn, optim
from pycnn.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)


def values(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


def parameter(*numbers: float) -> Any:
    return nn.Parameter(pycnn.tensor(numbers or (1.0,)))


class Signs(Optimizer):
    """As a user writes it: tensor code, an integer and a tensor as state."""

    def __init__(self, params: Any, lr: Any = required, momentum: float = 0.5) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @pycnn.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with pycnn.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["mean"] = pycnn.zeros_like(p)
                state["step"] += 1
                mean = state["mean"]
                mean.mul_(group["momentum"]).add_(p.grad, alpha=1 - group["momentum"])
                p.add_(mean.sign(), alpha=-group["lr"])
                p.data.mul_(1 - 0.1 / state["step"])
        return loss


def test_a_users_optimizer():
    p, unused = parameter(1.0, -2.0), parameter(3.0)
    optimizer = Signs([p, unused], lr=0.25)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5
    np.testing.assert_allclose(values(p), np.array([0.75, -1.75]) * 0.9, rtol=1e-6)
    assert optimizer.state[p]["step"] == 1 and p.is_leaf and p.requires_grad and values(unused) == 3
    assert seen == ["pre", "post"]
    saved = copy.deepcopy(optimizer.state_dict())
    assert saved["state"][0]["step"] == 1 and list(saved["state"]) == [0]
    optimizer.step(closure)
    resumed = Signs([p, unused], lr=1.0)
    resumed.load_state_dict(saved)
    assert resumed.state[p]["step"] == 1 and resumed.param_groups[0]["lr"] == 0.25
    assert values(resumed.state[p]["mean"]).tolist() == values(saved["state"][0]["mean"]).tolist()


def test_a_users_steps_do_not_pile_up():
    p = parameter(1.0, -2.0)
    optimizer = Signs([p], lr=0.25)
    p.grad = pycnn.ones(2)
    for _ in range(3):
        optimizer.step()
        assert p.grad is not None
        # Everything is computed: reading it makes no plan.
        before = pycnn._core.statistics()
        values(p)
        values(optimizer.state[p]["mean"])
        assert pycnn._core.statistics() == before


def test_a_users_optimizer_with_counting_state_is_not_captured():
    p = parameter(1.0)
    optimizer = Signs([p], lr=0.1)

    @pycnn.capture
    def step(x):
        loss = (p * x).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step(pycnn.ones(1))
    with pytest.raises(RuntimeError, match="Signs changes numbers of its state"):
        step(pycnn.ones(1))


def test_a_derived_step_runs_hooks_once():
    class Noisy(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    p = parameter()
    base, derived = optim.SGD([p], lr=0.1), Noisy([p], lr=0.1)
    seen = []
    derived.register_step_pre_hook(lambda *_: seen.append("derived"))
    base.register_step_pre_hook(lambda *_: seen.append("base"))
    derived.step()
    base.step()
    assert seen == ["derived", "base"]


def test_required_options():
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        Signs([parameter()])
    assert Signs([{"params": parameter(), "lr": 0.5}]).param_groups[0]["lr"] == 0.5


def test_step_without_definition():
    with pytest.raises(NotImplementedError):
        Optimizer([parameter()], {}).step()


def test_pre_hooks_replace_arguments():
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1)
    handle = optimizer.register_step_pre_hook(lambda _, args, kwargs: ((*args, lambda: 42), {}))
    assert optimizer.step() == 42
    handle.remove()
    assert optimizer.step() is None
    optimizer.register_step_pre_hook(lambda *_: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_hooks_of_all_optimizers():
    seen = []
    handles = [
        register_optimizer_step_pre_hook(lambda optimizer, *_: seen.append(("pre", type(optimizer).__name__))),
        register_optimizer_step_post_hook(lambda optimizer, *_: seen.append(("post", type(optimizer).__name__))),
    ]
    try:
        optim.SGD([parameter()]).step()
        optim.Adam([parameter()]).step()
    finally:
        for handle in handles:
            handle.remove()
    optim.SGD([parameter()]).step()
    assert seen == [("pre", "SGD"), ("post", "SGD"), ("pre", "Adam"), ("post", "Adam")]


def test_state_dict_hooks():
    optimizer = optim.SGD([parameter()], lr=0.1)
    seen = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(
        lambda o, state: {**state, "param_groups": [{**group, "lr": 0.7} for group in state["param_groups"]]}
    )
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    state = optimizer.state_dict()
    assert seen == ["first", "second"] and state["extra"] == 1
    optimizer.load_state_dict(state)
    assert seen[-1] == "loaded" and optimizer.param_groups[0]["lr"] == 0.7


def test_named_parameters():
    net = nn.Linear(2, 1)
    optimizer = optim.Adam(net.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    state = optimizer.state_dict()
    del state["param_groups"][0]["param_names"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="with/without names"):
        optimizer.add_param_group({"params": [parameter()]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        optim.SGD([("a", parameter()), parameter()])


def test_groups_are_the_users_dictionaries():
    group: dict[str, Any] = {"params": parameter(), "lr": 1.0}
    optimizer = optim.SGD([group], lr=0.1)
    assert optimizer.param_groups[0] is group and group["momentum"] == 0
    group["lr"] = 0.25
    group["params"][0].grad = pycnn.ones(1)
    optimizer.step()
    assert values(group["params"][0]).tolist() == [0.75]
    with pytest.raises(TypeError, match="param_group must be a dict"):
        optimizer.add_param_group([parameter()])


def test_zero_grad_with_zeros_keeps_the_tensor():
    p = parameter()
    optimizer = optim.SGD([p])
    (p * 3).sum().backward()
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None and p.grad.item() == 0 and gradient.item() == 0
    ((p**3).sum()).backward(create_graph=True)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0 and not p.grad.requires_grad
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_copies_and_pickles(name):
    p = parameter(1.0, 2.0)
    optimizer = getattr(optim, name)([p], lr=0.1)
    p.grad = pycnn.ones(2)
    optimizer.step()
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        mine = other.param_groups[0]["params"][0]
        assert mine is not p and values(mine).tolist() == values(p).tolist()
        mine.grad = pycnn.ones(2)
        other.step()
        assert values(mine).tolist() != values(p).tolist()
        assert set(other.state[mine]) == set(optimizer.state.get(p, {}))


def test_retained_non_leaves_can_be_optimized():
    leaf = parameter(2.0)
    product = leaf * 3
    with pytest.raises(ValueError, match="non-leaf"):
        optim.SGD([product])
    product.retain_grad()
    optim.SGD([product])
