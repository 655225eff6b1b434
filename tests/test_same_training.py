"""Data sets and loaders, optimisers' hooks, checkpoints, initial values: the same code gives the same with PyTorch."""

from __future__ import annotations

from typing import Any

import both
import numpy as np
import pytest
from both import attempt


def stream(torch: Any, *items: int) -> Any:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(items)

    return Stream()


def data_sets(torch: Any) -> Any:
    data, x = torch.utils.data, torch.arange(6)
    pairs, part = data.StackDataset(a=[1, 2], b=[3, 4]), data.Subset(list(range(10)), [7, 3, 5])
    wrong = [
        lambda: data.ConcatDataset([stream(torch, 1)]), lambda: list(data.ChainDataset([[1]])),
        data.IterableDataset, lambda: len(stream(torch, 1) + stream(torch, 2)), lambda: data.TensorDataset(x, x[1:]),
        lambda: data.random_split(range(5), [1.5, -0.5]), lambda: data.random_split(range(5), [2, 2]),
        lambda: data.WeightedRandomSampler([[1]], 1), lambda: list(data.WeightedRandomSampler([1, 2], 3, False)),
        lambda: list(data.WeightedRandomSampler([0, 0], 1)), lambda: list(data.WeightedRandomSampler([1.0, -1.0], 1)),
    ]  # fmt: skip
    return [
        list(stream(torch, 1, 2) + stream(torch, 3)), pairs.__getitems__([1, 0]), part.__getitems__([1, 0]),
        data.StackDataset([1, 2], [3, 4]).__getitems__([0, 1]), data.Subset(part, [2]).__getitems__([0]),
        data.WeightedRandomSampler([1, 2], 3).weights, *map(attempt, wrong),
    ]  # fmt: skip


def batches(torch: Any) -> Any:
    loader_of, collate = torch.utils.data.DataLoader, torch.utils.data.default_collate
    loader = loader_of(range(5), batch_size=2)
    epoch = iter(loader)
    wrong = [
        lambda: list(loader_of([1], timeout=5)), lambda: loader_of([1], generator=3).__iter__(),
        lambda: collate([{"a": 1}, {"b": 1}]), lambda: collate([[1], [1, 2]]), lambda: collate([None]),
        *(lambda name=name: setattr(loader, name, 3) for name in ("batch_size", "dataset", "drop_last", "sampler")),
    ]  # fmt: skip
    loader.num_workers = 0
    return [
        len(epoch), iter(epoch) is epoch, len(list(epoch)), collate([1, 2.5]), collate([1.0, 2]), collate([1, 2]),
        collate([True, False]), collate([np.float32(1), np.float32(2)]), *map(attempt, wrong),
    ]  # fmt: skip


def steps(torch: Any) -> Any:
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([p], lr=0.1)
    seen: list[Any] = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append((args[0] is o, len(args), kwargs)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append((args[0] is o, len(args), kwargs)))
    optimizer.step()
    optimizer.step(lambda: 3.0)
    sparse = torch.optim.SparseAdam([p], lr=0.5, betas=(0.1, 0.2))
    found = [seen, repr(sparse), sparse.step(lambda: 2.0), sparse.state_dict()]
    p.grad = torch.ones(2)
    wrong = [
        sparse.step, lambda: torch.optim.SparseAdam([p], lr=0), lambda: torch.optim.SparseAdam([p], eps=0),
        lambda: torch.optim.SparseAdam([p], betas=(1.0, 0.5)), lambda: torch.optim.SparseAdam([]),
        lambda: torch.optim.SparseAdam([p], lr=torch.ones(2)), lambda: torch.optim.SGD(["a"]),
    ]  # fmt: skip
    return [*found, *map(attempt, wrong)]


def checkpoints(torch: Any) -> Any:
    run, x = torch.utils.checkpoint.checkpoint, torch.ones(2, requires_grad=True)
    run(lambda a, b=1: a * b, x, b=3, use_reentrant=False).sum().backward()
    wrong = [
        lambda: run(lambda a, b=1: a * b, x, b=3, use_reentrant=True),
        lambda: run(lambda a: a, x, use_reentrant=True, debug=True),
        lambda: run(lambda a: a, x, use_reentrant=False, determinism_check="x"),
    ]
    return [x.grad, *map(attempt, wrong)]


def initial_values(torch: Any) -> Any:
    init, empty = torch.nn.init, torch.empty
    far = init.trunc_normal_(empty(500), 0, 1, 3, 4)
    near = init.trunc_normal_(empty(20_000), 1, 2, 0, 2)
    wrong = [lambda: init.trunc_normal_(empty(3), 0, 1, 2, 1), lambda: init.uniform_(empty(3), 2, 1)]
    return [
        bool(((far >= 3) & (far <= 4)).all()), bool(((near >= 0) & (near <= 2)).all()),
        abs(near.mean().item() - 1) < 0.03, abs(near.std().item() - 0.566) < 0.03,
        init._calculate_correct_fan(empty(2, 3, 4), "fan_out"), *map(attempt, wrong),
    ]  # fmt: skip


CODE = (data_sets, batches, steps, checkpoints, initial_values)


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.__name__)
@pytest.mark.filterwarnings("ignore")
def test_same_as_pytorch(code: Any) -> None:
    both.check(code)
