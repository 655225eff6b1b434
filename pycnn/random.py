"""Seeds: the global one of the core, and generators for the order of data."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import get_rng_state, initial_seed, manual_seed, set_rng_state
from pycnn._device import check_device

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


def seed() -> int:
    """Seeds the global generator from the operating system; gives the seed."""
    value = secrets.randbits(63)
    manual_seed(value)
    return value


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **options: Any) -> Iterator[None]:
    """After the block the global generator goes on as if nothing had been drawn or seeded in it.

    Args:
        devices: accepted; there are no GPUs.
        enabled: False makes it a block without effect.
    """
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


class Generator:
    """A source of randomness of its own, for functions that draw, `DataLoader`, samplers and `random_split`.

    Args:
        device: "cpu".
    """

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self.device = _core.device("cpu")
        self.manual_seed(0)

    def manual_seed(self, seed: int) -> Generator:
        """Starts again from `seed` (an integer); gives the generator."""
        self._seed = int(seed)
        self._numpy = np.random.Generator(np.random.PCG64(self._seed % 2**64))
        return self

    def initial_seed(self) -> int:
        """The seed it started from."""
        return self._seed

    def seed(self) -> int:
        """Starts again from a seed of the operating system; gives the seed."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def get_state(self) -> Any:
        """The state, a uint8 tensor, to be saved and given to `set_state`."""
        state = {"seed": self._seed, **self._numpy.bit_generator.state}
        return _core.tensor(np.frombuffer(json.dumps(state).encode(), np.uint8))

    def set_state(self, new_state: Any) -> None:
        """Restores what `get_state` gave. ValueError if it is something else."""
        try:
            state = json.loads(np.asarray(new_state.numpy(), np.uint8).tobytes())
            numpy_state = {key: state[key] for key in ("bit_generator", "state", "has_uint32", "uinteger")}
            seed = int(state["seed"])
            self._numpy.bit_generator.state = numpy_state
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("Generator.set_state: this is not what get_state() gives") from error
        self._seed = seed

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Within it what is drawn in this process depends on this generator, which moves on, and not the global one."""
        with fork_rng():
            manual_seed(int(self._numpy.integers(0, 2**63, dtype=np.int64)))
            yield

    def permutation(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """0..count-1 in random order, int64."""
        return self._numpy.permutation(count).astype(np.int64, copy=False)

    def integers(self, high: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """`count` integers in 0..high-1, each drawn independently, int64."""
        return self._numpy.integers(0, high, count, dtype=np.int64)

    def weighted(
        self, weights: np.ndarray[Any, Any], count: int, replacement: bool
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """`count` positions drawn with probabilities in proportion to `weights`, int64."""
        return self._numpy.choice(len(weights), count, replacement, weights / weights.sum()).astype(np.int64)


class _Global(Generator):
    """The global generator, as an object."""

    def __init__(self) -> None:
        self.device = _core.device("cpu")

    def manual_seed(self, seed: int) -> Generator:
        manual_seed(seed)
        return self

    def initial_seed(self) -> int:
        return int(initial_seed())

    def seed(self) -> int:
        return seed()

    def get_state(self) -> Any:
        return get_rng_state()

    def set_state(self, new_state: Any) -> None:
        set_rng_state(new_state)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        yield

    def permutation(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return from_global_seed().permutation(count)

    def integers(self, high: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return from_global_seed().integers(high, count)

    def weighted(
        self, weights: np.ndarray[Any, Any], count: int, replacement: bool
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        return from_global_seed().weighted(weights, count, replacement)


default_generator = _Global()


def from_global_seed() -> Generator:
    """A generator whose seed is drawn from the global one, so that `manual_seed` decides and every call differs."""
    return Generator().manual_seed(int(_core.randint(0, 2**31 - 1, (1,)).item()))
