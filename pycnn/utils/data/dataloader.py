"""`DataLoader`: batches of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from pycnn import _core
from pycnn.random import Generator
from pycnn.utils.data.collate import default_collate, default_convert
from pycnn.utils.data.dataset import IterableDataset, Subset, TensorDataset
from pycnn.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """Iterates over batches; every `iter()` is a new epoch.

    Tensors of a `TensorDataset` (or of subsets of one) are taken batch by batch, never item by item.

    Args:
        dataset: with `__getitem__` and `__len__`, or an `IterableDataset`.
        batch_size: items per batch; None gives single items, not collated.
        shuffle: visit the items in a new random order each epoch.
        sampler: another order.
        batch_sampler: lists of positions; excludes batch_size, shuffle, sampler and drop_last.
        num_workers: 0; loading happens where the loop runs.
        collate_fn: makes a batch of a list of items (default: `default_collate`).
        pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers: accepted, no
            effect.
        drop_last: leave out an incomplete last batch.
        generator: decides the order; otherwise the global seed does.

    Errors: ValueError for options that exclude each other, NotImplementedError for num_workers > 0.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if num_workers > 0:
            raise NotImplementedError(f"DataLoader: num_workers={num_workers} is not available yet, use num_workers=0")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader with IterableDataset: expected unspecified shuffle, sampler and batch_sampler")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.generator = generator
        self.sampler: Any = None
        self.batch_sampler: Any = batch_sampler
        if not iterable:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            self.sampler = sampler
            if batch_size is not None:
                self.batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        elif batch_size is not None and (isinstance(batch_size, bool) or batch_size <= 0):
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        self._batched = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self.batch_sampler if self._batched else self.sampler)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.dataset, IterableDataset):
            return self._iterate_stream()
        if not self._batched:
            return (self.collate_fn(self.dataset[index]) for index in self.sampler)
        if self.collate_fn is default_collate:
            tensors, positions = _in_memory(self.dataset)
            if tensors is not None:
                return self._iterate_tensors(tensors, positions)
        return self._iterate_items()

    def _iterate_items(self) -> Iterator[Any]:
        for indices in self.batch_sampler:
            yield self.collate_fn([self.dataset[index] for index in indices])

    def _iterate_stream(self) -> Iterator[Any]:
        if self.batch_size is None:
            yield from (self.collate_fn(item) for item in self.dataset)
            return
        items = []
        for item in self.dataset:
            items.append(item)
            if len(items) == self.batch_size:
                yield self.collate_fn(items)
                items = []
        if items and not self.drop_last:
            yield self.collate_fn(items)

    def _iterate_tensors(self, tensors: tuple[Any, ...], positions: Any) -> Iterator[list[Any]]:
        consecutive = positions is None and type(self.sampler) is SequentialSampler and self.batch_size is not None
        for indices in self.batch_sampler:
            if consecutive:
                yield [tensor[indices[0] : indices[-1] + 1] for tensor in tensors]
                continue
            rows = np.asarray(indices, np.int64)
            index = _core.tensor(rows if positions is None else positions[rows])
            yield [tensor.index_select(0, index) for tensor in tensors]


def _in_memory(dataset: Any) -> tuple[Any, Any]:
    """The tensors under (subsets of) a TensorDataset and the rows to take of them (None: all in order)."""
    positions = None
    while type(dataset) is Subset:
        outer = np.asarray(dataset.indices, np.int64)
        positions = outer if positions is None else outer[positions]
        dataset = dataset.dataset
    return (dataset.tensors, positions) if type(dataset) is TensorDataset else (None, None)
