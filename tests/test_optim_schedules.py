"""Whole schedules against PyTorch's, and what they warn of and refuse."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest

import pycnn
from pycnn import nn, optim
from pycnn.optim import lr_scheduler

CASES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", {"lr_lambda": lambda step: 0.95**step}),
    ("LambdaLR", {"lr_lambda": [lambda step: 1 / (step + 1), lambda step: 0.5]}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 0.9 + 0.01 * step}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 2, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [3, 5, 5, 9], "gamma": 0.3}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.7, "total_iters": 3}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.6, "total_iters": 7}),
    ("ExponentialLR", {"gamma": 0.83}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 9, "power": 2.5}),
    ("CosineAnnealingLR", {"T_max": 5}),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.02}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": 0.2, "step_size_up": 2, "step_size_down": 5,
                  "mode": "triangular2", "base_momentum": 0.7, "max_momentum": [0.9, 0.95]}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9,
                  "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "scale_fn": lambda x: 1 / x}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": [0.5, 0.1], "epochs": 5, "steps_per_epoch": 4, "anneal_strategy": "linear",
                    "three_phase": True, "pct_start": 0.25}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "cycle_momentum": False, "div_factor": 5.0,
                    "final_div_factor": 10.0}),
]  # fmt: skip


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")


def optimizers(torch: Any, kind: str = "SGD", **options: Any) -> tuple[Any, Any]:
    options = options or ({"momentum": 0.9} if kind == "SGD" else {})
    ours = [{"params": [nn.Parameter(pycnn.zeros(1))], "lr": 0.3}, {"params": [nn.Parameter(pycnn.zeros(1))]}]
    theirs = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.3}, {"params": [torch.nn.Parameter(torch.zeros(1))]},
    ]  # fmt: skip
    return getattr(optim, kind)(ours, lr=0.1, **options), getattr(torch.optim, kind)(theirs, lr=0.1, **options)


def options_of(optimizer: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def follow(ours: Any, theirs: Any, first: Any, second: Any, steps: int = 20, metrics: Any = None) -> None:
    for number in range(steps):
        assert first.get_last_lr() == second.get_last_lr(), number
        assert options_of(ours) == options_of(theirs), number
        ours.step()
        theirs.step()
        for schedule in (first, second):
            schedule.step(*() if metrics is None else (metrics[number],))


@pytest.mark.parametrize(("name", "arguments"), CASES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_schedules_have_pytorchs_bits(torch, name, arguments, kind):
    ours, theirs = optimizers(torch, kind)
    first = getattr(lr_scheduler, name)(ours, **arguments)
    second = getattr(torch.optim.lr_scheduler, name)(theirs, **arguments)
    follow(ours, theirs, first, second)
    own, other = first.state_dict(), second.state_dict()
    assert set(own) == set(other)
    same = set(own) - {"_schedule_phases", "lr_lambdas", "_get_lr_called_within_step", "_is_initial"}
    assert {key: own[key] for key in same} == {key: other[key] for key in same}


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_schedules_resume(torch, name, arguments):
    """From PyTorch's state as well."""
    if name == "OneCycleLR":
        arguments = {**arguments, "total_steps": 30}
    ours, theirs = optimizers(torch)
    first = getattr(lr_scheduler, name)(ours, **arguments)
    second = getattr(torch.optim.lr_scheduler, name)(theirs, **arguments)
    follow(ours, theirs, first, second, 4)
    for state, options in ((first.state_dict(), options_of(ours)), (second.state_dict(), options_of(theirs))):
        optimizer, _ = optimizers(torch)
        resumed = getattr(lr_scheduler, name)(optimizer, **arguments)
        resumed.load_state_dict(state)
        for group, saved in zip(optimizer.param_groups, options, strict=True):
            group.update(saved)
        reference, their = optimizers(torch)
        their_resumed = getattr(torch.optim.lr_scheduler, name)(their, **arguments)
        their_resumed.load_state_dict(second.state_dict())
        for group, saved in zip(their.param_groups, options, strict=True):
            group.update(saved)
        follow(optimizer, their, resumed, their_resumed, 6)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_schedules_begin_later(torch, name, arguments):
    pair = optimizers(torch)
    for optimizer in pair:
        for group in optimizer.param_groups:
            group.update(initial_lr=group["lr"], lr=0.7 * group["lr"])
            group.update(max_lr=0.5, min_lr=0.001, max_momentum=0.9, base_momentum=0.8)
    first = getattr(lr_scheduler, name)(pair[0], **arguments, last_epoch=4)
    second = getattr(torch.optim.lr_scheduler, name)(pair[1], **arguments, last_epoch=4)
    follow(*pair, first, second, 9)


@pytest.mark.parametrize(
    ("name", "arguments"), [case for case in CASES if case[0] not in ("CyclicLR", "OneCycleLR", "MultiplicativeLR")]
)
def test_closed_forms(torch, name, arguments):
    ours, theirs = optimizers(torch)
    first = getattr(lr_scheduler, name)(ours, **arguments)
    second = getattr(torch.optim.lr_scheduler, name)(theirs, **arguments)
    ours.step()
    theirs.step()
    for epoch in (5, 2, 11, 0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            first.step(epoch)
            second.step(epoch)
        assert first.get_last_lr() == second.get_last_lr() and first.last_epoch == second.last_epoch


@pytest.mark.parametrize("kind", ["sequential", "nested", "chained"])
def test_combined_schedules(torch, kind):
    schedules = []
    pair = optimizers(torch)
    for module, optimizer in ((lr_scheduler, pair[0]), (torch.optim.lr_scheduler, pair[1])):
        warm, decay = module.LinearLR(optimizer, 0.1, total_iters=4), module.ExponentialLR(optimizer, 0.8)
        if kind == "chained":
            schedules.append(module.ChainedScheduler([warm, decay], optimizer=optimizer))
            continue
        last = module.CosineAnnealingLR(optimizer, 5)
        if kind == "sequential":
            schedules.append(module.SequentialLR(optimizer, [warm, decay, last], milestones=[4, 9]))
        else:
            inner = module.SequentialLR(optimizer, [decay, last], milestones=[3])
            schedules.append(module.SequentialLR(optimizer, [inner, warm], milestones=[7]))
    follow(*pair, *schedules)
    own, other = (schedule.state_dict() for schedule in schedules)
    assert set(own) == set(other) and len(own["_schedulers"]) == len(other["_schedulers"])
    schedules[0].load_state_dict(own)
    follow(*pair, *schedules, steps=5)


PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 1, "factor": 0.5},
    {"patience": 0, "mode": "max", "threshold": 0.1, "threshold_mode": "abs", "cooldown": 2},
    {"patience": 1, "min_lr": [0.2, 0.01], "threshold": 0.2},
    {"patience": 0, "mode": "max", "eps": 0.01},
]


@pytest.mark.parametrize("arguments", PLATEAUS)
def test_plateaus(torch, arguments):
    metrics = [3, 2.9, 2.5, 2.6, 2.5, 2.5, 2.5, 2.2, 2.19, 2.18, 2.18, 2.3, 2.4, 2.0, 2.1, math.nan, 2.2, 2.2, 2.2, 2.2]
    ours, theirs = optimizers(torch)
    first = lr_scheduler.ReduceLROnPlateau(ours, **arguments)
    second = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **arguments)
    follow(ours, theirs, first, second, metrics=metrics)
    assert first.state_dict() == second.state_dict() or any(value != value for value in metrics)
    assert set(first.state_dict()) == set(second.state_dict())
    first.load_state_dict(second.state_dict())
    first.step(pycnn.tensor(5.0))
    assert first.last_epoch == 21


def test_the_step_is_halved_when_the_objective_does_not_fall():
    parameter = nn.Parameter(pycnn.tensor([1.0], dtype=pycnn.float64))
    optimizer = optim.SGD([parameter], lr=3.0)
    schedule = lr_scheduler.HalveOnIncrease(optimizer, min_lr=0.3)
    rates = []
    for _ in range(30):
        objective = (parameter * parameter).sum()
        optimizer.zero_grad()
        objective.backward()
        schedule.step(objective)
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
    # With step s the parameter is multiplied by 1 - 2 s: it falls from step 3/4 on.
    assert rates[:2] == [3.0, 1.5] and set(rates) == {3.0, 1.5, 0.75} and abs(parameter.item()) < 1e-6
    schedule.step(math.nan)
    schedule.step(math.nan)
    assert optimizer.param_groups[0]["lr"] == 0.3
    other = lr_scheduler.HalveOnIncrease(optimizer)
    other.load_state_dict(schedule.state_dict())
    assert math.isnan(other.last_objective) and other.min_lr == 0.3
    with pytest.raises(ValueError, match="between 0 and 1"):
        lr_scheduler.HalveOnIncrease(optimizer, factor=1.0)


def test_a_rate_that_is_a_tensor_is_changed_in_place(torch):
    rate = pycnn.tensor(0.1, dtype=pycnn.float64)
    optimizer = optim.Adam([nn.Parameter(pycnn.zeros(1))], lr=rate)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.05
    assert schedule.get_last_lr()[0].item() == 0.05 and schedule.base_lrs[0].item() == 0.1


def plain() -> Any:
    return optim.SGD([nn.Parameter(pycnn.zeros(1))], lr=0.3)


def test_warnings():
    schedule = lr_scheduler.StepLR(plain(), 3)
    with pytest.warns(UserWarning, match="before `optimizer.step\\(\\)`"):
        schedule.step()
    optimizer = plain()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step = lambda *_: None
    with pytest.warns(UserWarning, match="has been overridden"):
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        schedule.step(3)
    optimizer = plain()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (TypeError, "is not an Optimizer", lambda s, o: s.LRScheduler(3)),
        (TypeError, "is not an Optimizer", lambda s, o: s.ReduceLROnPlateau(3)),
        (KeyError, "initial_lr", lambda s, o: s.StepLR(o, 3, last_epoch=2)),
        (ValueError, "Expected 1 lr_lambdas, but got 2", lambda s, o: s.LambdaLR(o, [abs, abs])),
        (TypeError, "should be a function", lambda s, o: s.MultiplicativeLR(o, 0.5)),
        (ValueError, "between 0 and 1", lambda s, o: s.ConstantLR(o, 1.5)),
        (ValueError, "Starting multiplicative factor", lambda s, o: s.LinearLR(o, 0)),
        (ValueError, "Ending multiplicative factor", lambda s, o: s.LinearLR(o, 0.5, 2)),
        (ValueError, "T_0", lambda s, o: s.CosineAnnealingWarmRestarts(o, 0)),
        (ValueError, "T_mult", lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0)),
        (ValueError, "eta_min", lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1, "0")),
        (ValueError, "non-negative epoch", lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1)),
        (ValueError, "mode is invalid", lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square")),
        (ValueError, "base_lr must have the same length", lambda s, o: s.CyclicLR(o, [0.1, 0.2], 0.2)),
        (ValueError, "You must define either total_steps", lambda s, o: s.OneCycleLR(o, 0.1, epochs=3)),
        (ValueError, "positive integer total_steps", lambda s, o: s.OneCycleLR(o, 0.1, 0)),
        (ValueError, "positive integer epochs", lambda s, o: s.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=3)),
        (ValueError, "pct_start", lambda s, o: s.OneCycleLR(o, 0.1, 5, pct_start=2.0)),
        (ValueError, "anneal_strategy", lambda s, o: s.OneCycleLR(o, 0.1, 5, anneal_strategy="step")),
        (ValueError, "Factor should be < 1.0", lambda s, o: s.ReduceLROnPlateau(o, factor=1.0)),
        (ValueError, "mode best is unknown", lambda s, o: s.ReduceLROnPlateau(o, "best")),
        (ValueError, "threshold mode x is unknown", lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x")),
        (ValueError, "expected 1 min_lrs, got 2", lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0, 0])),
        (ValueError, "at least one scheduler", lambda s, o: s.SequentialLR(o, [], [])),
        (ValueError, "one more than the number", lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [3])),
        (ValueError, "does not support `ReduceLROnPlateau`",
         lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
        (TypeError, "should have `optimizer`", lambda s, o: s.SequentialLR(o, [3], [])),
        (ValueError, "same optimizer",
         lambda s, o: s.SequentialLR(o, [s.StepLR(type(o)(o.param_groups[0]["params"]), 2)], [])),
    ],
)  # fmt: skip
def test_bad_arguments_raise_as_in_pytorch(error, message, make):
    with pytest.raises(error, match=message):
        make(lr_scheduler, plain())
    torch = pytest.importorskip("torch")
    with pytest.raises(error):
        make(torch.optim.lr_scheduler, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3))


def test_optimizers_without_momentum_cannot_cycle_it():
    optimizer = optim.Adagrad([nn.Parameter(pycnn.zeros(1))])
    with pytest.raises(ValueError, match="must support momentum"):
        lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, 2, cycle_momentum=False)
    optimizer.step()
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        schedule.step()
