"""`smoke`: whether a GPU can be used at all: one operator after the other beside the CPU, then training steps.

The first thing to run on a GPU, each row written before the next begins; the exit code tells whether all agree.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import gpus, measure, options, peers
from benchmarks.networks import NETWORKS

TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}  #: by norm
STEPS = 12  #: of training, the later ones as CUDA graphs
LOSS_TOLERANCE = 1e-3  #: relative, after STEPS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> None:
    options.require_gpu()
    pycnn = importlib.import_module("pycnn")
    pycnn.set_num_threads(arguments.threads)
    results = measure.Results("smoke", arguments)
    results.add({"what": "the GPU", "gpu": gpus.facts(), "skipped": {}})
    failed = False
    checks: dict[str, Callable[[], dict[str, Any]]] = {
        f"{name} {dtype}": lambda call=call, dtype=dtype: compared(pycnn, call, dtype)
        for name, call in CALLS.items()
        for dtype in TOLERANCE
    }
    checks["LeNet-5, steps of training"] = lambda: trained(pycnn, arguments.quick)
    for what, check in checks.items():
        begin = time.perf_counter()
        try:
            row = check()
        except Exception as error:
            row = {"failure": f"{type(error).__name__}: {error}"}
        failed |= "failure" in row
        results.add({"what": what, "seconds": time.perf_counter() - begin, "skipped": {}, **row})
        print(f"{what}: {row}", flush=True)
    if failed:
        sys.exit("not all is as on the CPU")


def convolved(nn: Any, stride: int, groups: int, x: Any, weight: Any) -> Any:
    return nn.functional.conv2d(x, weight[:, : 16 // groups], None, stride, 1, 1, groups)


#: Of x (4, 16, 14, 14) and weight (24, 16, 3, 3).
CALLS: dict[str, Callable[..., Any]] = {
    "addition": lambda p, x, w: x + 1,
    "sum": lambda p, x, w: x.sum((0, 2, 3)),
    "matmul": lambda p, x, w: x.flatten(1)[:, :144] @ w.flatten(1).T,
    "convolution": lambda p, x, w: convolved(p.nn, 1, 1, x, w),
    "convolution with stride": lambda p, x, w: convolved(p.nn, 2, 1, x, w),
    "convolution in groups": lambda p, x, w: convolved(p.nn, 1, 2, x, w),
    "depthwise convolution": lambda p, x, w: convolved(p.nn, 1, 16, x, w[:16]),
    "max pooling": lambda p, x, w: p.nn.functional.max_pool2d(x, 3, 2, 1),
    "batch norm": lambda p, x, w: p.nn.functional.batch_norm(x, None, None, None, None, training=True),
    "softmax": lambda p, x, w: p.softmax(x.flatten(1), 1),
}


def compared(pycnn: Any, call: Callable[..., Any], dtype: str) -> dict[str, Any]:
    """The largest difference, by norm, of the result and the gradients from the CPU's in float64."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape) for shape in ((4, 16, 14, 14), (24, 16, 3, 3))]

    def of(device: str, dtype: str, rounded: str) -> list[peers.Array]:
        leaves = [pycnn.from_numpy(array).to(getattr(pycnn, rounded)).to(getattr(pycnn, dtype)) for array in arrays]
        leaves = [leaf.to(device).requires_grad_() for leaf in leaves]
        result = call(pycnn, *leaves)
        gradient = np.random.default_rng(1).standard_normal(tuple(result.shape))
        rounded_gradient = pycnn.from_numpy(gradient).to(getattr(pycnn, rounded)).to(getattr(pycnn, dtype))
        result.backward(rounded_gradient.to(device))
        made = [result, *(leaf.grad for leaf in leaves if leaf.grad is not None)]
        return [each.detach().double().cpu().numpy() for each in made]

    difference = max(map(peers.relative_difference, of("cuda", dtype, dtype), of("cpu", "float64", dtype)))
    found: dict[str, Any] = {"difference": difference}
    if not difference <= TOLERANCE[dtype]:
        found["failure"] = f"differs from the CPU by {difference:.2g}, more than {TOLERANCE[dtype]}"
    return found


def trained(pycnn: Any, quick: bool) -> dict[str, Any]:
    """Losses of steps on the GPU and the CPU from the same weights."""
    network = NETWORKS["lenet5"]
    state = peers.initial_state(network)
    images, labels = peers.batch(network)
    images, labels = (images[:4], labels[:4]) if quick else (images, labels)
    losses = {}
    graphs = pycnn.plan.statistics()["graphs_launched"]
    for device in ("cpu", "cuda"):
        peer = peers.Peer(device, "pycnn", device=device)
        training = peers.Training(peer, network, state, images, labels, pycnn.get_num_threads())
        losses[device] = [training() for _ in range(STEPS)]
    found: dict[str, Any] = {
        "losses": losses,
        "graphs launched": pycnn.plan.statistics()["graphs_launched"] - graphs,
    }
    difference = max(abs(a - b) / abs(a) for a, b in zip(losses["cpu"], losses["cuda"], strict=True))
    if not difference <= LOSS_TOLERANCE:
        found["failure"] = f"losses differ by {difference:.2g}, more than {LOSS_TOLERANCE}"
    return found
