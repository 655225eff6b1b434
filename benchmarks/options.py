"""What the commands share: their options, which peers were asked for, and a row's ratios."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import gpus
from benchmarks.measure import Samples, Schedule, alternate, fastest, ratio, roofline
from benchmarks.networks import Network
from benchmarks.outcomes import Unavailable
from benchmarks.peers import Peer, Training


def add_common(parser: argparse.ArgumentParser, rounds: int | None = None, seconds: float | None = None) -> None:
    """The options of all commands, and those of commands that take turns (rounds) by the clock (seconds)."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--threads", type=int, default=threads, help="for every library (default: %(default)s)")
    parser.add_argument("--out", default="results", metavar="FOLDER", help="for the JSON files (default: %(default)s)")
    parser.add_argument("--name", help="of the JSON file, without .json (default: the command)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that everything works")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="turns of each peer (default: %(default)s)")
    if seconds is not None:
        parser.add_argument("--seconds", type=float, default=seconds, help="of a turn (default: %(default)s)")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="where pycnn and PyTorch compute (default: %(default)s)",
    )


def require_gpu() -> None:
    """Ends the program with a reason where pycnn has no GPU."""
    try:
        gpus.check("pycnn", importlib.import_module("pycnn"))
    except Unavailable as reason:
        sys.exit(f"--device cuda: {reason}")


def add_networks(parser: argparse.ArgumentParser, networks: list[str]) -> None:
    parser.add_argument(
        "--networks", type=lambda text: _subset(text, networks), default=networks, help=f"of {','.join(networks)}"
    )


def add_peers(parser: argparse.ArgumentParser) -> None:
    libraries = ["pycnn", "torch", "onnxruntime", "openvino"]
    parser.add_argument(
        "--peers", type=lambda text: _subset(text, libraries), default=libraries, help=f"of {','.join(libraries)}"
    )


def _subset(text: str, known: list[str]) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} not among {', '.join(known)}")
    return names


def schedule(arguments: argparse.Namespace) -> Schedule:
    return Schedule(2, 0.01) if arguments.quick else Schedule(arguments.rounds, arguments.seconds)


def chosen(peers: tuple[Peer, ...], arguments: argparse.Namespace) -> tuple[Peer, ...]:
    """The peers of the libraries asked for, pycnn first and always."""
    return tuple(peer for peer in peers if peer.package == "pycnn" or peer.package in arguments.peers)


def ratios(samples: Mapping[str, Samples], peers: list[Peer]) -> dict[str, dict[str, Any]]:
    """For each dtype, the fastest other library, the fastest way of using pycnn, and the ratio of their times."""
    found = {}
    for dtype in ("float32", "bfloat16"):
        same = [peer for peer in peers if peer.dtype == dtype]
        ours = fastest(samples, [peer.name for peer in same if peer.package == "pycnn"])
        theirs = fastest(samples, [peer.name for peer in same if peer.package != "pycnn"])
        if ours and theirs:
            found[dtype] = {"peer": theirs, "ours": ours, "quartiles": ratio(samples[theirs], samples[ours])}
    return found


def measured(name: str, network: Network, runs: Mapping[Peer, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """The row of a network: how long each peer's run takes (pycnn's first), in turns."""
    samples = alternate({peer.name: run for peer, run in runs.items()}, schedule(arguments))
    return row(name, network, samples, runs)


def measured_on_gpu(
    name: str, network: Network, runs: Mapping[Peer, Training], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The same for training steps on a GPU, which is not waited for after each; `eager_ratios` are those of the ways of
    using PyTorch that need no change of the program to the best way of using pycnn."""
    steps = {
        peer.name: (
            run.enqueue,
            functools.partial(gpus.synchronize, peer.package, importlib.import_module(peer.package)),
        )
        for peer, run in runs.items()
    }
    samples = gpus.alternate(steps, schedule(arguments), arguments.quick)
    eager = [peer for peer in runs if peer.package == "pycnn" or not (peer.compiled or peer.graph)]
    peak = gpus.measure_peak(arguments.quick)
    return row(name, network, samples, runs, peak) | {"eager_ratios": ratios(samples, eager), "peak": peak._asdict()}


def row(
    name: str, network: Network, samples: Mapping[str, Samples], runs: Mapping[Peer, Any], peak: Any = None
) -> dict[str, Any]:
    """What is written of a network; `peak`: of the device, measured now if None."""
    return {
        "network": name,
        "batch_size": network.batch_size,
        "peers": {peer: sample.to_json() for peer, sample in samples.items()},
        "ratios": ratios(samples, [*runs]),
        "roofline": {
            peer.dtype: roofline(run, peak=peak)
            for peer, run in runs.items()
            if peer.package == "pycnn" and not peer.compiled
        },
    }


def line(title: str, row: Mapping[str, Any]) -> str:
    """A row for whoever watches: medians in milliseconds, and ratios."""
    times = ", ".join(f"{peer} {1e3 * values['seconds'][1]:.4g}" for peer, values in row["peers"].items())
    found = ", ".join(f"{dtype} {values['quartiles'][1]:.2f}" for dtype, values in row["ratios"].items())
    return f"{title}: {times} ms; ratio {found or '-'}"
