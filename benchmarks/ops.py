"""`ops`: every distinct convolution of five networks, three passes, beside its floor and PyTorch channels_last.

The floor of a row is the larger of operations / peak and bytes / bandwidth, with every tensor read or written once and
the peak measured in turn with the row. `of_floor` is floor / time in kernels; a layer that stays in the caches may go
over 1, as may Winograd's algorithm, which needs fewer operations than the definition says.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib
import math
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import measure, options, peers
from benchmarks.networks import NETWORKS, Network

CONVOLUTION_NETWORKS = ["resnet50", "vgg16", "alexnet", "mobilenet", "lenet5"]
PEERS = (peers.Peer("pycnn", "pycnn"), peers.Peer("torch channels_last", "torch", channels_last=True))

Passes = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Layer:
    """A convolution without bias of square images by square kernels; sizes in pixels."""

    batch_size: int
    in_channels: int
    out_channels: int
    size: int
    kernel: int
    stride: int
    padding: int
    groups: int

    @property
    def output_size(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of input, weight and output."""
        return [
            (self.batch_size, self.in_channels, self.size, self.size),
            (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel),
            (self.batch_size, self.out_channels, self.output_size, self.output_size),
        ]

    @property
    def flops(self) -> int:
        """Of each pass, a multiply-add counted twice, padding included."""
        _, weight, output = self.shapes
        return 2 * math.prod(output) * math.prod(weight[1:])

    @property
    def bytes(self) -> int:
        return 4 * sum(map(math.prod, self.shapes))

    def __str__(self) -> str:
        kernel = f"{self.kernel}×{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else "")
        kind = "depthwise" if self.groups == self.in_channels > 1 else f"{self.in_channels}→{self.out_channels}"
        channels = f"{kind} {self.out_channels}" if kind == "depthwise" else kind
        return f"{kernel} {channels}, {self.size}², b{self.batch_size}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, rounds=7, seconds=0.1)
    options.add_networks(parser, CONVOLUTION_NETWORKS)
    options.add_peers(parser)


def run(arguments: argparse.Namespace) -> None:
    results = measure.Results("ops", arguments)
    where: dict[Layer, Counter[str]] = {}
    for name in arguments.networks:
        network = dataclasses.replace(NETWORKS[name], batch_size=1) if arguments.quick else NETWORKS[name]
        for layer in layers(network):
            where.setdefault(layer, Counter())[name] += 1
    for layer, networks in where.items():
        for row in convolution(layer, arguments):
            results.add({"networks": networks, **row})
            efficiency = f"{row['flops'] / row['kernel_seconds'][1] / 1e9:.0f} GFLOP/s, {row['of_floor']:.2f} of floor"
            print(options.line(f"{layer} {row['pass']}", row), f"({row['algorithm']}, {efficiency})", flush=True)


def layers(network: Network) -> list[Layer]:
    """Its convolutions in the order in which they are called."""
    pycnn = importlib.import_module("pycnn")
    found: list[Layer] = []

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        batch_size, channels, size, _ = inputs[0].shape
        kernel, stride, padding = (each[0] for each in (module.kernel_size, module.stride, module.padding))
        found.append(Layer(batch_size, channels, module.out_channels, size, kernel, stride, padding, module.groups))

    module = network.build(pycnn)
    for part in module.modules():
        if isinstance(part, pycnn.nn.Conv2d):
            part.register_forward_pre_hook(note)
    module(pycnn.zeros(network.batch_size, network.channels, network.size, network.size))  # recorded, never computed
    return found


def convolution(layer: Layer, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Times the three passes of a layer; a row for each."""
    from pycnn import profiler

    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape, dtype=np.float32) for shape in layer.shapes]
    passes, skipped = peers.prepare(
        options.chosen(PEERS, arguments), lambda peer: passes_of(peer, layer, arrays, arguments.threads)
    )
    differences = {name: check(passes, name) for name in ("forward", "input gradient", "weight gradient")}

    ours = next(iter(passes.values()))
    kernels = {name: measure.Noted(functools.partial(kernel_events, call)) for name, call in ours.items()}
    peak = measure.Noted(lambda: profiler.measure_peak(0.01))
    steps: Passes = {f"{peer.name}/{name}": call for peer, calls in passes.items() for name, call in calls.items()}
    steps |= {f"kernels/{name}": noted for name, noted in kernels.items()} | {"peak": peak}
    samples = measure.alternate(steps, options.schedule(arguments))

    flops_per_second = statistics.median(noted.flops_per_second for noted in peak.values)
    bytes_per_second = statistics.median(noted.bytes_per_second for noted in peak.values)
    floor = max(layer.flops / flops_per_second, layer.bytes / bytes_per_second)
    rows = []
    for name in differences:
        seconds = measure.quartiles([sum(event.seconds for event in events) for events in kernels[name].values])
        times = {peer.name: samples[f"{peer.name}/{name}"] for peer in passes}
        rows.append(
            {
                "layer": str(layer),
                "shape": dataclasses.asdict(layer),
                "pass": name,
                "algorithm": "+".join(event.details for event in kernels[name].values[-1]),
                "flops": layer.flops,
                "bytes": layer.bytes,
                "peers": {peer: sample.to_json() for peer, sample in times.items()},
                "skipped": skipped,
                "differences": differences[name],
                "ratios": options.ratios(times, [*passes]),
                "kernel_seconds": seconds,
                "floor": floor,
                "of_floor": floor / seconds[1],
                "peak": {"flops_per_second": flops_per_second, "bytes_per_second": bytes_per_second},
            }
        )
    return rows


def passes_of(peer: peers.Peer, layer: Layer, arrays: list[peers.Array], threads: int) -> Passes:
    """The three passes by name, each computing one tensor to the end. All tensors lie channels-last."""
    library = peers.load(peer, threads)
    x, weight, gradient = (
        library.from_numpy(array).contiguous(memory_format=library.channels_last) for array in arrays
    )
    conv2d = library.nn.functional.conv2d
    sizes = ([layer.stride] * 2, [layer.padding] * 2, [1, 1])

    def forward() -> Any:
        with library.no_grad():
            return conv2d(x, weight, None, *sizes, layer.groups)

    if peer.package == "torch":

        def backward(which: int) -> Any:
            mask = [which == 0, which == 1, False]
            return library.ops.aten.convolution_backward(
                gradient, x, weight, None, *sizes, False, [0, 0], layer.groups, mask
            )[which]

        return {
            "forward": forward,
            "input gradient": lambda: backward(0),
            "weight gradient": lambda: backward(1),
        }

    def backward_to(wanted: Any, x: Any, weight: Any) -> Any:
        # The forward pass is recorded, and dropped before anything is computed.
        (result,) = library.autograd.grad(conv2d(x, weight, None, *sizes, layer.groups), [wanted], gradient)
        library.eval(result)
        return result

    def evaluated_forward() -> Any:
        result = forward()
        library.eval(result)
        return result

    library.eval(x, weight, gradient)
    x_leaf, weight_leaf = x.detach().requires_grad_(), weight.detach().requires_grad_()
    return {
        "forward": evaluated_forward,
        "input gradient": lambda: backward_to(x_leaf, x_leaf, weight),
        "weight gradient": lambda: backward_to(weight_leaf, x, weight_leaf),
    }


def check(passes: dict[peers.Peer, Passes], name: str) -> dict[str, float]:
    """Relative differences from the first peer's result."""
    results = {peer: calls[name]().numpy() for peer, calls in passes.items()}
    expected = next(iter(results.values()))
    seen = {peer.name: peers.relative_difference(result, expected) for peer, result in results.items()}
    for peer in results:
        peers.require(peer, name, seen[peer.name], peers.TOLERANCE)
    return seen


def kernel_events(call: Callable[[], Any]) -> list[Any]:
    """The kernels that a call runs."""
    from pycnn import profiler

    with profiler.profile() as profile:
        call()
    return [event for event in profile.events if event.step != "compile"]
