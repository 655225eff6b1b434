"""`overhead`: what is paid besides arithmetic: imports, tiny operators, LeNet-5 at batch size 1 and its parts."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measure, options, peers
from benchmarks.networks import NETWORKS

CHAIN = 100  #: operators in a chain
MODULES = ("", "numpy", "pycnn", "torch", "onnxruntime", "openvino")
IMPORT = """
import time
begin = time.perf_counter()
{statement}
seconds = time.perf_counter() - begin
from benchmarks import measure
import json
print(json.dumps([seconds, measure.peak_resident_bytes()]))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=9, seconds=0.2)
    options.add_peers(parser)


def run(arguments: argparse.Namespace) -> None:
    results = measure.Results("overhead", arguments)
    for row in (imports(arguments), *operators(arguments), *lenet5(arguments), parts(arguments)):
        results.add(row)
        print(options.line(row["what"], row), flush=True)


def imports(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak resident bytes of processes that import a module ("python": none), in turn."""
    modules = [name for name in MODULES if name in ("", "numpy", "pycnn") or name in arguments.peers]
    skipped: dict[str, str] = {}
    samples = {name or "python": measure.Samples() for name in modules}
    held: dict[str, int] = {}
    for round_ in range(1 + (1 if arguments.quick else arguments.rounds)):
        for name in modules:
            code = IMPORT.format(statement=f"import {name}" if name else "")
            folder = Path(__file__).resolve().parent.parent
            done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                skipped[name] = done.stderr.strip().splitlines()[-1]
                continue
            seconds, held[name or "python"] = json.loads(done.stdout)
            if round_ > 0:  # the first reads files from the disk
                samples[name or "python"].blocks.append([seconds])
    return {
        "what": "import",
        "peers": {name: {**samples[name].to_json(), "bytes": held[name]} for name in held},
        "skipped": skipped,
        "ratios": {},
    }


def float32_peers(known: tuple[peers.Peer, ...], arguments: argparse.Namespace) -> tuple[peers.Peer, ...]:
    """Those without a memory layout of their own, which is nothing to images as small as these."""
    return options.chosen(
        tuple(peer for peer in known if peer.dtype == "float32" and not peer.channels_last), arguments
    )


def operators(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Operators on tensors so small that arithmetic takes no time. pycnn is made to compute what PyTorch computes."""

    def addition_in_a_chain(library: Any) -> Callable[[], object]:
        x = library.ones(4)

        def step() -> object:
            y = x
            for _ in range(CHAIN):
                y = y + x
            return y.numpy()

        return step

    def addition_and_value(library: Any) -> Callable[[], object]:
        x = library.ones(4)
        return lambda: (x + x).numpy()

    def relu_with_backward(library: Any) -> Callable[[], object]:
        x = library.ones(4, requires_grad=True)
        return lambda: gradient(library.relu(x).sum(), [x])

    def convolution_with_backward(library: Any) -> Callable[[], object]:
        x, weight = library.ones(1, 3, 8, 8), library.ones(4, 3, 3, 3, requires_grad=True)
        return lambda: gradient(library.nn.functional.conv2d(x, weight, padding=1).sum(), [weight])

    def prepare(make: Callable[[Any], Callable[[], object]], peer: peers.Peer) -> Callable[[], object]:
        return make(peers.load(peer, arguments.threads))

    def gradient(loss: Any, leaves: list[Any]) -> object:
        loss.backward()
        for leaf in leaves:
            leaf.grad = None
        return loss.item()

    chosen = tuple(peer for peer in float32_peers(peers.TRAINING, arguments) if not peer.compiled)
    rows = []
    for make, count in (
        (addition_in_a_chain, CHAIN),
        (addition_and_value, 1),
        (relu_with_backward, 1),
        (convolution_with_backward, 1),
    ):
        steps, skipped = peers.prepare(chosen, functools.partial(prepare, make))
        rows.append(row(make.__name__.replace("_", " "), steps, skipped, arguments, count))
    return rows


def lenet5(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A training step and a forward pass of LeNet-5 at batch size 1."""
    network = dataclasses.replace(NETWORKS["lenet5"], batch_size=1)
    state, (images, labels) = peers.initial_state(network), peers.batch(network)
    threads = arguments.threads
    trainings, skipped = peers.prepare(
        float32_peers(peers.TRAINING, arguments),
        lambda peer: peers.Training(peer, network, state, images, labels, threads),
    )
    peers.check_training(trainings, state)
    inferences, skipped_inferences = peers.prepare(
        float32_peers(peers.INFERENCE, arguments),
        lambda peer: peers.inference(peer, network, state, images, threads),
    )
    peers.check_inference(inferences)
    return [
        row("lenet5 b1 training step", trainings, skipped, arguments),
        row("lenet5 b1 inference", inferences, skipped_inferences, arguments),
    ]


def parts(arguments: argparse.Namespace) -> dict[str, Any]:
    """pycnn's training step of LeNet-5 at batch size 1 in parts: recording, evaluation, and kernels within it."""
    network = dataclasses.replace(NETWORKS["lenet5"], batch_size=1)
    peer = peers.Peer("pycnn", "pycnn")
    library = peers.load(peer, arguments.threads)
    images, labels = peers.batch(network)
    module, x = peers.build(peer, library, network, peers.initial_state(network), images)
    y = library.from_numpy(labels)
    optimizer = library.optim.SGD(module.parameters(), lr=peers.LEARNING_RATE, momentum=peers.MOMENTUM)
    loss: Any = None

    def forward() -> None:
        nonlocal loss
        loss = library.nn.functional.cross_entropy(module(x), y)

    phases: dict[str, Callable[[], object]] = {
        "recording the forward pass": forward,
        "backward()": lambda: loss.backward(),
        "optimizer.step()": optimizer.step,
        "optimizer.zero_grad()": optimizer.zero_grad,
        "loss.item()": lambda: loss.item(),
    }

    def step() -> None:
        for phase in phases.values():
            phase()

    samples = {name: measure.Samples() for name in phases}
    for _ in range(20):
        step()
    for _ in range(20 if arguments.quick else 1000):
        for name, phase in phases.items():
            begin = time.perf_counter()
            phase()
            samples[name].blocks.append([time.perf_counter() - begin])
    return {
        "what": "parts of pycnn's training step",
        "peers": {name: sample.to_json() for name, sample in samples.items()},
        "skipped": {},
        "ratios": {},
        "roofline": measure.roofline(step, calls=20),
    }


def row(
    what: str, steps: dict[peers.Peer, Any], skipped: dict[str, str], arguments: argparse.Namespace, count: int = 1
) -> dict[str, Any]:
    samples = measure.alternate({peer.name: step for peer, step in steps.items()}, options.schedule(arguments))
    samples = {name: sample.divided(count) for name, sample in samples.items()}
    return {
        "what": what,
        "peers": {name: sample.to_json() for name, sample in samples.items()},
        "skipped": skipped,
        "ratios": options.ratios(samples, [*steps]),
    }
