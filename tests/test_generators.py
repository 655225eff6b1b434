"""Streams of random numbers: each depends on its seed and its own draws alone."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

import pycnn
from pycnn import _core
from pycnn.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler, random_split

Draw = Callable[[pycnn.Generator], Any]
init = pycnn.nn.init

DRAWS: dict[str, Draw] = {
    "rand": lambda g: pycnn.rand(50, generator=g),
    "rand_like": lambda g: pycnn.rand_like(pycnn.ones(50), generator=g),
    "randn": lambda g: pycnn.randn(50, dtype=pycnn.float64, generator=g),
    "randint": lambda g: pycnn.randint(0, 9**9, (50,), generator=g),
    "randperm": lambda g: pycnn.randperm(50, generator=g),
    "normal": lambda g: pycnn.normal(pycnn.zeros(50), 1.0, generator=g),
    "bernoulli": lambda g: pycnn.bernoulli(pycnn.full((99,), 0.5), generator=g),
    "bernoulli of p": lambda g: pycnn.ones(99).bernoulli(0.5, generator=g),
    "multinomial": lambda g: pycnn.multinomial(pycnn.ones(99), 50, generator=g),
    "multinomial with replacement": lambda g: pycnn.multinomial(pycnn.ones(99), 50, True, generator=g),
    "poisson": lambda g: pycnn.poisson(pycnn.full((50,), 30.0), generator=g),
    "uniform_": lambda g: pycnn.empty(50).uniform_(generator=g),
    "normal_": lambda g: pycnn.empty(50).normal_(generator=g),
    "exponential_": lambda g: pycnn.empty(50).exponential_(generator=g),
    "geometric_": lambda g: pycnn.empty(50).geometric_(0.01, generator=g),
    "cauchy_": lambda g: pycnn.empty(50).cauchy_(generator=g),
    "log_normal_": lambda g: pycnn.empty(50).log_normal_(generator=g),
    "bernoulli_": lambda g: pycnn.empty(99).bernoulli_(generator=g),
    "random_": lambda g: pycnn.empty(50).random_(0, 9**6, generator=g),
    "init.uniform_": lambda g: init.uniform_(pycnn.empty(50), generator=g),
    "init.normal_": lambda g: init.normal_(pycnn.empty(50), generator=g),
    "init.trunc_normal_": lambda g: init.trunc_normal_(pycnn.empty(50), generator=g),
    "init.xavier_uniform_": lambda g: init.xavier_uniform_(pycnn.empty(5, 9), generator=g),
    "init.xavier_normal_": lambda g: init.xavier_normal_(pycnn.empty(5, 9), generator=g),
    "init.kaiming_uniform_": lambda g: init.kaiming_uniform_(pycnn.empty(5, 9), generator=g),
    "init.kaiming_normal_": lambda g: init.kaiming_normal_(pycnn.empty(5, 9), generator=g),
    "init.orthogonal_": lambda g: init.orthogonal_(pycnn.empty(5, 9), generator=g),
    "init.sparse_": lambda g: init.sparse_(pycnn.empty(9, 9), 0.3, generator=g),
    "RandomSampler": lambda g: list(RandomSampler(range(50), generator=g)),
    "RandomSampler with replacement": lambda g: list(RandomSampler(range(9999), True, 50, generator=g)),
    "SubsetRandomSampler": lambda g: list(SubsetRandomSampler(range(50), generator=g)),
    "WeightedRandomSampler": lambda g: list(WeightedRandomSampler([1.0] * 99, 50, generator=g)),
    "random_split": lambda g: list(random_split(range(50), [20, 30], generator=g)[0].indices),
    "DataLoader": lambda g: [batch.tolist() for batch in DataLoader(range(50), 50, shuffle=True, generator=g)],
}


def numbers(draw: Draw, generator: pycnn.Generator) -> Any:
    drawn = draw(generator)
    return drawn.tolist() if isinstance(drawn, pycnn.Tensor) else drawn


def seeded(seed: int) -> pycnn.Generator:
    return pycnn.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", DRAWS)
def test_streams_interleave_without_disturbing_each_other(name: str) -> None:
    draw = DRAWS[name]
    alone = [[numbers(draw, generator) for _ in range(3)] for generator in (seeded(1), seeded(2))]
    assert alone[0] != alone[1] and alone[0][0] != alone[0][1]
    pycnn.manual_seed(3)
    expected = pycnn.rand(4).tolist(), pycnn.rand(4).tolist()
    pycnn.manual_seed(3)
    one, two = seeded(1), seeded(2)
    found: list[list[Any]] = [[], []]
    first = pycnn.rand(4)
    for _ in range(3):
        found[1].append(numbers(draw, two))
        found[0].append(numbers(draw, one))
    assert found == alone
    assert (first.tolist(), pycnn.rand(4).tolist()) == expected


@pytest.mark.parametrize("name", DRAWS)
def test_the_state_decides(name: str) -> None:
    generator = seeded(7)
    pycnn.rand(3, generator=generator)
    state = generator.get_state()
    clones = [copy.copy(generator), copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))]
    clones.append(generator.clone_state())
    first = numbers(DRAWS[name], generator)
    assert numbers(DRAWS[name], generator) != first
    generator.set_state(state)
    assert all(numbers(DRAWS[name], each) == first for each in (generator, *clones))


@pytest.mark.parametrize("name", DRAWS)
def test_modes_and_threads_do_not(name: str) -> None:
    first = numbers(DRAWS[name], seeded(5))
    for threads in (1, 3):
        pycnn.set_num_threads(threads)
        assert numbers(DRAWS[name], seeded(5)) == first
    _core.set_mode("eager")
    assert numbers(DRAWS[name], seeded(5)) == first


@pytest.mark.parametrize("name", DRAWS)
def test_none_is_the_default_generator(name: str) -> None:
    pycnn.manual_seed(5)
    drawn = [numbers(DRAWS[name], generator) for generator in (None, None)]  # type: ignore[arg-type]
    assert drawn[0] != drawn[1]
    pycnn.manual_seed(5)
    assert [numbers(DRAWS[name], None) for _ in range(2)] == drawn  # type: ignore[arg-type]


def test_a_seed_means_the_same_everywhere() -> None:
    pycnn.manual_seed(5)
    assert pycnn.rand(4).tolist() == pycnn.rand(4, generator=seeded(5)).tolist()
    assert pycnn.manual_seed(3) is pycnn.default_generator
    assert pycnn.default_generator.initial_seed() == pycnn.initial_seed() == 3
    assert seeded(-1).initial_seed() == 2**64 - 1
    fresh = pycnn.Generator()
    assert fresh.initial_seed() == 67280421310721 and fresh.device.type == "cpu"
    assert fresh.seed() == fresh.initial_seed() != pycnn.Generator().seed()


def test_wrong_generators_and_states() -> None:
    for call in (
        lambda: pycnn.rand(2, generator=3), lambda: pycnn.randperm(2, generator="x"),
        lambda: pycnn.ones(2).exponential_(generator=1), lambda: pycnn.zeros(2, generator=seeded(1)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="generator"):
            call()
    for set_state in (pycnn.Generator().set_state, pycnn.set_rng_state):
        with pytest.raises(TypeError):
            set_state(pycnn.zeros(16))
        with pytest.raises(RuntimeError, match="get_state"):
            set_state(pycnn.zeros(3, dtype=pycnn.uint8))
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="Overflow"):
            pycnn.manual_seed(seed)


def test_the_default_generators_state_goes_back() -> None:
    with pycnn.random.fork_rng():
        pycnn.manual_seed(9)
    state = pycnn.get_rng_state()
    first = pycnn.rand(3).tolist()
    with pycnn.random.fork_rng(enabled=False):
        pycnn.rand(3)
    pycnn.set_rng_state(state)
    with pycnn.random.fork_rng():
        pycnn.manual_seed(9)
        pycnn.rand(3)
    assert pycnn.rand(3).tolist() == first
    other = pycnn.Generator()
    other.set_state(state)
    assert pycnn.rand(3, generator=other).tolist() == first


def test_threads_with_streams_of_their_own() -> None:
    expected = [pycnn.randn(1000, generator=seeded(i)).tolist() for i in range(4)]
    found: list[Any] = [None] * 4

    def draw(position: int) -> None:
        generator = seeded(position)
        for _ in range(20):
            pycnn.rand(10)
            generator.manual_seed(position)
            found[position] = pycnn.randn(1000, generator=generator).tolist()

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_threads_share_a_stream_and_draw_every_key_once() -> None:
    generator = seeded(1)
    expected = sorted(pycnn.rand(1, generator=generator).item() for _ in range(200))
    generator.manual_seed(1)
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda: found.extend(pycnn.rand(1, generator=generator).item() for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == expected


def test_replays_draw_on_from_their_stream() -> None:
    generator = seeded(2)
    expected = [pycnn.rand(3, generator=generator).tolist() for _ in range(4)]
    generator.manual_seed(2)

    @pycnn.capture
    def drawn() -> pycnn.Tensor:
        return pycnn.rand(3, generator=generator) * 1

    before = pycnn.get_rng_state().tolist()
    assert [drawn().tolist() for _ in range(4)] == expected
    assert pycnn.get_rng_state().tolist() == before
