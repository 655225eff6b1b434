"""DataLoader with worker processes: the same batches in the same order, errors, deaths, nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest

import pycnn
from pycnn.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    get_worker_info,
)


class Pair(NamedTuple):
    image: pycnn.Tensor
    name: str


class Items(Dataset):
    """One of everything that crosses processes."""

    def __init__(self, count=23):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {
            "tensor": pycnn.arange(3) * index,
            "array": np.full((2, 2), index, np.float32),
            "pair": Pair(pycnn.ones(2).bfloat16() * index, f"item {index}"),
            "number": index / 2,
            "flag": index % 2 == 0,
        }


class Whereabouts(Dataset):
    """Who made an item, and with which random numbers."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        info = get_worker_info()
        assert info is not None and info.num_workers == 3 and info.dataset is self
        assert pycnn.get_num_threads() == 1 and pycnn.initial_seed() == info.seed
        return index, info.id, info.seed, os.getpid(), random.random(), np.random.random(), pycnn.rand(()).item()


class Doing(Dataset):
    """Does something at one of its items."""

    def __init__(self, what, at=5, count=12):
        self.what, self.at, self.count = what, at, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.what(index) if index == self.at else index


class Shards(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, 11, step))


def plain(batch):
    """A batch as something that can be compared with ==."""
    if isinstance(batch, pycnn.Tensor):
        return str(batch.dtype), batch.tolist()
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch).__name__, [plain(value) for value in batch]
    return batch


def gone(pid):
    """Whether the process has ended (or ends soon)."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def pids(loader):
    return [worker.process.pid for worker in loader._pool._workers]


def worker_pids(iterator):
    return [worker.process.pid for worker in iterator._pool._workers]


# -- the same batches --------------------------------------------------------------------------------------------------
OPTIONS = {
    "in order": {"batch_size": 4},
    "shuffled": {"batch_size": 5, "shuffle": True, "drop_last": True},
    "own generator": {"batch_size": 5, "shuffle": True, "generator": 3},
    "sampler": {"batch_size": 3, "sampler": [5, 1, 1, 22, 0]},
    "batch sampler": {"batch_sampler": [[3, 1], [2], [9, 8, 7, 6]]},
    "single items": {"batch_size": None},
    "collate_fn": {"batch_size": 7, "collate_fn": lambda items: [item["number"] for item in items]},
    "fewer batches than workers": {"batch_size": 20},
    "prefetch 1": {"batch_size": 2, "prefetch_factor": 1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_batches_do_not_depend_on_the_number_of_workers(name):
    found = []
    for num_workers in (0, 1, 3):
        options = dict(OPTIONS[name])
        if "generator" in options:
            options["generator"] = pycnn.Generator().manual_seed(options["generator"])
        if num_workers == 0:
            options.pop("prefetch_factor", None)
        pycnn.manual_seed(9)
        loader = DataLoader(Items(), num_workers=num_workers, **options)
        epochs = [[plain(batch) for batch in loader] for _ in range(2)]
        assert all(len(epoch) == len(loader) for epoch in epochs)
        found.append((epochs, pycnn.rand(2).tolist()))
    assert found[1] == found[0] and found[2] == found[0]


def test_tensors_in_memory():
    data = Subset(TensorDataset(pycnn.arange(40).reshape(20, 2), pycnn.rand(20)), range(3, 17))
    found = [[plain(b) for b in DataLoader(data, 4, num_workers=n)] for n in (0, 2)]
    assert found[0] == found[1] and len(found[0]) == 4


def test_large_batches():
    """Arrays from 64 KiB on travel in shared memory."""

    class Large(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            rng = np.random.default_rng(index)
            return {
                "image": pycnn.tensor(rng.random((3, 70, 80), np.float32)),
                "narrow": pycnn.tensor(rng.random((80, 80), np.float32)).bfloat16(),
                "double": rng.random((40, 51)),
                "mask": rng.random((90, 91)) > 0.5,
                "label": index,
            }

    def collate(items):
        batch = default_collate(items)
        batch["transposed"] = batch["double"].transpose(1, 2)
        batch["array"] = np.stack([item["double"] for item in items])
        batch["fortran"] = np.asfortranarray(batch["array"])
        return batch

    found = []
    for num_workers in (0, 2):
        before = len(os.listdir("/proc/self/fd"))
        batches = list(DataLoader(Large(), 4, num_workers=num_workers, collate_fn=collate))
        assert len(os.listdir("/proc/self/fd")) == before
        found.append(batches)
    for ours, expected in zip(*reversed(found), strict=True):
        assert list(ours) == list(expected)
        for name, value in expected.items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(ours[name], value) and ours[name].flags.writeable
            else:
                assert ours[name].dtype == value.dtype and pycnn.equal(ours[name], value)
    kept = found[1][0]["array"]
    del found, batches, ours
    kept += 1
    assert kept.shape == (4, 40, 51)


def test_streams_end_one_by_one():
    assert [b.tolist() for b in DataLoader(Shards(), 2, num_workers=1)] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
        [10],
    ]
    # Worker 0 has 0 3 6 9, worker 1 has 1 4 7 10, worker 2 has 2 5 8: turns, then those that are left.
    loader = DataLoader(Shards(), 2, num_workers=3, persistent_workers=True)
    for _ in range(2):
        assert [b.tolist() for b in loader] == [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8]]
    assert [b.tolist() for b in DataLoader(Shards(), 2, num_workers=3, drop_last=True)][-1] == [7, 10]


def test_spawned_workers():
    loader = DataLoader(TensorDataset(pycnn.arange(5)), 2, num_workers=1, multiprocessing_context="spawn")
    assert [x.tolist() for (x,) in loader] == [[0, 1], [2, 3], [4]]


def test_getitems_is_preferred():
    class Whole(Items):
        def __getitems__(self, indices):
            return [10 * i for i in indices]

    for num_workers in (0, 2):
        assert [b.tolist() for b in DataLoader(Whole(3), 2, num_workers=num_workers)] == [[0, 10], [20]]


def test_gradients_flow_from_batches_of_workers():
    w = pycnn.ones(2, requires_grad=True)
    for (x,) in DataLoader(TensorDataset(pycnn.ones(6, 2)), 3, num_workers=2):
        (x * w).sum().backward()
    assert w.grad.tolist() == [6, 6]


# -- workers -----------------------------------------------------------------------------------------------------------
def test_workers_know_who_they_are():
    pycnn.manual_seed(1)
    loader = DataLoader(Whereabouts(), 2, num_workers=3, collate_fn=list)
    assert get_worker_info() is None
    first, second = list(loader), list(loader)
    assert [[item[1] for item in batch] for batch in first] == [[0, 0], [1, 1], [2, 2], [0, 0], [1, 1], [2, 2]]
    seeds = {item[1]: item[2] for batch in first for item in batch}
    assert seeds[1] == seeds[0] + 1 and seeds[2] == seeds[0] + 2
    for column in (4, 5, 6):  # Python's, NumPy's and pycnn's random numbers differ by worker and epoch
        drawn = [item[column] for epoch in (first, second) for batch in epoch for item in batch]
        assert len(set(drawn)) == len(drawn)
    pycnn.manual_seed(1)
    again = list(loader)
    assert [[item[4:] for item in batch] for batch in again] == [[item[4:] for item in batch] for batch in first]


def test_worker_init_fn(tmp_path):
    def begin(worker_id):
        assert get_worker_info().id == worker_id
        (tmp_path / f"worker {worker_id}").write_text(str(get_worker_info().seed))

    assert len(list(DataLoader(Items(), 8, num_workers=2, worker_init_fn=begin))) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker 0", "worker 1"]

    def fail(worker_id):
        raise LookupError("no such camera")

    with pytest.raises(LookupError, match="no such camera"):
        list(DataLoader(Items(), 8, num_workers=2, worker_init_fn=fail))


def test_workers_make_batches_ahead(tmp_path):
    def mark(items):
        (tmp_path / str(items[0])).touch()
        return items[0]

    iterator = iter(DataLoader(Doing(None, at=None), 1, num_workers=2, prefetch_factor=3, collate_fn=mark))
    assert next(iterator) == 0
    for _ in range(200):
        if len(list(tmp_path.iterdir())) == 7:
            break
        time.sleep(0.02)
    time.sleep(0.1)
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(7))  # one taken, 2 times 3 ahead


def test_persistent_workers_stay():
    loader = DataLoader(Items(), 4, num_workers=2, persistent_workers=True)
    expected = [plain(batch) for batch in DataLoader(Items(), 4)]
    assert [plain(batch) for batch in loader] == expected
    first = pids(loader)
    for batch in loader:  # an epoch that is not finished
        assert plain(batch) == expected[0]
        break
    assert [plain(batch) for batch in loader] == expected
    assert pids(loader) == first
    del loader
    assert all(gone(pid) for pid in first)


def test_workers_end_with_their_epoch():
    loader = DataLoader(Items(), 4, num_workers=2)
    iterator = iter(loader)
    found = worker_pids(iterator)
    assert len(list(iterator)) == 6 and all(gone(pid) for pid in found)
    assert list(iterator) == []
    iterator = iter(loader)
    found = worker_pids(iterator)
    next(iterator)
    del iterator
    assert all(gone(pid) for pid in found)


# -- errors ------------------------------------------------------------------------------------------------------------
class Strange(Exception):
    def __init__(self, one, two):
        super().__init__(one, two)


def raising(error):
    def what(index):
        raise error

    return what


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad picture"), ValueError),
        (KeyError("bad picture"), KeyError),
        (Strange("bad picture", 2), RuntimeError),
        (type("Local", (Exception,), {})("bad picture"), RuntimeError),
        (StopIteration("bad picture"), RuntimeError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_raised_where_its_batch_would_have_been(error, kind):
    loader = DataLoader(Doing(raising(error)), 2, num_workers=2)
    iterator, found = iter(loader), []
    with pytest.raises(kind) as caught:
        for batch in iterator:
            found.append(batch.tolist())
    text = str(caught.value)
    assert found == [[0, 1], [2, 3]]
    assert f"Caught {type(error).__name__} in DataLoader worker process 0." in text
    assert "Traceback" in text and "__getitem__" in text and "bad picture" in text and "\\n" not in text
    assert [batch.tolist() for batch in iterator] == [[6, 7], [8, 9], [10, 11]]


def test_what_cannot_be_pickled_is_an_error():
    with pytest.raises(Exception, match=r"(?s)DataLoader worker process 0.*pickle"):
        list(DataLoader(Items(), 4, num_workers=1, collate_fn=lambda items: lambda: items))


def test_a_killed_worker_is_an_error():
    loader = DataLoader(Doing(lambda index: os.kill(os.getpid(), signal.SIGKILL)), 1, num_workers=2)
    iterator = iter(loader)
    found = worker_pids(iterator)
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid {found[1]}\) is killed by signal: Killed"):
        list(iterator)
    assert all(gone(pid) for pid in found) and list(iterator) == []
    assert len(list(DataLoader(Items(), 4, num_workers=2))) == 6


def test_a_worker_that_exits_is_an_error():
    with pytest.raises(RuntimeError, match="exited unexpectedly with exit code 7"):
        list(DataLoader(Doing(lambda index: os._exit(7)), 1, num_workers=2))


def test_a_batch_that_takes_too_long_is_an_error():
    iterator = iter(DataLoader(Doing(lambda index: time.sleep(60)), 1, num_workers=1, timeout=0.2))
    found = worker_pids(iterator)
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        list(iterator)
    started = time.monotonic()
    os.kill(found[0], signal.SIGKILL)
    del iterator
    assert gone(found[0]) and time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"num_workers": -1}, ValueError, "num_workers"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor"),
        ({"num_workers": 1, "prefetch_factor": 0}, ValueError, "prefetch_factor"),
        ({"persistent_workers": True}, ValueError, "persistent_workers"),
        ({"multiprocessing_context": "fork"}, ValueError, "multiprocessing_context"),
        ({"num_workers": 1, "multiprocessing_context": "thread"}, ValueError, "thread"),
        ({"num_workers": 1, "multiprocessing_context": 3}, TypeError, "context"),
    ],
)
def test_bad_arguments(options, kind, text):
    with pytest.raises(kind, match=text):
        DataLoader(Items(), **options)


def test_accepted_arguments():
    loader = DataLoader(Items(2), pin_memory=True, pin_memory_device="", in_order=True)
    assert loader.pin_memory and loader.prefetch_factor is None and len(list(loader)) == 2
    assert DataLoader(Items(2), num_workers=1).prefetch_factor == 2
    assert type(loader.sampler) is SequentialSampler


SLOW = """
import sys, time
from pycnn.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self): return 1000
    def __getitem__(self, index):
        time.sleep(0.02)
        return index

iterator = iter(DataLoader(Slow(), 1, num_workers=3))
next(iterator)
print(*(worker.process.pid for worker in iterator._pool._workers), flush=True)
for batch in iterator:
    pass
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_no_process_survives_its_parent(how, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=tmp_path,
    ) as parent:  # fmt: skip
        found = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(found) == 3
        if how == "Ctrl-C":  # which the terminal sends to the whole group
            os.killpg(parent.pid, signal.SIGINT)
        else:
            parent.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
        _, errors = parent.communicate(timeout=30)
    assert parent.returncode != 0 and all(gone(pid) for pid in found)
    if how == "Ctrl-C":
        assert errors.count("KeyboardInterrupt") == errors.count("Traceback") == 1, errors


# -- collating ---------------------------------------------------------------------------------------------------------
def test_collating_keeps_types():
    from pycnn.utils.data import default_convert

    batch = default_collate([OrderedDict(b=(1, 2.5), a=np.int16(3)), OrderedDict(b=(2, 3.5), a=np.int16(4))])
    assert type(batch) is OrderedDict and list(batch) == ["b", "a"]
    assert type(batch["b"]) is list and batch["b"][1].dtype == pycnn.float64
    assert batch["a"].dtype == pycnn.int16 and batch["a"].tolist() == [3, 4]
    converted = default_convert({"x": (np.float32(2), [np.zeros(2)], "text", None)})
    assert converted["x"][0].dtype == pycnn.float32 and converted["x"][1][0].shape == (2,)
    assert converted["x"][2:] == ["text", None]


def test_collating_equals_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    samples = [
        [1, 2], [1.5, 2.0], [True, False], ["a", "b"], [b"a", b"b"], [np.float16(1), np.float16(2)],
        [np.zeros((2, 1), np.uint8), np.ones((2, 1), np.uint8)], [(1, "a"), (2, "b")], [[1, 2.0], [3, 4.0]],
        [{"x": 1, "y": [2]}, {"x": 3, "y": [4]}], [Pair(1, "a"), Pair(2, "b")],
    ]  # fmt: skip
    for sample in samples:
        ours, theirs = DataLoader(sample, 2), torch.utils.data.DataLoader(sample, 2)
        assert str(plain(next(iter(ours)))) == _torch_plain(torch, next(iter(theirs)))


def _torch_plain(torch, batch):
    def walk(value):
        if isinstance(value, torch.Tensor):
            return str(value.dtype).replace("torch", "pycnn"), value.tolist()
        if isinstance(value, dict):
            return {key: walk(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value).__name__, [walk(part) for part in value]
        return value

    return str(walk(batch))
