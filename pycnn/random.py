"""Streams of random numbers: the default one, and those of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pycnn._core import Generator, Tensor, default_generator, int64, randint

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator, which is returned: the same calls then give the same random numbers.

    Args:
        seed: an integer in -2**63..2**64-1 (or what `int` makes one of); negative ones stand for those 2**64 above.

    Errors: ValueError for others.
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seeds the default generator from the operating system; gives the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state, a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Restores what `get_rng_state` gave. Errors: TypeError for another dtype, RuntimeError for another size."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: object = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """After the block the default generator goes on as if nothing had been drawn or seeded in it.

    Args:
        devices, device_type: accepted; there are no GPUs.
        enabled: False makes it a block without effect.
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


def from_default() -> Generator:
    """A generator whose seed is drawn from the default one: `manual_seed` decides, and every one differs."""
    return Generator().manual_seed(int(randint(0, 2**63 - 1, (1,), dtype=int64).item()))
