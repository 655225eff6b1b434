"""`DataLoader`: batches of a data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pycnn._core import int64, randint
from pycnn.random import Generator
from pycnn.utils.data.collate import default_collate, default_convert
from pycnn.utils.data.dataset import IterableDataset
from pycnn.utils.data.device import pinned
from pycnn.utils.data.fetch import Recipe
from pycnn.utils.data.pool import PooledIterator, WorkerPool, context_of
from pycnn.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

#: What an iterator has been told already.
_FIXED = ("batch_size", "batch_sampler", "dataset", "drop_last", "persistent_workers", "sampler")


class _Batches:
    """One epoch's iterator in this process."""

    def __init__(self, loader: DataLoader, batches: Iterator[Any]) -> None:
        self._loader = loader
        self._batches = batches

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Any:
        return next(self._batches)

    def __len__(self) -> int:
        return len(self._loader)


class DataLoader:
    """Iterates over batches; every `iter()` is a new epoch.

    Tensors of a `TensorDataset` (or of subsets of one) are taken batch by batch, never item by item. Batches and their
    order do not depend on `num_workers`, unless items themselves are random.

    Args:
        dataset: with `__getitem__` (or `__getitems__`, of a list of positions) and `__len__`, or an `IterableDataset`.
        batch_size: items per batch; None gives single items, not collated.
        shuffle: visit the items in a new random order each epoch.
        sampler: another order.
        batch_sampler: lists of positions; excludes batch_size, shuffle, sampler and drop_last.
        num_workers: processes that make batches ahead; 0 makes them where the loop runs. In a worker,
            `get_worker_info()` tells which it is, kernels run on one thread, and Python's, NumPy's and pycnn's random
            numbers are seeded with a number drawn per epoch plus the worker's number.
        collate_fn: makes a batch of a list of items (default: `default_collate`).
        pin_memory: put batches into page-locked memory, from which `to("cuda", non_blocking=True)` does not wait; no
            effect without a GPU. Objects in a batch that are no tensors may have a method `pin_memory()`.
        pin_memory_device, in_order: accepted, no effect; batches always come in order.
        drop_last: leave out an incomplete last batch.
        timeout: how long a worker may take for a batch, in seconds; 0 waits for ever.
        worker_init_fn: called in each worker with its number, after seeding.
        multiprocessing_context: "fork" (default on Linux), "spawn", "forkserver", or a context.
        generator: decides the order and the workers' seeds; otherwise the default generator does.
        prefetch_factor: batches each worker makes ahead (default 2).
        persistent_workers: keep the workers, and their copies of the data set, from one epoch to the next.

    Errors: ValueError for options that exclude each other. What a worker raises is raised again here, with the
    worker's traceback in the message; RuntimeError if one dies or takes too long.
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
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0:
            for option, given in (
                ("prefetch_factor", prefetch_factor is not None),
                ("persistent_workers", persistent_workers),
                ("multiprocessing_context", multiprocessing_context is not None),
            ):
                if given:
                    raise ValueError(f"{option} option needs worker processes: set num_workers > 0")
        elif prefetch_factor is None:
            prefetch_factor = 2
        elif prefetch_factor < 1:
            raise ValueError(f"prefetch_factor option should be positive, but got prefetch_factor={prefetch_factor}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            options: dict[str, Any] = {"shuffle": shuffle, "sampler": sampler, "batch_sampler": batch_sampler}
            option, given = next((name, value) for name, value in options.items() if value not in (None, False))
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {option} option, but got {option}={given}"
            )
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
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = context_of(multiprocessing_context) if num_workers > 0 else None
        self.prefetch_factor = prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
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
        self._pool: WorkerPool | None = None  # of persistent workers
        self._complete = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and getattr(self, "_complete", False):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self._elements())

    def __iter__(self) -> Iterator[Any]:
        # Drawn without workers as well, so that the orders that follow do not depend on their number.
        base_seed = int(randint(0, 2**62, (1,), dtype=int64, generator=self.generator).item())
        recipe = Recipe(
            self.dataset,
            self.collate_fn,
            self._batched,
            self.batch_size,
            self.drop_last,
            type(self.sampler) is SequentialSampler and self.batch_size is not None,
        )
        elements = iter(self._elements())
        if self.num_workers == 0:
            if self.timeout != 0:
                raise AssertionError("DataLoader requires timeout == 0 without worker processes")
            return self._given_out(map(recipe.fetcher(), elements))
        pool = self._pool
        if pool is None or pool.closed:
            assert self.prefetch_factor is not None
            pool = WorkerPool(
                recipe,
                self.num_workers,
                self.multiprocessing_context,
                self.prefetch_factor,
                self.timeout,
                self.worker_init_fn,
                base_seed,
            )
        self._pool = pool if self.persistent_workers else None
        pool.begin(elements, base_seed)
        batches = PooledIterator(pool, self.persistent_workers, self)
        return self._given_out(batches) if self.pin_memory else batches

    def _given_out(self, batches: Iterator[Any]) -> Iterator[Any]:
        return _Batches(self, map(pinned, batches) if self.pin_memory else batches)

    def _elements(self) -> Any:
        """What fetchers are called with, one by one: lists of positions, positions, or, for streams, nothing."""
        if isinstance(self.dataset, IterableDataset):
            return itertools.repeat(None)
        return self.batch_sampler if self._batched else self.sampler
