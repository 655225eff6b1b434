"""pycnn.capture: a replay does what the function would have done, or the function is recorded again, or it raises."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn


class Pair(NamedTuple):
    first: Any
    second: Any


def network() -> nn.Module:
    pycnn.manual_seed(3)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Dropout(0.3), nn.Linear(36, 5)),
    )


def training_step(net: nn.Module, opt: pycnn.optim.Optimizer) -> Callable[..., pycnn.Tensor]:
    def step(x: pycnn.Tensor, y: pycnn.Tensor) -> pycnn.Tensor:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


def batches(count: int) -> list[tuple[pycnn.Tensor, pycnn.Tensor]]:
    random = np.random.default_rng(1)
    return [
        (pycnn.tensor(random.standard_normal((6, 1, 8, 8), dtype=np.float32)), pycnn.tensor(random.integers(0, 5, 6)))
        for _ in range(count)
    ]


def trained(wrap: Callable[[Any], Any]) -> tuple[list[float], list[list[float]], int]:
    net = network()
    opt = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    step = wrap(training_step(net, opt))
    pycnn.manual_seed(8)
    losses = []
    for index, (x, y) in enumerate(batches(9)):
        if index == 6:
            opt.param_groups[0]["lr"] = 0.01
        losses.append(step(x, y).item())
    net.eval()
    state = [value.flatten().tolist() for value in net.state_dict().values()]
    return losses, state, getattr(step, "recordings", 0)


def test_training_is_the_same_to_the_bit() -> None:
    plain_losses, plain_state, _ = trained(lambda function: function)
    losses, state, recordings = trained(pycnn.capture)
    assert losses == plain_losses
    assert state == plain_state
    assert recordings == 2  # one for each learning rate


def test_a_replay_records_nothing() -> None:
    net = network().eval()
    with pycnn.no_grad():
        forward = pycnn.capture(net)
        x = pycnn.randn(6, 1, 8, 8)
        expected = net(x).tolist()
        assert [forward(x).tolist() for _ in range(2)] == [expected] * 2
        before = pycnn.plan.statistics()
        assert forward(x).tolist() == expected
        after = pycnn.plan.statistics()
    assert after["nodes_recorded"] == before["nodes_recorded"]
    assert after["plans_run"] == before["plans_run"] + 1


def test_new_shapes_modes_and_arguments_are_recorded_anew() -> None:
    net = network()
    with pycnn.no_grad():
        forward = pycnn.capture(lambda x, scale: net(x) * scale)
        net.eval()
        for batch, scale in [(2, 1.0), (3, 1.0), (2, 2.0)]:
            x = pycnn.randn(batch, 1, 8, 8)
            for _ in range(3):
                np.testing.assert_array_equal(forward(x, scale).numpy(), (net(x) * scale).numpy())
        assert forward.recordings == 3
        x = pycnn.randn(2, 1, 8, 8)
        net.train()
        counter = net[1].num_batches_tracked
        begin = counter.item()
        for _ in range(3):
            forward(x, 1.0)
        assert counter.item() == begin + 3
    forward.reset()
    assert forward.recordings == 0


def test_present_values_are_read() -> None:
    weight = pycnn.ones(3)
    bias = pycnn.zeros(3)
    function = pycnn.capture(lambda x: x * weight.detach() + bias[:2].sum())
    x = pycnn.tensor([1.0, 2.0, 3.0])
    for factor in range(1, 6):
        weight.fill_(factor)
        bias.fill_(factor)
        assert function(x).tolist() == [3.0 * factor, 4.0 * factor, 5.0 * factor]
    assert function.recordings == 1


def test_views_and_changes_between_them_are_captured() -> None:
    def function(x: pycnn.Tensor) -> tuple[pycnn.Tensor, pycnn.Tensor]:
        b = x * 2
        b[0] += b[1]
        b[1] = b[2]
        b[2:].copy_(b[:2])
        pycnn.add(b[:2], 1, out=b[2:])
        windows = b.unfold(0, 2, 1)
        windows[1].add_(b.as_strided((3, 2), (3, 1), 1))
        windows.mul_(3)
        return b, windows

    captured = pycnn.capture(function)
    for seed in range(4):
        pycnn.manual_seed(seed)
        x = pycnn.randn(4, 3)
        for found, expected in zip(captured(x), function(x), strict=True):
            assert found.tolist() == expected.tolist()
    assert captured.recordings == 1


def test_random_numbers_are_new_each_time() -> None:
    noise = pycnn.capture(lambda x: x + pycnn.rand(4))
    x = pycnn.zeros(4)
    pycnn.manual_seed(5)
    drawn = [noise(x).tolist() for _ in range(4)]
    pycnn.manual_seed(5)
    assert drawn == [pycnn.rand(4).tolist() for _ in range(4)]


def test_gradients_that_stay_are_accumulated_as_without_capture() -> None:
    def gradients(wrap: Callable[[Any], Any]) -> list[list[float]]:
        weight = pycnn.ones(2, requires_grad=True)

        def backward(x: pycnn.Tensor) -> None:
            (x * weight * weight).sum().backward()

        step = wrap(backward)
        seen = []
        for value in range(1, 8):
            if value % 3 == 0:
                weight.grad = None
            step(pycnn.full((2,), float(value)))
            assert weight.grad is not None
            seen.append(weight.grad.tolist())
        return seen

    assert gradients(pycnn.capture) == gradients(lambda function: function)


def test_structures_of_arguments_and_results() -> None:
    function = pycnn.capture(
        lambda pair, *, more: {"sum": pair[0] + more["x"], "both": [pair[1].clone(), Pair(pair[0].clone(), 7)]}
    )
    a, b, c = pycnn.ones(2), pycnn.zeros(2), pycnn.full((2,), 5.0)
    for _ in range(4):
        result = function((a, b), more={"x": c})
        assert result["sum"].tolist() == [6, 6]
        assert result["both"][0].tolist() == [0, 0]
        assert result["both"][1][0].tolist() == [1, 1]
        assert isinstance(result["both"][1], Pair)
        assert result["both"][1].second == 7
    assert function.recordings == 1


def test_results_of_earlier_replays_stay() -> None:
    function = pycnn.capture(lambda x: x * 2)
    results = [function(pycnn.full((3,), float(value))) for value in range(6)]
    assert [result.tolist() for result in results] == [[2.0 * value] * 3 for value in range(6)]


def test_old_parameters_survive_a_replayed_step() -> None:
    net = network()
    step = pycnn.capture(training_step(net, pycnn.optim.SGD(net.parameters(), lr=0.1)))
    weight = net[0].weight
    history = []
    for x, y in batches(5):
        history.append((weight.detach(), weight.tolist()))
        step(x, y)
    assert [kept.tolist() for kept, _ in history] == [seen for _, seen in history]
    assert len({str(seen) for _, seen in history}) == len(history)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * (x.sum().item() + 1), "reads a value"),
        (lambda x: x if x.sum() > 0 else -x, "reads a value"),
        (lambda x: x * pycnn.ones(2, requires_grad=True), "requires grad"),
    ],
)
def test_what_cannot_be_captured_raises(function: Callable[..., Any], message: str) -> None:
    captured = pycnn.capture(function)
    x = pycnn.ones(2)
    captured(x)
    with pytest.raises(RuntimeError, match=message):
        captured(x)
    assert (pycnn.ones(2) + 1).tolist() == [2, 2]


def changes_its_argument(x: pycnn.Tensor) -> pycnn.Tensor:
    x.add_(1)
    return x * 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (changes_its_argument, "changes an argument in place"),
        (lambda x: x, "returns a tensor that it was given"),
        (lambda x: OUTSIDE.copy_(OTHER), "assigns a tensor that it was given or found|returns a tensor that it was"),
    ],
)
def test_what_a_replay_could_not_tell_apart_raises(function: Callable[..., Any], message: str) -> None:
    captured = pycnn.capture(function)
    captured(pycnn.ones(2))
    with pytest.raises(RuntimeError, match=message):
        captured(pycnn.ones(2))


OUTSIDE, OTHER = pycnn.zeros(2), pycnn.ones(2)


def test_tensors_that_hold_one_value_are_told_apart_once_they_do_not() -> None:
    alias, twin = pycnn.ones(2), pycnn.zeros(2)
    twin.copy_(alias)
    captured = pycnn.capture(lambda x: alias * 10 + twin + x)
    for _ in range(3):
        assert captured(pycnn.ones(2)).tolist() == [12, 12]
    assert captured.recordings == 1
    twin.add_(1)
    assert captured(pycnn.ones(2)).tolist() == [13, 13]
    alias.fill_(5)
    assert captured(pycnn.ones(2)).tolist() == [53, 53]
    twin.copy_(alias)
    assert captured(pycnn.ones(2)).tolist() == [56, 56]


def test_of_tensors_that_hold_one_value_one_may_change() -> None:
    alias, twin = pycnn.ones(2), pycnn.zeros(2)

    def grow(x: pycnn.Tensor) -> pycnn.Tensor:
        alias.add_(twin + x)
        return alias * 1

    captured = pycnn.capture(grow)
    for _ in range(4):
        alias.copy_(twin)
        twin.add_(1)
        alias.copy_(twin)
        expected = [2 * twin[0].item() + 1] * 2
        assert captured(pycnn.ones(2)).tolist() == expected and alias.tolist() == expected
        assert twin.tolist() == [(expected[0] - 1) / 2] * 2


def test_results_that_might_hide_tensors_raise() -> None:
    class Holder:
        pass

    captured = pycnn.capture(lambda x: (x + 1, Holder()))
    captured(pycnn.ones(2))
    with pytest.raises(TypeError, match="returns a Holder"):
        captured(pycnn.ones(2))


def test_frozen_parameters_stay_frozen() -> None:
    def values(wrap: Callable[[Any], Any]) -> list[float]:
        weight, other = pycnn.ones(1, requires_grad=True), pycnn.ones(1, requires_grad=True)
        opt = pycnn.optim.SGD([weight, other], lr=0.1)

        def step(x: pycnn.Tensor) -> None:
            (x * weight * other).sum().backward()
            opt.step()
            opt.zero_grad()

        step = wrap(step)
        seen = []
        for index in range(12):
            weight.requires_grad_(index % 6 < 3)
            step(pycnn.ones(1))
            seen.append(weight.item())
        return seen

    assert values(pycnn.capture) == values(lambda function: function)


def test_arguments_are_told_apart_by_type_and_sign() -> None:
    function = pycnn.capture(lambda x, factor: x * factor if factor is not True else x - 1)
    x = pycnn.tensor([3, 4])
    for _ in range(3):
        for factor in (1, True, 1.0, 0.0, -0.0):
            expected = x * factor if factor is not True else x - 1
            got = function(x, factor)
            assert got.dtype == expected.dtype
            assert str(got.tolist()) == str(expected.tolist())


def test_replaced_tensors_are_noticed() -> None:
    def values(wrap: Callable[[Any], Any]) -> list[list[float]]:
        weight = pycnn.ones(2, requires_grad=True)
        opt = pycnn.optim.SGD([weight], lr=0.1, momentum=0.9)

        def step(x: pycnn.Tensor) -> None:
            (x * weight).sum().backward()
            opt.step()
            opt.zero_grad()

        step = wrap(step)
        seen, saved = [], None
        for index in range(14):
            if index == 4:
                saved = opt.state_dict()
            if index == 7:
                opt.load_state_dict(saved)
            if index == 12:
                weight.data = pycnn.full((2,), 5.0)
            step(pycnn.ones(2))
            seen.append(weight.tolist())
        return seen

    assert values(pycnn.capture) == values(lambda function: function)


def test_hooks_and_settings_of_modules_are_noticed() -> None:
    net = network()
    forward = pycnn.capture(net.eval())
    x = pycnn.randn(2, 1, 8, 8)
    with pycnn.no_grad():
        for _ in range(3):
            forward(x)
        handle = net[0].register_forward_hook(lambda module, args, result: -result)
        np.testing.assert_array_equal(forward(x).numpy(), net(x).numpy())
        handle.remove()
        net[1].eps = 0.5
        for _ in range(2):
            np.testing.assert_array_equal(forward(x).numpy(), net(x).numpy())


def test_equal_settings_in_other_objects_are_the_same_recording() -> None:
    net = network().eval()
    opt = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    step = pycnn.capture(training_step(net, opt))
    x, y = batches(1)[0]
    for _ in range(4):  # velocities take their layout from the first gradient
        step(x, y)
    before = step.recordings
    opt.param_groups[0]["lr"] = float("0.1")
    net.remark = np.zeros(2)  # no setting, but something else in the module's dictionary
    net[1].eps = float("1e-5")
    for _ in range(2):
        step(x, y)
    assert step.recordings == before
    net[1].eps = 1e-3
    step(x, y)
    assert step.recordings == before + 1


def test_recordings_are_capped() -> None:
    weight = pycnn.ones(1, requires_grad=True)
    opt = pycnn.optim.SGD([weight], lr=0.1)

    def step() -> None:
        (weight * 2).sum().backward()
        opt.step()
        opt.zero_grad()

    captured = pycnn.capture(step)
    expected = 1.0
    for index in range(40):
        opt.param_groups[0]["lr"] = 0.001 * index
        captured()
        expected -= 2 * 0.001 * index
    assert weight.item() == pytest.approx(expected, rel=1e-4)
    assert 1 <= captured.recordings <= 16


def test_other_threads_see_whole_parameters() -> None:
    weight = pycnn.zeros(1 << 18)
    step = pycnn.capture(lambda x: weight.add_(x).sum())
    x = pycnn.ones(1)
    torn = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen = weight.detach().numpy()
            if seen.min() != seen.max():
                torn.append((seen.min(), seen.max()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(100):
        step(x)
    done.set()
    watcher.join()
    assert torn == []
    assert weight[0].item() == 100


def test_threads_capture_each_for_itself() -> None:
    nets = [nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)) for _ in range(2)]
    problems: list[str] = []

    def work(net: nn.Module) -> None:
        forward = pycnn.capture(net)
        x = pycnn.ones(4, 3)
        with pycnn.no_grad():
            for _ in range(20):
                net.train()
                forward(x)
                net.eval()
                if not np.array_equal(forward(x).numpy(), net(x).numpy()):
                    problems.append("a replay of training mode")

    threads = [threading.Thread(target=work, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_what_is_kept_without_being_returned_raises() -> None:
    kept: list[pycnn.Tensor] = []

    def function(x: pycnn.Tensor) -> pycnn.Tensor:
        kept.append(x + 1)
        return x * 2

    captured = pycnn.capture(function)
    captured(pycnn.ones(2))
    with pytest.raises(RuntimeError, match="keeps a tensor that it does not return"):
        captured(pycnn.ones(2))
    assert kept[1].tolist() == [2, 2]


def test_arguments_that_require_grad_raise() -> None:
    captured = pycnn.capture(lambda x: (x * 2).detach())
    x = pycnn.ones(2, requires_grad=True)
    captured(x)
    with pytest.raises(RuntimeError, match="an input requires grad"):
        captured(x)


def test_an_exception_in_the_function_leaves_things_usable() -> None:
    counter = pycnn.zeros(1)

    def function(x: pycnn.Tensor, fail: bool) -> pycnn.Tensor:
        counter.add_(1)
        if fail:
            raise KeyError("mine")
        return x + counter

    captured = pycnn.capture(function)
    x = pycnn.zeros(1)
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            captured(x, True)
    assert counter.item() == 2
    assert [captured(x, False).item() for _ in range(4)] == [3, 4, 5, 6]


def test_class_indices_are_checked_in_a_replay() -> None:
    loss = pycnn.capture(lambda x, y: F.cross_entropy(x, y))
    x = pycnn.zeros(2, 3)
    for _ in range(3):
        assert loss(x, pycnn.tensor([0, 2])).item() == pytest.approx(np.log(3))
    with pytest.raises(IndexError, match="out of (range|bounds)"):
        loss(x, pycnn.tensor([0, 3])).item()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "int64"])
def test_ranges_are_recorded(dtype: str) -> None:
    ranged = pycnn.capture(lambda x: x + pycnn.arange(0, 3, dtype=getattr(pycnn, dtype)))
    for start in range(3):
        assert ranged(pycnn.full((3,), float(start))).tolist() == [start, start + 1, start + 2]
