"""A training run has the same bits for any number of threads, planned or eager."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F


def load_networks() -> ModuleType:
    """The networks that the benchmarks time."""
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "networks.py"
    spec = importlib.util.spec_from_file_location("benchmark_networks", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def trained(build: Callable[[Any], Any], images: np.ndarray, labels: np.ndarray, steps: int) -> dict[str, bytes]:
    """The bytes of every parameter and buffer after some steps, and of the losses."""
    pycnn.manual_seed(0)
    net = build(pycnn)
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(pycnn.tensor(images)), pycnn.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all() and losses[0] != losses[-1]
    state = {name: np.array(value.numpy()).tobytes() for name, value in net.state_dict().items()}
    return state | {"losses": np.array(losses).tobytes()}


@pytest.mark.parametrize(("name", "shape", "steps"), [("resnet20", (6, 3, 24, 24), 2), ("lenet5", (21, 1, 28, 28), 3)])
def test_training_has_the_same_bits_on_any_number_of_threads(name: str, shape: tuple[int, ...], steps: int) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal(shape, dtype=np.float32)
    labels = rng.integers(0, 10, shape[0])
    build = getattr(load_networks(), name)
    pycnn.set_num_threads(1)
    alone = trained(build, images, labels, steps)
    for threads in (2, 3, 4, 7):
        pycnn.set_num_threads(threads)
        assert trained(build, images, labels, steps) == alone, f"{threads} threads"
    pycnn.plan.set_mode("eager")
    assert trained(build, images, labels, steps) == alone, "eager"
