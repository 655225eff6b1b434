"""Averaged models, and helpers over gradients, against PyTorch's."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn import nn, optim
from pycnn.optim import lr_scheduler, swa_utils


def values(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def network(module: Any) -> Any:
    return module.nn.Sequential(
        module.nn.Conv2d(2, 3, 3, padding=1), module.nn.BatchNorm2d(3), module.nn.ReLU(), module.nn.Flatten(),
        module.nn.Linear(3 * 16, 2),
    )  # fmt: skip


def pair(torch: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    ours, theirs = network(pycnn), network(torch)
    ours.load_state_dict({key: pycnn.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    return ours, theirs


def batch(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((4, 2, 4, 4)).astype(np.float32)


AVERAGES = {
    "equal": lambda utils: {},
    "equal, buffers": lambda utils: {"use_buffers": True},
    "ema": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.7)},
    "ema, lists, buffers": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    "swa, lists": lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    "own": lambda utils: {"avg_fn": lambda average, new, count: 0.25 * average + 0.75 * new + count},
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_averaged_models(torch, kind):
    ours, theirs = pair(torch)
    first = swa_utils.AveragedModel(ours, **AVERAGES[kind](swa_utils))
    second = torch.optim.swa_utils.AveragedModel(theirs, **AVERAGES[kind](torch.optim.swa_utils))
    optimizers = optim.SGD(ours.parameters(), lr=0.01), torch.optim.SGD(theirs.parameters(), lr=0.01)
    for number in range(4):
        for module, model, optimizer in ((pycnn, ours, optimizers[0]), (torch, theirs, optimizers[1])):
            optimizer.zero_grad()
            (model(module.tensor(batch(number))) ** 2).sum().backward()
            optimizer.step()
        first.update_parameters(ours)
        second.update_parameters(theirs)
    own, other = first.state_dict(), second.state_dict()
    assert list(own) == list(other)
    for key, value in other.items():
        np.testing.assert_allclose(values(own[key]), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=key)
    x = batch(9)
    with pycnn.no_grad():
        np.testing.assert_allclose(
            values(first.eval()(pycnn.tensor(x))), second.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-5
        )
    assert own["n_averaged"].dtype == pycnn.int64 and own["n_averaged"].item() == 4
    again = swa_utils.AveragedModel(ours)
    again.load_state_dict(own)
    assert np.array_equal(values(again.module[0].weight), values(first.module[0].weight))
    copy.deepcopy(again)


def test_update_bn(torch):
    ours, theirs = pair(torch)
    loader = [(batch(number), number) for number in range(3)]
    swa_utils.update_bn([(pycnn.tensor(x), y) for x, y in loader], ours.eval())
    torch.optim.swa_utils.update_bn([(torch.tensor(x), y) for x, y in loader], theirs.eval())
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(
            values(getattr(ours[1], name)), getattr(theirs[1], name).numpy(), rtol=1e-5, atol=1e-6
        )
    assert ours[1].momentum == 0.1 and not ours.training and ours[1].num_batches_tracked.item() == 3
    swa_utils.update_bn([pycnn.ones(1, 2)], nn.Linear(2, 2))


@pytest.mark.parametrize(
    "arguments",
    [
        {"swa_lr": 0.05},
        {"swa_lr": [0.05, 0.02], "anneal_epochs": 4, "anneal_strategy": "linear"},
        {"swa_lr": 0.5, "anneal_epochs": 0},
    ],
)
def test_swalr(torch, arguments):
    def optimizer(module, parameters):
        return module.optim.SGD([{"params": [parameters[0]], "lr": 0.3}, {"params": [parameters[1]]}], lr=0.1)

    ours = optimizer(pycnn, [nn.Parameter(pycnn.zeros(1)) for _ in range(2)])
    theirs = optimizer(torch, [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)])
    first = swa_utils.SWALR(ours, **arguments)
    second = torch.optim.swa_utils.SWALR(theirs, **arguments)
    for number in range(14):
        assert first.get_last_lr() == second.get_last_lr(), number
        ours.step()
        theirs.step()
        first.step()
        second.step()
    assert set(first.state_dict()) == set(second.state_dict())
    first.load_state_dict(second.state_dict())
    sequence = lr_scheduler.SequentialLR(
        ours, [lr_scheduler.ConstantLR(ours), swa_utils.SWALR(ours, 0.1)], milestones=[2]
    )
    sequence.step()


def test_bad_averages():
    optimizer = optim.SGD([nn.Parameter(pycnn.zeros(1))], lr=0.1)
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value"):
            make(1.5)
    with pytest.raises(AssertionError, match="Only one of"):
        swa_utils.AveragedModel(nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max)
    with pytest.raises(ValueError, match="anneal_strategy"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="anneal_epochs"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)


# -- nn.utils ----------------------------------------------------------------------------------------------------------
def with_gradients(module: Any, numbers: list[np.ndarray]) -> list[Any]:
    parameters = [module.nn.Parameter(module.zeros(number.shape)) for number in numbers]
    for parameter, number in zip(parameters, numbers, strict=True):
        parameter.grad = module.tensor(number)
    return [*parameters, module.nn.Parameter(module.zeros(2))]


@pytest.mark.parametrize("order", [2.0, 1.0, 3.5, math.inf, 0.0])
@pytest.mark.parametrize("largest", [0.5, 100.0])
def test_clip_grad_norm(torch, order, largest):
    rng = np.random.default_rng(0)
    numbers = [rng.standard_normal(shape).astype(np.float32) for shape in [(3, 4), (5,), ()]]
    ours, theirs = with_gradients(pycnn, numbers), with_gradients(torch, numbers)
    own = nn.utils.clip_grad_norm_(ours, largest, order)
    other = torch.nn.utils.clip_grad_norm_(theirs, largest, order)
    np.testing.assert_allclose(own.item(), other.item(), rtol=1e-5)
    for mine, its in zip(ours[:-1], theirs[:-1], strict=True):
        np.testing.assert_allclose(values(mine.grad), its.grad.numpy(), rtol=1e-5)
    assert ours[-1].grad is None
    np.testing.assert_allclose(
        nn.utils.get_total_norm([p.grad for p in ours[:-1]], order).item(),
        torch.nn.utils.get_total_norm([p.grad for p in theirs[:-1]], order).item(), rtol=1e-5,
    )  # fmt: skip
    nn.utils.clip_grad_value_(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    for mine, its in zip(ours[:-1], theirs[:-1], strict=True):
        np.testing.assert_allclose(values(mine.grad), its.grad.numpy(), rtol=1e-5)


def test_clipping_of_what_is_not_finite_and_of_nothing():
    (parameter, empty) = with_gradients(pycnn, [np.array([1.0, np.inf], np.float32)])
    assert math.isinf(nn.utils.clip_grad_norm_(parameter, 1.0).item())
    parameter.grad = pycnn.tensor([1.0, math.nan])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([empty], 1.0).item() == 0
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in []), 1.0)
    with pytest.warns(FutureWarning, match="deprecated"):
        nn.utils.clip_grad_norm([empty], 1.0)


def test_vectors_of_parameters():
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    nn.utils.vector_to_parameters(pycnn.arange(9.0), net.parameters())
    assert values(net.weight).tolist() == [[0, 1], [2, 3], [4, 5]] and values(net.bias).tolist() == [6, 7, 8]
    assert net.weight.is_leaf and net.weight.requires_grad
    with pytest.raises(TypeError, match="expected pycnn.Tensor"):
        nn.utils.vector_to_parameters([1.0], net.parameters())
