"""One LeNet-5 training step (batch 64) beside PyTorch's, in one run, alternating between the two."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import pycnn


def torch_lenet5() -> torch.nn.Module:
    """The network of pycnn.models.LeNet5, with the same names."""

    class LeNet5(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 6, 5, padding=2)
            self.conv2 = torch.nn.Conv2d(6, 16, 5)
            self.fc1 = torch.nn.Linear(400, 120)
            self.fc2 = torch.nn.Linear(120, 84)
            self.fc3 = torch.nn.Linear(84, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pool, relu = torch.nn.functional.max_pool2d, torch.relu
            x = pool(relu(self.conv1(x)), 2)
            x = pool(relu(self.conv2(x)), 2)
            return self.fc3(relu(self.fc2(relu(self.fc1(x.flatten(1))))))

    return LeNet5()


def training_step(library: Any, net: Any, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """A function that runs one step and returns its loss."""
    x, y = library.from_numpy(images.copy()), library.from_numpy(labels.copy())
    optimizer = library.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step() -> float:
        loss = library.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


def seconds_per_step(step: Callable[[], float], steps: int) -> float:
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30, help="how often each library has its turn")
    parser.add_argument("--steps", type=int, default=10, help="steps per turn")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pycnn.set_num_threads(arguments.threads)

    random = np.random.default_rng(0)
    images = random.standard_normal((arguments.batch_size, 1, 28, 28), dtype=np.float32)
    labels = random.integers(0, 10, arguments.batch_size)
    theirs = torch_lenet5()
    ours = pycnn.models.LeNet5()
    ours.load_state_dict({name: pycnn.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    steps = {
        "pycnn": training_step(pycnn, ours, images, labels),
        "torch": training_step(torch, theirs, images, labels),
    }
    losses = {name: step() for name, step in steps.items()}
    assert abs(losses["pycnn"] - losses["torch"]) < 1e-5, f"the two do not compute the same: {losses}"

    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        seconds_per_step(step, arguments.steps)
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            times[name].append(1e3 * seconds_per_step(step, arguments.steps))

    result: dict[str, Any] = {
        "benchmark": "lenet5 training step",
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "processor": processor(),
        "python": platform.python_version(),
        "pycnn": pycnn.__version__,
        "torch": torch.__version__,
    }
    for name, values in times.items():
        quartiles = statistics.quantiles(values, n=4)
        result[f"{name}_ms"] = [round(quartile, 4) for quartile in quartiles]
        print(f"{name}: {quartiles[1]:.3f} ms per step (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f})")
    result["ratio"] = round(result["pycnn_ms"][1] / result["torch_ms"][1], 3)
    print(f"ratio: {result['ratio']}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
