"""What the tests of graph, memory and concurrency share: counters, a small network, scripts in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

import pycnn
import pycnn.nn.functional as F
from pycnn import _core, nn


def counted(action: Callable[[], Any]) -> dict[str, int]:
    """How far each counter moves during the action."""
    before = _core.statistics()
    action()
    return {name: count - before[name] for name, count in _core.statistics().items()}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(4 * 4 * 4, 5),
    )  # fmt: skip


def batch(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((6, 1, 8, 8)).astype(np.float32)
    return pycnn.tensor(x), pycnn.tensor(rng.integers(0, 5, 6))


def bits(*tensors: Any) -> list[bytes]:
    return [t.detach().float().numpy().tobytes() for t in tensors]


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def training_steps(count: int, **options: Any) -> tuple[list[dict[str, int]], nn.Module]:
    net = network()
    optimizer = pycnn.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, **options)
    counts = []

    def step(number: int) -> None:
        x, y = batch(number)
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + number)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        loss.item()

    for number in range(count):
        counts.append(counted(lambda number=number: step(number)))
    return counts, net
