"""Memory under laziness: old values, donated buffers, exported and foreign arrays, pending work."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from support import counted

import pycnn
import pycnn.nn.functional as F
from pycnn import nn

# -- in place, donation, exported and foreign memory -----------------------------------------------------------------


def test_what_was_recorded_sees_the_old_value() -> None:
    x = pycnn.ones(3)
    y = x * 2
    piece = x[1:] * 10
    x += 1
    x[0] = 7
    assert (y.tolist(), piece.tolist(), x.tolist()) == ([2, 2, 2], [10, 10], [7, 2, 2])


def test_the_history_of_a_rebound_name_survives() -> None:
    x = pycnn.zeros(1000)
    history = []
    for _ in range(20):
        history.append(x)
        x = x + 1
    x.sum().item()
    assert [h[17].item() for h in history] == list(range(20))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_old_weights_survive_the_step(momentum: float) -> None:
    """Copies keep the old value; aliases are whole: all old or all new."""
    p = pycnn.ones(5000).requires_grad_()
    optimizer = pycnn.optim.SGD([p], lr=0.5, momentum=momentum)
    for step in range(4):
        value = p[0].item()
        copied, scaled, alias, exported = p.detach().clone(), p.detach() * 2, p.detach(), p.detach().numpy()
        view = p.detach().view(50, 100)
        optimizer.zero_grad()
        p.sum().backward()
        gradient = p.grad
        optimizer.step()
        new = p[0].item()
        assert new != value
        assert p.tolist() == [new] * 5000
        assert copied.tolist() == [value] * 5000
        assert scaled.tolist() == [2 * value] * 5000
        assert gradient.tolist() == [1] * 5000, step
        for whole in (alias.tolist(), exported.tolist(), view.flatten().tolist()):
            assert whole in ([value] * 5000, [new] * 5000)


def test_exported_memory_is_never_reused() -> None:
    x = pycnn.randn(64, 64)
    exported = [(x * i).relu().numpy() for i in range(4)]
    shared = np.from_dlpack((x * 7).relu())
    kept = [e.copy() for e in exported]
    for _ in range(10):
        ((x * 3).relu() + (x * 2).relu()).sum().item()
        (x @ x).numpy()
    gc.collect()
    for e, k in zip(exported, kept, strict=True):
        np.testing.assert_array_equal(e, k)
    np.testing.assert_array_equal(shared, np.maximum(x.numpy() * np.float32(7), 0))


def test_a_write_through_numpy_is_refused_or_seen() -> None:
    x = pycnn.zeros(3) + 1
    y = x * 2
    array = x.numpy()
    if array.flags.writeable:
        array[0] = 7
        assert x.tolist() == [7, 1, 1]
    assert y.tolist() in ([2, 2, 2], [14, 2, 2])


@pytest.mark.parametrize("make", ["tensor", "from_numpy", "as_tensor"])
def test_refilling_a_numpy_buffer_changes_no_recorded_batch(make: str) -> None:
    buffer = np.ones((4, 4), np.float32)
    results = []
    for number in range(3):
        buffer[:] = number
        results.append(getattr(pycnn, make)(buffer) * 2)
    buffer[:] = 99
    assert [r[0, 0].item() for r in results] == [0, 2, 4]


def test_refilling_a_dlpack_exporter_changes_no_recorded_batch() -> None:
    buffer = np.ones(4, np.float32)
    recorded = pycnn.from_dlpack(buffer) * 2
    buffer[:] = 99
    assert recorded.tolist() == [2, 2, 2, 2]


def test_read_only_memory_is_shared() -> None:
    buffer = np.arange(1000, dtype=np.float32)
    buffer.flags.writeable = False
    assert np.shares_memory(pycnn.from_numpy(buffer).numpy(), buffer)


def test_foreign_memory_lives_as_long_as_needed() -> None:
    buffer = np.arange(1000, dtype=np.float32)
    buffer.flags.writeable = False
    pending = pycnn.from_numpy(buffer) + 1
    del buffer
    gc.collect()
    junk = [np.full(1000, 7, np.float32) for _ in range(50)]
    assert pending.sum().item() == 1000 * 999 / 2 + 1000
    assert len(junk) == 50


def test_foreign_memory_may_die_on_another_thread() -> None:
    """The deleter of a borrowed array takes the GIL."""
    tensors = []
    for _ in range(20):
        buffer = np.ones(100, np.float32)
        buffer.flags.writeable = False
        tensors.append(pycnn.from_numpy(buffer) * 2)
    thread = threading.Thread(target=lambda: (tensors[0].tolist(), tensors.clear()))
    thread.start()
    thread.join()
    assert tensors == []


# -- pending work ----------------------------------------------------------------------------------------------------


def test_pending_work_is_capped_by_nodes() -> None:
    total = pycnn.zeros(())

    def accumulate() -> None:
        nonlocal total
        for _ in range(20_000):
            total += 1

    assert counted(accumulate)["nodes_evaluated"] > 0
    assert total.item() == 20_000


def test_pending_work_is_capped_by_the_batches_it_holds() -> None:
    """Large arrays (of pages that nobody touches) that only the pending sum holds: a few of them are too many."""
    released: list[int] = []
    total = pycnn.zeros(())
    for number in range(8):
        array = np.zeros(1 << 28, np.float32)
        weakref.finalize(array, released.append, number)
        array.flags.writeable = False
        batch = pycnn.from_numpy(array)
        total += batch[:5].sum() + 1
        del batch, array
    assert released
    assert not total.is_evaluated()
    assert total.item() == 8


def test_a_large_tensor_that_is_held_anyway_fills_no_cap() -> None:
    array = np.zeros(1 << 30, np.float32)
    array.flags.writeable = False
    data = pycnn.from_numpy(array)
    results: list[Any] = []
    (pycnn.zeros(1) + 1).item()  # nothing is pending from before
    assert counted(lambda: results.extend(data[i : i + 2] + i for i in range(50)))["plans_run"] == 0
    assert [r[0].item() for r in results] == list(range(50))


def test_pending_work_is_capped_by_bytes() -> None:
    total, addend = pycnn.zeros(1 << 20), pycnn.ones(1 << 20)

    def accumulate() -> None:
        nonlocal total
        for _ in range(600):
            total = total + addend

    assert counted(accumulate)["nodes_evaluated"] > 0
    assert total[5].item() == 600


def test_forward_and_backward_are_one_plan_however_large() -> None:
    """A walk that was cut half-way would keep every value it has met until its end."""
    weight = pycnn.ones(1 << 20, requires_grad=True)
    value = weight
    for _ in range(300):
        value = value * 1.001
    loss = value.sum()
    assert not loss.is_evaluated()
    assert counted(loss.backward)["plans_run"] == 1


def test_a_training_loop_holds_no_old_graphs() -> None:
    """Resident memory stands still, also with a running sum of losses."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc here")
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8))
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.01)
    x, y = pycnn.randn(128, 64), pycnn.randint(0, 8, (128,))
    total = pycnn.zeros(())

    def steps(count: int) -> None:
        nonlocal total
        for _ in range(count):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            total += loss.detach()

    steps(30)
    before = resident()
    steps(150)
    gc.collect()
    assert resident() - before < 32 << 20
    assert np.isfinite(total.item())


# -- views and donation together --------------------------------------------------------------------------------------


def test_a_value_that_a_later_backward_reads_is_not_overwritten() -> None:
    p = pycnn.full((2, 2), 6.0).requires_grad_()
    w = pycnn.ones(2, 2, requires_grad=True)
    y = p @ w
    with pycnn.no_grad():
        p.sub_(100)
    pycnn._core.eval(p)
    with pycnn.autograd.graph.allow_mutation_on_saved_tensors():
        y.sum().backward()
    assert w.grad.tolist() == [[12.0, 12.0], [12.0, 12.0]]


def test_new_data_leaves_old_views_with_the_old_data() -> None:
    x = pycnn.zeros(1000) + 1
    view = x[500:503]
    x.data = pycnn.ones(2) * 7
    assert view.tolist() == [1, 1, 1]
    assert x.tolist() == [7, 7]


def test_views_of_views_write_through_values_that_were_not_kept() -> None:
    x = pycnn.ones(2, 3) * 3
    view = x.view(-1)[0:2]
    pycnn._core.eval(x, view)
    view.add_(1)
    assert x.tolist() == [[4, 4, 3], [3, 3, 3]]


def test_a_view_follows_a_change_of_a_base_that_is_gone() -> None:
    base = pycnn.arange(4.0) + 1
    first, second, third = base[0:2], base[1:3], base[2:4]
    second += 1
    del base, second
    product = third * 2  # reads the changed base, which from here on only `first` remembers
    del third
    assert product.tolist() == [8, 8]
    assert first.tolist() == [1, 3]


def test_a_view_follows_its_base_in_the_grad_mode_it_was_made_in() -> None:
    a = pycnn.ones(4, requires_grad=True)
    x = a * 2
    view = x[0:2]
    with pycnn.no_grad():
        x.mul_(3)
        assert view.tolist() == [6, 6]
    (view.sum() + x.sum()).backward()
    assert a.grad.tolist() == [4, 4, 2, 2]
    with pycnn.no_grad():
        plain = a[0:2]
        a.add_(1)
    assert not plain.requires_grad


def test_a_stale_detached_tensor_refuses_to_write_back() -> None:
    x = pycnn.ones(2)
    old = x.detach()
    x.add_(1)
    with pytest.raises(RuntimeError, match="detached"):
        old.add_(1)
    assert (old.tolist(), x.tolist()) == ([1, 1], [2, 2])


def test_networks_with_one_state_are_not_written_through_each_other() -> None:
    """load_state_dict shares values, which nobody can write to: arrays are read-only, in-place changes rebind."""
    first, second = pycnn.nn.Linear(2, 2), pycnn.nn.Linear(2, 2)
    second.load_state_dict(first.state_dict())
    before = second.weight.tolist()
    weight, bias = first.weight.detach(), first.bias.detach()
    for array in (weight.numpy(), np.from_dlpack(weight), np.asarray(bias)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 7
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
    with pycnn.no_grad():
        first.weight.fill_(7)
        first.weight[0] += 1
    assert second.weight.tolist() == before
    assert first.weight.tolist() == [[8, 8], [7, 7]]


def test_the_first_step_of_training_writes_over_the_parameters() -> None:
    """A 1x1 kernel's gradient may have other strides along its dimensions of size 1; it lies the same way."""
    convolution = nn.Conv2d(16, 32, 1, bias=False)
    optimizer = pycnn.optim.SGD(convolution.parameters(), lr=0.1)
    convolution(pycnn.ones(2, 16, 5, 5)).sum().backward()
    before = pycnn._core.statistics()["buffers_donated"]
    optimizer.step()
    assert pycnn._core.statistics()["buffers_donated"] == before + 1


@pytest.mark.parametrize(("shape", "groups"), [((6, 40), 4), ((3, 8, 50), 8)])
def test_statistics_of_one_reduced_dimension_are_one_per_group(shape: tuple[int, ...], groups: int) -> None:
    """Means of single elements would be as many as there are elements."""
    x = pycnn.randn(*shape)
    pycnn.eval(x)
    first, arena = pycnn._core.describe_plan(F.group_norm(x, groups)).split(", ")[:2]
    assert (first, int(arena.split()[1]) < 4 * x.numel()) == ("plan: 3 steps", True)
