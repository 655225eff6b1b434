"""`train`: one training step of each network, beside PyTorch in both memory layouts, float32 and bfloat16.

With `--device cuda`, batches that fill a GPU beside PyTorch channels_last, eager and as a CUDA graph; a network or a
peer that fails is noted, and the others go on.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

from benchmarks import gpus, measure, options, peers
from benchmarks.networks import NETWORKS, Network
from benchmarks.outcomes import WrongAnswer

#: Batch sizes besides the network's own.
FURTHER_BATCH_SIZES = {"lenet5": [1]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=7, seconds=1.0)
    options.add_device(parser)
    options.add_networks(parser, list(NETWORKS))
    options.add_peers(parser)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (it compiles for half a minute)")


def run(arguments: argparse.Namespace) -> None:
    on_gpu = arguments.device == "cuda"
    if on_gpu:
        options.require_gpu()
    results = measure.Results("train", arguments)
    for name in arguments.networks:
        network = NETWORKS[name]
        sizes = [network.batch_size, *FURTHER_BATCH_SIZES.get(name, [])]
        if on_gpu:
            sizes = [network.gpu_batch_size or network.batch_size]
        for size in [2] if arguments.quick else sizes:
            sized = dataclasses.replace(network, batch_size=size)
            row = step_or_failure(name, sized, arguments) if on_gpu else step(name, sized, arguments)
            results.add(row)
            print(options.line(f"{name} b{size}", row), flush=True)
            if on_gpu:
                forget_or_stop()


def step(name: str, network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times one network; the ratios are those of the best of PyTorch's layouts to the best way of using pycnn."""
    state = peers.initial_state(network)
    images, labels = peers.batch(network)
    chosen = options.chosen(peers.TRAINING + ((peers.TORCH_COMPILE,) if arguments.compile else ()), arguments)
    trainings, skipped = peers.prepare(
        chosen, lambda peer: peers.Training(peer, network, state, images, labels, arguments.threads)
    )
    differences = peers.check_training(trainings, state)
    return options.measured(name, network, trainings, arguments) | {"skipped": skipped, "differences": differences}


# -- on a GPU ---------------------------------------------------------------------------------------------------------


def step_or_failure(name: str, network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    """The network's row, or why there is none."""
    try:
        return step_on_gpu(name, network, arguments)
    except Exception as error:
        return {
            "network": name,
            "batch_size": network.batch_size,
            "failure": f"{type(error).__name__}: {error}",
            **{part: {} for part in ("peers", "ratios", "eager_ratios", "roofline", "skipped")},
        }


def step_on_gpu(name: str, network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times one network; the ratios are those of the best way of using PyTorch to the best way of using pycnn.

    Raises:
        WrongAnswer: pycnn differs from PyTorch in all that it does.
    """
    state = peers.initial_state(network)
    images, labels = peers.batch(network)
    chosen = options.chosen(peers.TRAINING_CUDA + ((peers.TORCH_COMPILE_CUDA,) if arguments.compile else ()), arguments)

    def make(peer: peers.Peer) -> peers.Training:
        return peers.Training(peer, network, state, images, labels, arguments.threads)

    trainings, skipped = peers.prepare(chosen, lambda peer: gpus.tried(make, peer))
    refused: dict[str, str] = {}
    differences = peers.check_training(trainings, state, refused)
    right = {peer: training for peer, training in trainings.items() if peer.name not in refused}
    for package in ("pycnn", "torch"):
        if any(peer.package == package for peer in trainings) and not any(peer.package == package for peer in right):
            raise WrongAnswer(f"{package} in all its ways: {refused}")
    row = options.measured_on_gpu(name, network, right, arguments)
    return row | {"skipped": skipped | refused, "differences": differences}


def forget_or_stop() -> None:
    """Makes room for the next network. A GPU that has failed stays so for the process, which then ends."""
    try:
        gpus.forget()
        gpus.synchronize("pycnn", sys.modules["pycnn"])
    except RuntimeError as error:
        sys.exit(f"the GPU cannot be used any more: {error}")
