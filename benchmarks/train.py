"""`train`: one training step of each network, beside PyTorch in both memory layouts, float32 and bfloat16."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from benchmarks import measure, options, peers
from benchmarks.networks import NETWORKS, Network

#: Batch sizes besides the network's own.
FURTHER_BATCH_SIZES = {"lenet5": [1]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=7, seconds=1.0)
    options.add_networks(parser, list(NETWORKS))
    options.add_peers(parser)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (it compiles for half a minute)")


def run(arguments: argparse.Namespace) -> None:
    results = measure.Results("train", arguments)
    for name in arguments.networks:
        network = NETWORKS[name]
        sizes = [2] if arguments.quick else [network.batch_size, *FURTHER_BATCH_SIZES.get(name, [])]
        for size in sizes:
            row = step(name, dataclasses.replace(network, batch_size=size), arguments)
            results.add(row)
            print(options.line(f"{name} b{size}", row), flush=True)


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
