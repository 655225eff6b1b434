"""`passes`: pointwise chains, sums, batch norm and pooling on a GPU, as share of a copy's bandwidth.

A pass counts the bytes that it cannot do without, so that what is not fused shows. PyTorch is channels_last.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import gpus, measure, options, peers

SHAPE = (256, 64, 112, 112)  #: of the images: 0.4 GB in bfloat16
QUICK_SHAPE = (2, 8, 6, 6)  #: and that in which results are compared
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}  #: by norm, of each result
Step = tuple[Callable[[], object], Callable[[], None]]
PEERS = tuple(peers.Peer(name, name, channels_last=name == "torch", device="cuda") for name in ("pycnn", "torch"))


@dataclass(frozen=True)
class Operands:
    """x and gradient (N, C, H, W) in the row's dtype, channels last; weight, bias (C) in float32."""

    package: Any
    x: Any
    gradient: Any
    weight: Any
    bias: Any


@dataclass(frozen=True)
class Pass:
    """`moved`: bytes that have to be read or written, as a multiple of x's."""

    name: str
    moved: float
    results: Callable[[Operands], list[Any]]


def scaled(o: Operands) -> list[Any]:
    weight, bias = (each.to(o.x.dtype).reshape(1, -1, 1, 1) for each in (o.weight, o.bias))
    return [o.package.relu(o.x * weight + bias)]


def momentum(o: Operands) -> list[Any]:
    """SGD's two assignments, x being the momentum and the parameters."""
    updated = 0.9 * o.x + o.gradient
    return [updated, o.x - 1e-3 * updated]


def normalized(o: Operands, x: Any) -> Any:
    return o.package.nn.functional.batch_norm(x, None, None, o.weight, o.bias, training=True)


def normalized_both_ways(o: Operands) -> list[Any]:
    x = o.x.detach().requires_grad_()
    y = o.package.relu(normalized(o, x))
    return [y.detach(), *o.package.autograd.grad(y, [x], o.gradient)]


PASSES = (
    Pass("relu", 2, lambda o: [o.package.relu(o.x)]),
    Pass("addition", 3, lambda o: [o.x + o.gradient]),
    Pass("scale, shift, ReLU", 2, scaled),
    Pass("momentum and update", 4, momentum),
    Pass("sum over all but channels", 1, lambda o: [o.x.sum((0, 2, 3))]),
    Pass("global average", 1, lambda o: [o.package.nn.functional.adaptive_avg_pool2d(o.x, 1)]),
    Pass("max pooling 3×3 / 2", 1.25, lambda o: [o.package.nn.functional.max_pool2d(o.x, 3, 2, 1)]),
    Pass("batch norm, training", 3, lambda o: [normalized(o, o.x)]),
    # Forward reads x twice and writes y; backward reads x and its gradient twice (ReLU's mask follows) and writes.
    Pass("batch norm and ReLU, both ways", 8, normalized_both_ways),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=5, seconds=0.1)
    options.add_peers(parser)


def run(arguments: argparse.Namespace) -> None:
    options.require_gpu()
    results = measure.Results("passes", arguments)
    peak = gpus.measure_peak(arguments.quick)
    print(
        f"copy {peak.bytes_per_second / 1e9:.0f} GB/s, products {peak.flops_per_second / 1e12:.1f} TFLOP/s in float32, "
        f"{peak.bfloat16_flops_per_second / 1e12:.1f} in bfloat16",
        flush=True,
    )
    for dtype in ("bfloat16", "float32"):
        for each in PASSES:
            row = one(each, dtype, peak, arguments)
            results.add(row)
            shares = ", ".join(f"{peer} {share:.2f}" for peer, share in row["shares"].items())
            print(options.line(f"{each.name} {dtype}", row), f"; of the copy's bandwidth {shares}", flush=True)
        gpus.forget()


def one(each: Pass, dtype: str, peak: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times one pass; `shares`: of the copy's bandwidth."""
    shape = QUICK_SHAPE if arguments.quick else SHAPE
    moved = each.moved * math.prod(shape) * {"float32": 4, "bfloat16": 2}[dtype]
    chosen = tuple(dataclasses.replace(peer, dtype=dtype) for peer in options.chosen(PEERS, arguments))
    expected = results_of(peers.Peer("pycnn on the CPU", "pycnn"), each, dtype, arguments.threads)
    differences: dict[str, float] = {}

    def make(peer: peers.Peer) -> Step:
        results = results_of(peer, each, dtype, arguments.threads)
        differences[peer.name] = max(map(peers.relative_difference, results, expected))
        peers.require(peer, each.name, differences[peer.name], TOLERANCE)
        return step_of(peer, each, shape, arguments.threads)

    steps, skipped = peers.prepare(chosen, lambda peer: gpus.tried(make, peer))
    samples = gpus.alternate(
        {peer.name: step for peer, step in steps.items()}, options.schedule(arguments), arguments.quick
    )
    return {
        "what": each.name,
        "dtype": dtype,
        "bytes": moved,
        "peers": {peer: sample.to_json() for peer, sample in samples.items()},
        "skipped": skipped,
        "differences": differences,
        "ratios": options.ratios(samples, [*steps]),
        "shares": {peer: moved / sample.quartiles()[1] / peak.bytes_per_second for peer, sample in samples.items()},
        "peak": peak._asdict(),
    }


def step_of(peer: peers.Peer, each: Pass, shape: tuple[int, ...], threads: int) -> Step:
    """The pass over random images, and what waits for it."""
    library = peers.load(peer, threads)
    device = gpus.device_of(peer.package, library)
    images = (gpus.random_images(library, shape, device, peer.dtype) for _ in range(2))
    operands = Operands(library, *images, *(library.rand(shape[1], device=device) for _ in range(2)))

    def step() -> None:
        results = each.results(operands)
        if peer.package == "pycnn":
            library.eval(*results)

    return step, functools.partial(gpus.synchronize, peer.package, library)


def results_of(peer: peers.Peer, each: Pass, dtype: str, threads: int) -> list[peers.Array]:
    """Of few images, the same for all peers: random, as the dtype holds them."""
    library = peers.load(peer, threads)
    device = gpus.device_of(peer.package, library) if peer.device == "cuda" else "cpu"
    random = np.random.default_rng(0)

    def made(*shape: int) -> Any:
        return library.from_numpy(random.standard_normal(shape, dtype=np.float32))

    def image() -> Any:
        held = made(*QUICK_SHAPE).to(getattr(library, dtype)).to(getattr(library, peer.dtype))
        return held.contiguous(memory_format=library.channels_last).to(device)

    operands = Operands(library, image(), image(), *(made(QUICK_SHAPE[1]).to(device) for _ in range(2)))
    return [result.detach().float().cpu().numpy() for result in each.results(operands)]
