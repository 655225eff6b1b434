"""A share of a data set for each of several processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pycnn._core import randperm
from pycnn.random import Generator
from pycnn.utils.data.sampler import Sampler


class DistributedSampler(Sampler):
    """Every `num_replicas`-th position, beginning with `rank`: each process visits another part.

    Args:
        dataset: with `__len__`.
        num_replicas: how many processes there are.
        rank: which of them this is.
        shuffle: another order in each epoch, the same in all processes.
        seed: decides it, together with the epoch.
        drop_last: whether positions are left out, instead of visited twice, so that all parts have one length.

    Errors: RuntimeError if the numbers are not given, ValueError for a bad rank.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError("Requires distributed package to be available")
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        share = len(dataset) / num_replicas
        self.num_samples = math.floor(share) if drop_last else math.ceil(share)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order = list(range(count))
        if self.shuffle:
            order = randperm(count, generator=Generator().manual_seed(self.seed + self.epoch)).tolist()
        order *= math.ceil(self.total_size / max(count, 1))
        return iter(order[: self.total_size][self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch begins, so that its order differs."""
        self.epoch = epoch
