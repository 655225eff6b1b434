"""`memory`: the most memory that a process holds which takes training steps, a process per network and library."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import measure, options, peers
from benchmarks.networks import NETWORKS

STEPS = 3  #: the first makes momentum buffers and plans, the second reuses memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser)
    options.add_networks(parser, list(NETWORKS))
    options.add_peers(parser)


def run(arguments: argparse.Namespace) -> None:
    results = measure.Results("memory", arguments)
    chosen = options.chosen(tuple(peer for peer in peers.TRAINING if not peer.compiled), arguments)
    for name in arguments.networks:
        batch_size = 2 if arguments.quick else NETWORKS[name].batch_size
        answers = {peer: in_child(peer, name, batch_size, arguments.threads) for peer in chosen}
        held = {peer: answer["bytes"] for peer, answer in answers.items() if "bytes" in answer}
        row = {
            "network": name,
            "batch_size": batch_size,
            "peers": {peer.name: {"bytes": count} for peer, count in held.items()},
            "skipped": {peer.name: answer["skipped"] for peer, answer in answers.items() if "skipped" in answer},
            "ratios": ratios(held),
        }
        results.add(row)
        print(
            f"{name} b{batch_size}:", ", ".join(f"{peer.name} {held[peer] / 1e6:.0f} MB" for peer in held), flush=True
        )


def ratios(held: dict[peers.Peer, int]) -> dict[str, float]:
    """By dtype: pycnn's bytes over those of the most frugal other way, below 1 if pycnn needs less."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        ours = [count for peer, count in held.items() if peer.dtype == dtype and peer.package == "pycnn"]
        theirs = [count for peer, count in held.items() if peer.dtype == dtype and peer.package != "pycnn"]
        if ours and theirs:
            found[dtype] = min(ours) / min(theirs)
    return found


def in_child(peer: peers.Peer, network: str, batch_size: int, threads: int) -> dict[str, Any]:
    """{"bytes": …} or {"skipped": reason}, from a process that has never held anything else."""
    request = json.dumps([dataclasses.asdict(peer), network, batch_size, threads])
    command = [sys.executable, "-c", "from benchmarks import memory; memory.answer()"]
    folder = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, input=request, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{peer.name}, {network}: the process ended with {done.returncode}\n{done.stderr}")
    return dict(json.loads(done.stdout))


def answer() -> None:
    """The child: reads a request, takes the steps, writes what it held."""
    description, name, batch_size, threads = json.load(sys.stdin)
    network = dataclasses.replace(NETWORKS[name], batch_size=batch_size)
    try:
        training = peers.Training(peers.Peer(**description), network, None, *peers.batch(network), threads)
    except peers.Unavailable as reason:
        print(json.dumps({"skipped": str(reason)}))
        return
    for _ in range(STEPS):
        training()
    print(json.dumps({"bytes": measure.peak_resident_bytes()}))
