"""What is different on a GPU: it is waited for, steps are timed in bursts, PyTorch has CUDA graphs.

The emulated GPU (docs/cuda.md) stands in for one to try the benchmarks; PyTorch then computes on the CPU. Such figures
mean nothing.
"""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from benchmarks import measure
from benchmarks.outcomes import Unavailable

Prepared = TypeVar("Prepared")

#: Steps before a burst is sized, fewer if they take longer than so many seconds: by then plans are graphs for all
#: places where their buffers come to lie, and cuDNN has chosen its algorithms.
WARM_UP, LEAST_WARM_UP, WARM_UP_SECONDS = 30, 6, 1.0
BURSTS_PER_BLOCK = 5
MOST_STEPS = 2000  #: of a burst
COPIED_BYTES = 1 << 30  #: by the copy that measures the bandwidth; far more than the caches hold
PRODUCT_SIZE = 8192  #: of the square matrices whose product measures the peaks


def emulated() -> bool:
    """Whether pycnn's GPU is the emulation of its kernels on the host."""
    pycnn = importlib.import_module("pycnn")
    return pycnn.cuda.is_available() and "emulated" in pycnn.cuda.get_device_name()


def check(package: str, library: Any) -> None:
    """Makes the library ready for its GPU: float32 stays float32, and PyTorch looks for the fastest algorithms.

    Raises:
        Unavailable: it has none.
    """
    if package not in ("pycnn", "torch"):
        raise Unavailable("is not measured on GPUs")
    if package == "pycnn":
        if not library.cuda.is_available():
            raise Unavailable(library.cuda.unavailable_reason())
        return
    if device_of(package, library) == "cuda":
        library.backends.cudnn.benchmark = True
        library.backends.cudnn.allow_tf32 = False
        library.backends.cuda.matmul.allow_tf32 = False


def device_of(package: str, library: Any) -> str:
    """Where the library's tensors lie if the benchmark runs on a GPU.

    Raises:
        Unavailable: it sees no GPU, and this is not to try things in emulation.
    """
    if package == "torch" and not library.cuda.is_available():
        if not emulated():
            raise Unavailable("PyTorch sees no GPU")
        return "cpu"
    return "cuda"


def synchronize(package: str, library: Any) -> None:
    """Waits until the library's GPU has done what it was given."""
    if device_of(package, library) == "cuda":
        library.cuda.synchronize()


def tried(make: Callable[[Any], Prepared], peer: Any) -> Prepared:
    """What `make` makes of the peer.

    Raises:
        Unavailable: it raises anything. One peer's failure leaves the others to be timed.
    """
    try:
        return make(peer)
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def random_images(library: Any, shape: tuple[int, ...], device: str, dtype: str) -> Any:
    """Normal numbers (N, C, H, W), channels last in memory."""
    batch_size, channels, height, width = shape
    images = library.randn(batch_size, height, width, channels, device=device).to(getattr(library, dtype))
    return images.permute(0, 3, 1, 2)


def forget() -> None:
    """Gives all memory of the GPU back that nobody refers to."""
    pycnn = importlib.import_module("pycnn")
    gc.collect()
    pycnn.plan.clear_cache()
    pycnn.cuda.empty_cache()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def facts() -> dict[str, Any]:
    """The GPU as pycnn and PyTorch see it."""
    pycnn = importlib.import_module("pycnn")
    found = dict(vars(pycnn.cuda.get_device_properties())) if pycnn.cuda.is_available() else {}
    found["reason"] = pycnn.cuda.unavailable_reason()
    torch = _torch()
    if torch is not None:
        found["torch"] = {"version": torch.__version__, "cuda": torch.version.cuda}
        if torch.cuda.is_available():
            found["torch"] |= {"device": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
    return found


def _torch() -> Any:
    """PyTorch, or None where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


# -- time -------------------------------------------------------------------------------------------------------------


class Burst:
    """As many steps as take about so many seconds, given to the GPU one after the other, and waited for."""

    def __init__(self, step: Callable[[], object], wait: Callable[[], None], seconds: float, quick: bool) -> None:
        self.step, self.wait, self.count = step, wait, 1
        begin = time.perf_counter()
        for number in range(2 if quick else WARM_UP):
            if number >= LEAST_WARM_UP and time.perf_counter() - begin > WARM_UP_SECONDS:
                break
            self()
        # A few at a time, so that what the host pays for waiting does not count as theirs.
        self.count = 1 if quick else 4
        each = min(measure.timed(self) for _ in range(2)) / self.count
        self.count = max(1, min(MOST_STEPS, round(seconds / each)))

    def __call__(self) -> None:
        for _ in range(self.count):
            self.step()
        self.wait()


def alternate(
    steps: Mapping[str, tuple[Callable[[], object], Callable[[], None]]], schedule: measure.Schedule, quick: bool
) -> dict[str, measure.Samples]:
    """Seconds per step of each (step, what waits for it), in bursts that take turns; a sample is a burst's mean."""
    bursts = {
        name: Burst(step, wait, schedule.seconds / BURSTS_PER_BLOCK, quick) for name, (step, wait) in steps.items()
    }
    samples = measure.alternate(bursts, schedule)
    return {name: samples[name].divided(burst.count) for name, burst in bursts.items()}


# -- peaks ------------------------------------------------------------------------------------------------------------


@functools.cache
def measure_peak(quick: bool) -> Any:
    """What the GPU does at best, as pycnn.profiler.Peak: rates of square products, bytes of a copy (read and written).

    Through PyTorch if it is there, cuBLAS being the measure; else through pycnn. Medians of bursts. Matrices are
    random: zeros would take less power, and so less time.
    """
    profiler = importlib.import_module("pycnn.profiler")
    torch = _torch()
    package = "torch" if torch is not None and (torch.cuda.is_available() or emulated()) else "pycnn"
    library = importlib.import_module(package)
    check(package, library)
    device = device_of(package, library)
    count, size = (1024, 32) if quick else (COPIED_BYTES // 4, PRODUCT_SIZE)
    source = library.rand(count, device=device)

    if package == "torch":
        target = library.empty_like(source)
        steps: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    else:
        steps = {"copy": lambda: library.eval(source * 2)}
    for dtype in (library.float32, library.bfloat16):
        a, b = (library.rand(size, size, device=device).to(dtype) - 0.5 for _ in range(2))
        product = functools.partial(_product, package, library, a, b)
        steps[str(dtype).rpartition(".")[2]] = product
    wait = functools.partial(synchronize, package, library)
    schedule = measure.Schedule(2, 0.01) if quick else measure.Schedule(5, 0.1)
    samples = alternate({name: (step, wait) for name, step in steps.items()}, schedule, quick)
    seconds = {name: sample.quartiles()[1] for name, sample in samples.items()}
    flops = 2 * size**3
    return profiler.Peak(flops / seconds["float32"], 8 * count / seconds["copy"], flops / seconds["bfloat16"])


def _product(package: str, library: Any, a: Any, b: Any) -> None:
    result = a @ b
    if package == "pycnn":
        library.eval(result)


# -- PyTorch's CUDA graphs --------------------------------------------------------------------------------------------


def torch_graph(torch: Any, calls: Callable[[], Any]) -> Callable[[], Any]:
    """What replays the calls as one CUDA graph and returns the tensors that they returned, with new contents.

    Raises:
        Unavailable: PyTorch has no GPU.
    """
    if not torch.cuda.is_available():
        raise Unavailable("CUDA graphs need a GPU")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            calls()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = calls()

    def replay() -> Any:
        graph.replay()
        return results

    return replay


def torch_graph_of_step(torch: Any, module: Any, optimizer: Any, step: Callable[[], Any]) -> Callable[[], Any]:
    """A whole training step as a CUDA graph; parameters, buffers and momentum are as if none had been taken."""
    if not torch.cuda.is_available():
        raise Unavailable("CUDA graphs need a GPU")
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    replay = torch_graph(torch, step)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(before[name])
        for state in optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()
    torch.cuda.synchronize()
    return replay
