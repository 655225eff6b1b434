"""How plans run on a GPU: captured as CUDA graphs, in streams and threads. Skipped where there is no GPU; see
test_cuda.py for the emulated one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import pycnn
from pycnn import nn

pytestmark = pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason())


@pytest.fixture(autouse=True)
def _fresh_plans() -> Iterator[None]:
    pycnn.plan.clear_cache()
    yield
    pycnn.cuda.set_graphs_enabled(True)


def counted(work: Callable[[], object]) -> tuple[int, int]:
    """How many graphs were captured and launched by it."""
    before = pycnn.plan.statistics()
    work()
    after = pycnn.plan.statistics()
    return tuple(after[name] - before[name] for name in ("graphs_captured", "graphs_launched"))  # type: ignore[return-value]


class Training:
    """A small convolutional network with dropout, a step at a time."""

    def __init__(self, lr: float = 0.05, seed: int = 0) -> None:
        pycnn.manual_seed(seed)
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 4 * 4, 3)
        ).cuda()
        self.optimizer = pycnn.optim.SGD(self.net.parameters(), lr=lr, momentum=0.9)
        generator = np.random.default_rng(seed)
        self.batches = [
            (generator.normal(size=(6, 1, 12, 12)).astype("float32"), generator.integers(0, 3, 6)) for _ in range(4)
        ]
        self.steps = 0

    def step(self) -> float:
        return self.loss().item()

    def loss(self) -> pycnn.Tensor:
        """Of a step, computed but not read."""
        images, labels = self.batches[self.steps % len(self.batches)]
        self.steps += 1
        x, y = pycnn.tensor(images).cuda(), pycnn.tensor(labels).cuda()
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        pycnn.eval(loss)
        return loss

    def bits(self) -> list[bytes]:
        return [p.detach().cpu().numpy().tobytes() for p in self.net.parameters()]


def test_training_launches_graphs_from_the_third_step_on_with_the_same_bits() -> None:
    pycnn.cuda.set_graphs_enabled(False)
    plain = Training()
    assert counted(lambda: [plain.step() for _ in range(8)]) == (0, 0)
    pycnn.cuda.set_graphs_enabled(True)
    captured = Training()
    launched = [counted(captured.step)[1] for _ in range(8)]
    assert launched[0] == 0 and launched[-1] > 0, launched
    assert captured.bits() == plain.bits()


def test_losses_that_are_collected_do_not_keep_graphs_away() -> None:
    pycnn.cuda.set_graphs_enabled(False)
    plain = Training()
    expected = [plain.step() for _ in range(24)]
    pycnn.cuda.set_graphs_enabled(True)
    captured = Training()
    losses: list[pycnn.Tensor] = []
    launched = [counted(lambda: losses.append(captured.loss()))[1] for _ in range(24)]
    assert all(launched[-8:]), launched
    assert [loss.item() for loss in losses] == expected
    assert captured.bits() == plain.bits()


def test_a_new_learning_rate_takes_effect_in_a_launched_graph() -> None:
    def trained(graphs: bool) -> tuple[list[bytes], int]:
        pycnn.cuda.set_graphs_enabled(graphs)
        training = Training()
        for _ in range(8):
            training.step()
        training.optimizer.param_groups[0]["lr"] = 0.3
        launched = counted(training.step)[1]
        return training.bits(), launched

    (plain, none), (captured, some) = trained(False), trained(True)
    assert captured == plain and none == 0 and some > 0


def test_dropout_draws_new_numbers_in_every_launch() -> None:
    ones = pycnn.ones(64, 64).cuda()

    def masks() -> list[bytes]:
        pycnn.manual_seed(3)
        result = []
        for _ in range(8):
            x = nn.functional.dropout(ones, 0.5).cumsum(1).softmax(1)
            result.append(((x - x.mean()) * 2).cpu().numpy().tobytes())
        return result

    pycnn.cuda.set_graphs_enabled(False)
    plain = masks()
    pycnn.cuda.set_graphs_enabled(True)
    captured: list[bytes] = []
    assert counted(lambda: captured.extend(masks()))[1] > 0
    assert captured == plain and len(set(captured)) == len(captured)


def chain(x: pycnn.Tensor) -> pycnn.Tensor:
    """A plan of several steps without random numbers."""
    y = (x @ x).softmax(1)
    return (y.sum(0) + y.cumsum(1)).relu() @ x


def expected_chain(x: np.ndarray) -> np.ndarray:
    z = x @ x
    e = np.exp(z - z.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    return np.maximum(y.sum(0) + y.cumsum(1), 0) @ x


def test_inputs_that_alternate_have_a_graph_each() -> None:
    values = [np.random.default_rng(seed).normal(size=(8, 8)).astype("float32") for seed in range(3)]
    inputs = [pycnn.tensor(value).cuda() for value in values]

    def passes() -> None:
        for i in range(12):
            result = chain(inputs[i % 3]).cpu().numpy()
            np.testing.assert_allclose(result, expected_chain(values[i % 3]), rtol=1e-4, atol=1e-5)

    captured, launched = counted(passes)
    assert captured >= 3 and launched >= 6


def test_inputs_and_results_that_lie_elsewhere_every_time() -> None:
    data = np.random.default_rng(0).normal(size=(30, 8, 8)).astype("float32")
    all_of_it = pycnn.tensor(data).cuda()
    inputs = [all_of_it[i] for i in range(30)]  # views: 30 places
    for x in inputs:
        x.cpu()
    results = []

    def passes() -> None:
        for x in inputs:
            results.append(chain(x))
            pycnn.eval(results[-1])

    assert counted(passes)[1] >= 10
    for result, value in zip(results, data, strict=True):
        np.testing.assert_allclose(result.cpu().numpy(), expected_chain(value), rtol=1e-4, atol=1e-5)


def test_a_graph_reads_what_lies_at_its_addresses_now() -> None:
    for seed in range(8):  # the input of each round gets the block that the last one's had
        value = np.random.default_rng(seed).normal(size=(8, 8)).astype("float32")
        result = chain(pycnn.tensor(value).cuda()).cpu().numpy()
        np.testing.assert_allclose(result, expected_chain(value), rtol=1e-4, atol=1e-5)


def test_profiling_runs_steps_one_by_one() -> None:
    x = pycnn.tensor(np.eye(8, dtype="float32")).cuda()
    for _ in range(4):
        chain(x).cpu()
    pycnn._core.start_profiling()
    try:
        assert counted(lambda: chain(x).cpu()) == (0, 0)
    finally:
        events = pycnn._core.stop_profiling()
    assert len(events) >= 4


def test_a_plan_that_asks_for_values_while_it_runs_is_not_captured() -> None:
    x = pycnn.tensor([[0.25, 0.5], [0.75, 1.0]]).cuda()

    def losses() -> None:
        for _ in range(6):
            y = (x @ x).softmax(1)
            nn.functional.binary_cross_entropy(y, x.clamp(0, 1)).item()

    plan = pycnn.plan.describe(nn.functional.binary_cross_entropy((x @ x).softmax(1), x.clamp(0, 1)))
    assert " require " in plan
    assert counted(losses) == (0, 0)


def test_an_index_out_of_range_is_told_of_by_a_graph_too() -> None:
    table = pycnn.tensor(np.arange(16, dtype="float32").reshape(8, 2)).cuda()
    index = pycnn.tensor([0, 7, 1]).cuda()

    def looked_up() -> np.ndarray:
        return ((table[index] + 1).softmax(1).cumsum(0) @ table.T).cpu().numpy()

    first = looked_up()
    for _ in range(4):
        np.testing.assert_array_equal(looked_up(), first)
    index.data.copy_(pycnn.tensor([0, 8, 1]).cuda())
    with pytest.raises((IndexError, RuntimeError), match="index out of range"):
        looked_up()
    index.data.copy_(pycnn.tensor([0, 7, 1]).cuda())
    np.testing.assert_array_equal(looked_up(), first)


def test_threads_and_streams_run_one_plan_at_once() -> None:
    values = [np.random.default_rng(seed).normal(size=(8, 8)).astype("float32") for seed in range(4)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            stream = pycnn.cuda.Stream() if number % 2 else None
            with pycnn.cuda.stream(stream):
                x = pycnn.tensor(values[number]).cuda()
                for _ in range(10):
                    result = chain(x).cpu().numpy()
                    np.testing.assert_allclose(result, expected_chain(values[number]), rtol=1e-4, atol=1e-5)
        except BaseException as error:
            failures.append(error)

    def together() -> None:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert counted(together)[1] > 0
    assert not failures, failures


# -- page-locked memory ------------------------------------------------------------------------------------------------


def test_pinned_tensors_and_their_copies() -> None:
    x = pycnn.arange(12.0).reshape(3, 4)
    assert not x.is_pinned()
    pinned = x.pin_memory()
    assert (
        pinned.is_pinned() and pinned[1:].is_pinned() and pinned.pin_memory() is pinned and not (pinned + 1).is_pinned()
    )
    np.testing.assert_array_equal(pinned.numpy(), x.numpy())
    for non_blocking in (False, True):
        np.testing.assert_array_equal(pinned.to("cuda", non_blocking=non_blocking).cpu().numpy(), x.numpy())
        np.testing.assert_array_equal(pinned.cuda(non_blocking=non_blocking).cpu().numpy(), x.numpy())
    assert not pinned.cuda().is_pinned()
    with pytest.raises(RuntimeError, match="only tensors on the CPU can be pinned"):
        pinned.cuda().pin_memory()
    pinned += 1  # another block: a copy may still be reading this one
    assert not pinned.is_pinned()


def test_pinned_memory_waits_for_the_copies_from_it() -> None:
    size = 5 * 4096 // 4
    first = pycnn.ones(size).pin_memory()
    address = first.data_ptr()
    pycnn.cuda.synchronize()
    moved = first.to("cuda", non_blocking=True)
    del first
    second = pycnn.zeros(size).pin_memory()
    if not moved.sum().item() == size:
        raise AssertionError("overwritten while it was copied")
    third = pycnn.zeros(size).pin_memory()
    assert address in (second.data_ptr(), third.data_ptr())


def test_loader_and_prefetch() -> None:
    from pycnn.utils.data import DataLoader, TensorDataset, prefetch

    data = TensorDataset(pycnn.arange(40.0).reshape(10, 4), pycnn.arange(10))
    for workers in (0, 2):
        loader = DataLoader(data, batch_size=3, pin_memory=True, num_workers=workers)
        batches = list(loader)
        assert len(loader) == 4 and all(x.is_pinned() and y.is_pinned() for x, y in batches)
        ahead = prefetch(loader, "cuda")
        assert len(ahead) == 4
        for _ in range(2):
            seen = 0
            for (x, y), (expected_x, expected_y) in zip(ahead, batches, strict=True):
                assert x.device.type == "cuda" and y.device.type == "cuda"
                np.testing.assert_array_equal((x * 2).cpu().numpy(), 2 * expected_x.numpy())
                np.testing.assert_array_equal(y.cpu().numpy(), expected_y.numpy())
                seen += 1
            assert seen == 4
    nested = [{"x": pycnn.ones(2), "name": "a", "pair": (pycnn.zeros(1), 3)}]
    (batch,) = prefetch(nested)
    assert batch["x"].is_cuda and batch["pair"][0].is_cuda and batch["pair"][1] == 3 and batch["name"] == "a"
    assert list(prefetch([])) == []
    (stays,) = prefetch([pycnn.ones(2)], "cpu")
    assert not stays.is_cuda
