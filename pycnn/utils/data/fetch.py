"""Fetchers: from what a sampler gives to a batch, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pycnn import _core
from pycnn.utils.data.collate import default_collate
from pycnn.utils.data.dataset import IterableDataset, Subset, TensorDataset


@dataclass(frozen=True)
class Recipe:
    """How batches are made: what a worker needs to know of its `DataLoader`."""

    dataset: Any
    collate_fn: Callable[[Any], Any]
    batched: bool
    batch_size: int | None
    drop_last: bool
    consecutive: bool  #: positions come in order, so that batches of tensors are slices

    def fetcher(self) -> Callable[[Any], Any]:
        """A function of a sampler's element (ignored for streams) that gives a batch, or raises StopIteration."""
        if isinstance(self.dataset, IterableDataset):
            batches = self._stream()
            return lambda _: next(batches)
        if not self.batched:
            return lambda index: self.collate_fn(self.dataset[index])
        if self.collate_fn is default_collate:
            tensors, positions = in_memory(self.dataset)
            if tensors is not None:
                return lambda indices: self._rows(tensors, positions, indices)
        if hasattr(self.dataset, "__getitems__"):
            return lambda indices: self.collate_fn(self.dataset.__getitems__(indices))
        return lambda indices: self.collate_fn([self.dataset[index] for index in indices])

    def _stream(self) -> Iterator[Any]:
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

    def _rows(self, tensors: tuple[Any, ...], positions: Any, indices: Any) -> list[Any]:
        if self.consecutive and positions is None:
            return [tensor[indices[0] : indices[-1] + 1] for tensor in tensors]
        rows = np.asarray(indices, np.int64)
        index = _core.tensor(rows if positions is None else positions[rows])
        return [tensor.index_select(0, index) for tensor in tensors]


def in_memory(dataset: Any) -> tuple[Any, Any]:
    """The tensors under (subsets of) a TensorDataset and the rows to take of them (None: all in order)."""
    positions = None
    while type(dataset) is Subset:
        outer = np.asarray(dataset.indices, np.int64)
        positions = outer if positions is None else outer[positions]
        dataset = dataset.dataset
    return (dataset.tensors, positions) if type(dataset) is TensorDataset else (None, None)
