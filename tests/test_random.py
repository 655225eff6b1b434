"""Random numbers: the same seed gives the same bits everywhere, and the bits have the distribution they claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import pycnn
import pycnn.nn.functional as F
from pycnn import _core

DRAWS: dict[str, Any] = {
    "rand": lambda: pycnn.rand(1000, 33),
    "randn": lambda: pycnn.randn(1000, 33),
    "randint": lambda: pycnn.randint(-5, 100, (3000,)),
    "randperm": lambda: pycnn.randperm(2000),
    "uniform_": lambda: pycnn.empty(3000).uniform_(-2, 3),
    "normal_": lambda: pycnn.empty(3000).normal_(1, 2),
    "bernoulli": lambda: pycnn.bernoulli(pycnn.full((3000,), 0.3)),
    "rand float64": lambda: pycnn.rand(3000, dtype=pycnn.float64),
    "dropout": lambda: F.dropout(pycnn.ones(50, 70), 0.3),
}


def bits(name: str, seed: int = 1) -> bytes:
    pycnn.manual_seed(seed)
    return DRAWS[name]().numpy().tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_decides(name: str) -> None:
    first = bits(name)
    assert bits(name) == first
    assert bits(name, 2) != first
    pycnn.manual_seed(1)
    assert DRAWS[name]().numpy().tobytes() != DRAWS[name]().numpy().tobytes()
    assert pycnn.initial_seed() == 1


@pytest.mark.parametrize("name", DRAWS)
def test_threads_levels_and_modes_do_not(name: str) -> None:
    first = bits(name)
    for threads in (1, 2, 3, 7):
        pycnn.set_num_threads(threads)
        assert bits(name) == first
    for level in _core.available_levels():
        _core.set_level(level)
        assert bits(name) == first
    _core.set_mode("eager")
    assert bits(name) == first


def test_the_order_of_evaluation_does_not() -> None:
    """Keys are drawn when recorded."""
    pycnn.manual_seed(3)
    a, b = pycnn.rand(5), pycnn.rand(5)
    first = (a.tolist(), b.tolist())
    pycnn.manual_seed(3)
    a, b = pycnn.rand(5), pycnn.rand(5)
    second = b.tolist()
    assert (a.tolist(), second) == first


def test_the_memory_layout_does_not() -> None:
    """Counters follow the logical index."""
    pycnn.manual_seed(3)
    first = F.dropout(pycnn.ones(2, 3, 4, 5), 0.5).tolist()
    pycnn.manual_seed(3)
    assert F.dropout(pycnn.ones(5, 4, 3, 2).permute(3, 2, 1, 0), 0.5).tolist() == first


def test_the_state_can_be_saved() -> None:
    pycnn.manual_seed(3)
    pycnn.rand(3)
    state = pycnn.get_rng_state()
    first = pycnn.rand(4).tolist()
    pycnn.set_rng_state(state)
    assert pycnn.rand(4).tolist() == first


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda n: pycnn.rand(n), stats.uniform()),
        (lambda n: pycnn.rand(n, dtype=pycnn.float64), stats.uniform()),
        (lambda n: pycnn.randn(n), stats.norm()),
        (lambda n: pycnn.randn(n, dtype=pycnn.float64), stats.norm()),
        (lambda n: pycnn.empty(n).uniform_(-2, 3), stats.uniform(-2, 5)),
        (lambda n: pycnn.empty(n).normal_(1, 2), stats.norm(1, 2)),
    ],
    ids=["rand", "rand64", "randn", "randn64", "uniform_", "normal_"],
)
def test_continuous_distributions(draw: Any, distribution: Any) -> None:
    """Kolmogorov-Smirnov against the exact distribution; the seed is fixed, so this never flickers."""
    pycnn.manual_seed(0)
    values = draw(50_000).numpy().astype(np.float64)
    assert stats.kstest(values, distribution.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    low, high = distribution.support()
    assert values.min() >= low
    assert values.max() < high
    assert np.isfinite(values).all()


def test_streams_are_independent() -> None:
    pycnn.manual_seed(0)
    streams = np.stack([pycnn.randn(2000).numpy() for _ in range(20)])
    correlation = np.corrcoef(streams) - np.eye(20)
    assert np.abs(correlation).max() < 0.1


def test_integers_are_uniform() -> None:
    values = pycnn.randint(-3, 4, (70_000,)).numpy()
    assert (values.min(), values.max(), values.dtype) == (-3, 3, np.int64)
    assert stats.chisquare(np.bincount(values + 3)).pvalue > 1e-3


def test_permutations() -> None:
    assert sorted(pycnn.randperm(1000).tolist()) == list(range(1000))
    assert pycnn.randperm(0).tolist() == []
    first = [pycnn.randperm(4)[0].item() for _ in range(800)]
    assert stats.chisquare(np.bincount(first)).pvalue > 1e-3


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_its_mean(p: float) -> None:
    """Kept elements are scaled by 1 / (1 - p) (Srivastava et al. 2014, inverted)."""
    kept = F.dropout(pycnn.ones(100_000), p).numpy()
    assert set(np.unique(kept).tolist()) == {0.0, np.float32(1 / (1 - p))}
    share = float((kept > 0).mean())
    assert abs(share - (1 - p)) < 4 * np.sqrt(p * (1 - p) / 100_000)


def check_shares(dropped: np.ndarray[Any, Any], p: float) -> None:
    assert abs(float(dropped.mean()) - p) < 4 * np.sqrt(p * (1 - p) / dropped.size)


@pytest.mark.parametrize("p", [0.2, 0.7])
@pytest.mark.parametrize("name", ["dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"])
def test_dropout_functions_of_the_package(name: str, p: float) -> None:
    """Shares, values and whole channels. Of ones, alpha dropout (Klambauer et al. 2017) makes a + b where it keeps them
    and a s + b where it drops, with s = -scale alpha of SELU, a = ((1 - p) (1 + p s^2))^(-1/2), b = -a p s."""
    saturation = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - p) * (1 + p * saturation**2)) ** -0.5
    alpha, of_channels = "alpha" in name, "feature" in name
    kept = a - a * p * saturation if alpha else 1 / (1 - p)
    dropped = a * saturation * (1 - p) if alpha else 0.0
    pycnn.manual_seed(3)
    found = getattr(pycnn, name)(pycnn.ones(100, 200, 3), p, True).numpy()
    np.testing.assert_allclose(np.unique(found), sorted((kept, dropped)), rtol=1e-5)
    is_dropped = abs(found - dropped) < abs(found - kept)
    whole = is_dropped.all(2) == is_dropped.any(2)
    assert whole.all() if of_channels else 0 < whole.mean() < 1
    check_shares(is_dropped[..., 0] if of_channels else is_dropped, p)
    pycnn.manual_seed(3)
    x = pycnn.ones(100, 200, 3)
    assert getattr(pycnn, f"{name}_")(x, p, True) is x and np.array_equal(x.numpy(), found)
    assert not getattr(pycnn, name)(pycnn.ones(4, 3), 1.0, True).any()


@pytest.mark.parametrize("train", [True, None])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_native_dropout_gives_what_it_kept(p: float, train: bool | None) -> None:
    pycnn.manual_seed(3)
    x = pycnn.randn(100, 500, dtype=pycnn.float64, requires_grad=True)
    found, kept = pycnn.native_dropout(x, p, train)
    assert kept.dtype == pycnn.bool and found.dtype == pycnn.float64
    mask = kept.numpy()
    check_shares(~mask, p)
    np.testing.assert_allclose(found.detach().numpy(), np.where(mask, x.detach().numpy() / (1 - p), 0), rtol=1e-12)
    found.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), mask / (1 - p), rtol=1e-12)
    found, kept = pycnn.native_dropout(x, 1.0, train)
    assert not found.any() and not kept.any()


def test_dropout_backward_uses_the_forwards_mask() -> None:
    x = pycnn.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert pycnn.equal(x.grad, y.detach())


@pytest.mark.parametrize(
    ("function", "shape", "kept"),
    [
        (F.dropout1d, (64, 5), 1), (F.dropout1d, (8, 8, 5), 2), (F.dropout2d, (8, 8, 5), 2),
        (F.dropout3d, (64, 2, 3, 2), 1), (F.dropout3d, (8, 8, 2, 3, 2), 2), (pycnn.feature_dropout, (8, 8), 2),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:dropout2d")
def test_channels_with_and_without_a_batch(function: Callable[..., Any], shape: tuple[int, ...], kept: int) -> None:
    y = function(pycnn.ones(*shape), 0.5).numpy().reshape(64, -1)
    assert (y == y[:, :1]).all()
    assert 0 < (y[:, 0] == 0).sum() < 64
    assert y.max() == 2


def test_dropout_of_whole_channels() -> None:
    y = F.dropout2d(pycnn.ones(8, 16, 3, 3), 0.5).numpy().reshape(128, 9)
    assert ((y == 0).all(1) | (y == 2).all(1)).all()
    assert 0 < (y[:, 0] == 0).sum() < 128


def test_bernoulli_of_probabilities() -> None:
    p = pycnn.tensor([0.0, 0.25, 1.0]).expand(20_000, 3)
    means = pycnn.bernoulli(p).numpy().mean(0)
    assert (means[0], means[2]) == (0, 1)
    assert abs(means[1] - 0.25) < 0.02
