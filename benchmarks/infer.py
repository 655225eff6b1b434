"""`infer`: forward passes in evaluation mode, beside ONNX Runtime, OpenVINO and PyTorch, at batch sizes 1 and 16."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from benchmarks import measure, options, peers
from benchmarks.networks import NETWORKS, Network

INFERENCE_NETWORKS = ["lenet5", "mobilenet", "resnet18", "resnet50", "vgg16"]
BATCH_SIZES = [1, 16]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=9, seconds=0.5)
    options.add_networks(parser, INFERENCE_NETWORKS)
    options.add_peers(parser)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")


def run(arguments: argparse.Namespace) -> None:
    results = measure.Results("infer", arguments)
    for name in arguments.networks:
        for size in [2] if arguments.quick else BATCH_SIZES:
            row = forward(name, dataclasses.replace(NETWORKS[name], batch_size=size), arguments)
            results.add(row)
            print(options.line(f"{name} b{size}", row), flush=True)


def forward(name: str, network: Network, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times one network; the ratios are those of the best other library to the best way of using pycnn."""
    state = peers.initial_state(network)
    images, _ = peers.batch(network)
    chosen = options.chosen(peers.INFERENCE + ((peers.TORCH_COMPILE,) if arguments.compile else ()), arguments)
    inferences, skipped = peers.prepare(
        chosen, lambda peer: peers.inference(peer, network, state, images, arguments.threads)
    )
    differences = peers.check_inference(inferences)
    return options.measured(name, network, inferences, arguments) | {"skipped": skipped, "differences": differences}
