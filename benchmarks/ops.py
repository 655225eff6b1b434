"""`ops`: every distinct convolution of five networks, three passes, beside its floor and PyTorch channels_last.

The floor of a row is the larger of operations / peak and bytes / bandwidth, with every tensor read or written once and
the peak measured in turn with the row. `of_floor` is floor / time in kernels; a layer that stays in the caches may go
over 1, as may Winograd's algorithm, which needs fewer operations than the definition says.

With `--device cuda` the layers of ResNet-50 and VGG-16 in bfloat16 and float32, several calls on different images as
one CUDA graph, beside cuDNN in another; `of_peak` is the share of the rate of a large product of matrices.
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

from benchmarks import gpus, measure, options, peers
from benchmarks.networks import NETWORKS, Network

CONVOLUTION_NETWORKS = ["resnet50", "vgg16", "alexnet", "mobilenet", "lenet5"]
CUDA_NETWORKS = ["resnet50", "vgg16"]
CUDA_BATCH_SIZE = 64
CALLS = 4  #: of a CUDA graph, each on images of its own
PASS_NAMES = ("forward", "input gradient", "weight gradient")
#: By norm; both round what they computed in float32, and add up in another order.
CUDA_TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
SMALL_SIZE = 14  #: pixels; of the images with which results are compared
CUDA_PEERS = tuple(
    peers.Peer(f"{package} {dtype}", package, dtype, package == "torch", device="cuda")
    for dtype in ("bfloat16", "float32")
    for package in ("pycnn", "torch")
)
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
    options.add_device(parser)
    options.add_networks(parser, CONVOLUTION_NETWORKS)
    options.add_peers(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.device == "cuda":
        run_on_gpu(arguments)
        return
    results = measure.Results("ops", arguments)
    where = distinct_layers(arguments.networks, 1 if arguments.quick else None)
    for layer, networks in where.items():
        for row in convolution(layer, arguments):
            results.add({"networks": networks, **row})
            efficiency = f"{row['flops'] / row['kernel_seconds'][1] / 1e9:.0f} GFLOP/s, {row['of_floor']:.2f} of floor"
            print(options.line(f"{layer} {row['pass']}", row), f"({row['algorithm']}, {efficiency})", flush=True)


def distinct_layers(networks: list[str], batch_size: int | None) -> dict[Layer, Counter[str]]:
    """The networks' layers, with how often each has them; None: the networks' own batch sizes."""
    where: dict[Layer, Counter[str]] = {}
    for name in networks:
        network = NETWORKS[name]
        if batch_size is not None:
            network = dataclasses.replace(network, batch_size=batch_size)
        for layer in layers(network):
            where.setdefault(layer, Counter())[name] += 1
    return where


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
    differences = {name: check(passes, name) for name in PASS_NAMES}

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
    tensors = [library.from_numpy(array).contiguous(memory_format=library.channels_last) for array in arrays]
    passes = recorded_passes(peer, library, layer, tensors)
    if peer.package == "torch":
        return passes
    return {name: functools.partial(evaluated, library, call) for name, call in passes.items()}


def evaluated(library: Any, call: Callable[[], Any]) -> Any:
    result = call()
    library.eval(result)
    return result


def recorded_passes(peer: peers.Peer, library: Any, layer: Layer, tensors: list[Any]) -> Passes:
    """The same of x, weight and the output's gradient, which pycnn records only."""
    x, weight, gradient = tensors
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
        return library.autograd.grad(conv2d(x, weight, None, *sizes, layer.groups), [wanted], gradient)[0]

    library.eval(x, weight, gradient)
    x_leaf, weight_leaf = x.detach().requires_grad_(), weight.detach().requires_grad_()
    return {
        "forward": forward,
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


# -- on a GPU ---------------------------------------------------------------------------------------------------------


def run_on_gpu(arguments: argparse.Namespace) -> None:
    options.require_gpu()
    results = measure.Results("ops", arguments)
    networks = [name for name in arguments.networks if arguments.quick or name in CUDA_NETWORKS]
    where = distinct_layers(networks, 2 if arguments.quick else CUDA_BATCH_SIZE)
    for dtype in ("bfloat16", "float32"):
        for layer, counted in where.items():
            for name in PASS_NAMES:
                row = {"networks": counted, **pass_on_gpu(layer, name, dtype, arguments)}
                results.add(row)
                shares = ", ".join(f"{peer} {share:.2f}" for peer, share in row["of_peak"].items())
                print(options.line(f"{layer} {name} {dtype}", row), f"(of the peak: {shares})", flush=True)
            gpus.forget()


def pass_on_gpu(layer: Layer, name: str, dtype: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times one pass of a layer in one dtype, and what it reaches of the peak of products."""
    chosen = [peer for peer in CUDA_PEERS if peer.dtype == dtype]
    expected = small_result(peers.Peer("pycnn on the CPU", "pycnn"), layer, name, dtype, arguments.threads)
    differences: dict[str, float] = {}

    def make(peer: peers.Peer) -> tuple[Callable[[], object], Callable[[], None]]:
        result = small_result(peer, layer, name, dtype, arguments.threads)
        differences[peer.name] = peers.relative_difference(result, expected)
        peers.require(peer, name, differences[peer.name], CUDA_TOLERANCE)
        library = peers.load(peer, arguments.threads)
        return several_calls(peer, library, layer, name), functools.partial(gpus.synchronize, peer.package, library)

    steps, skipped = peers.prepare(options.chosen(tuple(chosen), arguments), lambda peer: gpus.tried(make, peer))
    samples = gpus.alternate(
        {peer.name: step for peer, step in steps.items()}, options.schedule(arguments), arguments.quick
    )
    samples = {peer: sample.divided(CALLS) for peer, sample in samples.items()}
    peak = gpus.measure_peak(arguments.quick)
    rate = peak.bfloat16_flops_per_second if dtype == "bfloat16" else peak.flops_per_second
    element = {"float32": 4, "bfloat16": 2}[dtype]
    floor = peak.floor(layer.flops, layer.bytes // 4 * element, dtype)
    medians = {peer: sample.quartiles()[1] for peer, sample in samples.items()}
    return {
        "layer": str(layer),
        "shape": dataclasses.asdict(layer),
        "pass": name,
        "dtype": dtype,
        "flops": layer.flops,
        "bytes": layer.bytes // 4 * element,
        "peers": {peer: sample.to_json() for peer, sample in samples.items()},
        "skipped": skipped,
        "differences": differences,
        "ratios": options.ratios(samples, [*steps]),
        "of_peak": {peer: layer.flops / seconds / rate for peer, seconds in medians.items()},
        "floor": floor,
        "of_floor": {peer: floor / seconds for peer, seconds in medians.items()},
        "peak": peak._asdict(),
    }


def several_calls(peer: peers.Peer, library: Any, layer: Layer, name: str) -> Callable[[], Any]:
    """CALLS calls of the pass with one weight, as one launch."""
    device = gpus.device_of(peer.package, library)
    x, weight, gradient = layer.shapes
    filters = gpus.random_images(library, weight, device, peer.dtype)
    calls = [
        recorded_passes(
            peer,
            library,
            layer,
            [
                gpus.random_images(library, x, device, peer.dtype),
                filters,
                gpus.random_images(library, gradient, device, peer.dtype),
            ],
        )[name]
        for _ in range(CALLS)
    ]

    def together() -> list[Any]:
        return [call() for call in calls]

    if peer.package == "pycnn":
        return library.capture(together)
    return gpus.torch_graph(library, together) if device == "cuda" else together


def small_result(peer: peers.Peer, layer: Layer, name: str, dtype: str, threads: int) -> peers.Array:
    """Of the layer with a batch of 2 on small images, the same for all peers and as the dtype holds them."""
    library = peers.load(peer, threads)
    small = dataclasses.replace(layer, batch_size=2, size=min(layer.size, SMALL_SIZE))
    device = gpus.device_of(peer.package, library) if peer.device == "cuda" else "cpu"
    if peer.package == "torch":
        library.backends.cudnn.benchmark = False  # not worth a search; loading the peer again switches it on
    random = np.random.default_rng(0)
    tensors = []
    for shape in small.shapes:
        held = library.from_numpy(random.standard_normal(shape, dtype=np.float32)).to(getattr(library, dtype))
        held = held.to(getattr(library, peer.dtype)).contiguous(memory_format=library.channels_last)
        tensors.append(held.to(device))
    return recorded_passes(peer, library, small, tensors)[name]().detach().float().cpu().numpy()
