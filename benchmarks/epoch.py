"""`epoch`: LeNet-5 over 60 000 images of 28×28, with the machine for itself and with one processor taken.

Without `--data` the images are made up; `--data FOLDER` reads the IDX files of MNIST or Fashion-MNIST.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import gpus, measure, options, peers
from benchmarks.networks import NETWORKS

PEERS = tuple(peer for peer in peers.TRAINING if peer.dtype == "float32" and not peer.compiled)
IMAGES = 60_000
WARM_UP = 20  #: steps before the clock starts
PEERS_CUDA = tuple(
    peer for peer in peers.TRAINING_CUDA if not (peer.compiled or peer.graph) and peer.dtype == "float32"
)
LOSS_TOLERANCE = {"float32": 0.05}  #: of an epoch's mean loss: rounding differs, and training amplifies it
SMALL_LOSS = 0.01  #: losses of what is learnt by heart are all rounding: differences are relative to this at least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=3)
    options.add_device(parser)
    options.add_peers(parser)
    parser.add_argument("--data", metavar="FOLDER", help="with the four IDX files")
    parser.add_argument("--occupied", action="store_true", help="again, while another process spins on one processor")


def run(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        options.require_gpu()
    results = measure.Results("epoch", arguments)
    few = 640 if arguments.device == "cpu" else 64  # the emulated GPU is slow
    images, labels = read(arguments.data) if arguments.data else made_up(few if arguments.quick else IMAGES)
    state = peers.initial_state(NETWORKS["lenet5"])
    epochs, skipped = peers.prepare(
        options.chosen(PEERS_CUDA if arguments.device == "cuda" else PEERS, arguments),
        lambda peer: Epoch(peer, state, images, labels, arguments.threads),
    )
    quiet: dict[str, measure.Samples] = {}
    for what in ("quiet", "occupied") if arguments.occupied else ("quiet",):
        with one_processor_taken() if what == "occupied" else contextlib.nullcontext():
            samples, losses = alternate(epochs, 1 if arguments.quick else arguments.rounds)
        quiet = quiet or samples
        row = {
            "what": what,
            "images": len(images),
            "peers": {name: sample.to_json() for name, sample in samples.items()},
            "skipped": skipped,
            "losses": losses,
            "ratios": options.ratios(samples, [*epochs]),
            "slowdown": {name: measure.ratio(samples[name], quiet[name]) for name in samples},
        }
        results.add(row)
        print(options.line(f"lenet5 epoch of {len(images)} images, {what}", row), flush=True)


class Epoch:
    """An epoch of training in batches of 64, which returns the mean loss. Each epoch goes on where the last ended."""

    def __init__(
        self, peer: peers.Peer, state: peers.State, images: peers.Array, labels: peers.Array, threads: int
    ) -> None:
        self.framework = peers.load(peer, threads)
        self.channels_last = peer.channels_last
        self.device = gpus.device_of(peer.package, self.framework) if peer.device == "cuda" else "cpu"
        self.images, self.labels = images, labels
        self.module, _ = peers.build(peer, self.framework, NETWORKS["lenet5"], state, images[:1])
        self.optimizer = self.framework.optim.SGD(self.module.parameters(), lr=0.01, momentum=0.9)
        self.order = np.random.default_rng(2).permutation(len(images))

    def __call__(self, steps: int | None = None) -> float:
        starts = range(0, len(self.order), NETWORKS["lenet5"].batch_size)
        return float(np.mean([self.step(start) for start in starts[:steps]]))

    def step(self, start: int) -> float:
        rows = self.order[start : start + NETWORKS["lenet5"].batch_size]
        x, y = self.framework.from_numpy(self.images[rows]), self.framework.from_numpy(self.labels[rows])
        if self.channels_last:
            x = x.contiguous(memory_format=self.framework.channels_last)
        if self.device != "cpu":
            x, y = x.to(self.device), y.to(self.device)
        loss = self.framework.nn.functional.cross_entropy(self.module(x), y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.item())


def alternate(
    epochs: dict[peers.Peer, Epoch], rounds: int
) -> tuple[dict[str, measure.Samples], dict[str, list[float]]]:
    """Whole epochs in turn, and their mean losses, which must agree."""
    samples = {peer.name: measure.Samples() for peer in epochs}
    losses: dict[str, list[float]] = {peer.name: [] for peer in epochs}
    for _ in range(rounds):
        expected: float | None = None
        for peer, epoch in epochs.items():
            epoch(WARM_UP)
            begin = time.perf_counter()
            loss = epoch()
            samples[peer.name].blocks.append([time.perf_counter() - begin])
            losses[peer.name].append(loss)
            expected = loss if expected is None else expected
            peers.require(peer, "mean loss", abs(loss - expected) / max(expected, SMALL_LOSS), LOSS_TOLERANCE)
    return samples, losses


@contextlib.contextmanager
def one_processor_taken() -> Iterator[None]:
    """Another process spins on the last processor that this one may use."""
    code = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    spinning = subprocess.Popen([sys.executable, "-c", code, str(max(os.sched_getaffinity(0)))])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


def read(folder: str) -> tuple[peers.Array, peers.Array]:
    from pycnn import datasets

    data: Any = datasets.idx_folder(folder)
    images = data.train_images.astype(np.float32)[:, None] / data.maximum
    return (images - images.mean()) / images.std(), data.train_labels


def made_up(count: int) -> tuple[peers.Array, peers.Array]:
    """A pattern for each of ten classes, under noise."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 10, count)
    patterns = random.standard_normal((10, 1, 28, 28), dtype=np.float32)
    return patterns[labels] + 2 * random.standard_normal((count, 1, 28, 28), dtype=np.float32), labels
