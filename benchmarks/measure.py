"""How everything here is measured: steps of several peers in alternating blocks, and results as JSON.

Peers share a machine whose speed wanders, so they take turns: a block of steps of the first, a block of the second,
…, and all over again. A ratio is taken within a round and never across rounds. The first steps of a block are not
counted: they pay for the caches and for the spinning threads that the peer before left behind.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Distributions whose versions are noted, and variables that change what the libraries do.
DISTRIBUTIONS = ("numpy", "torch", "onnx", "onnxruntime", "openvino")
VARIABLES = (
    "PYCNN_",
    "OMP_",
    "MKL_",
    "KMP_",
    "GOMP_",
    "ONEDNN_",
    "DNNL_",
    "ATEN_",
    "OPENVINO_",
    "MALLOC_",
    "LD_PRELOAD",
)
PROCESSOR_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")


SETTLING = 0.01  #: seconds at the start of a block that are not counted, one step at least


@dataclass(frozen=True)
class Schedule:
    """How long to measure: every peer has a block of about `seconds` (and at least two counted steps) per round."""

    rounds: int
    seconds: float


class Samples:
    """Seconds per step of one peer, by block."""

    def __init__(self) -> None:
        self.blocks: list[list[float]] = []

    def quartiles(self) -> list[float]:
        """First quartile, median, third quartile of all counted steps."""
        return quartiles([seconds for block in self.blocks for seconds in block])

    def divided(self, count: int) -> Samples:
        """For a step that does something `count` times: the seconds of one."""
        result = Samples()
        result.blocks = [[seconds / count for seconds in block] for block in self.blocks]
        return result

    def to_json(self) -> dict[str, Any]:
        return {"seconds": self.quartiles(), "steps": sum(map(len, self.blocks)), "blocks": len(self.blocks)}


def quartiles(values: list[float]) -> list[float]:
    if len(values) == 1:
        return 3 * values
    return statistics.quantiles(values, n=4, method="inclusive")


def alternate(steps: Mapping[str, Callable[[], object]], schedule: Schedule) -> dict[str, Samples]:
    """Times the steps in turn, after a warm-up of each: two steps, and as many as fit in a tenth of a block."""
    counts = {}
    for name, step in steps.items():
        step()
        seconds = _settle(step, schedule.seconds / 10)
        counts[name] = max(2, round(schedule.seconds / seconds))
    samples = {name: Samples() for name in steps}
    for _ in range(schedule.rounds):
        for name, step in steps.items():
            _settle(step, min(SETTLING, schedule.seconds / 10))
            samples[name].blocks.append([timed(step) for _ in range(counts[name])])
    return samples


def _settle(step: Callable[[], object], seconds: float) -> float:
    """Runs the step once, and again until the time is over; returns the least seconds it took."""
    begin = time.perf_counter()
    least = timed(step)
    while time.perf_counter() - begin < seconds:
        least = min(least, timed(step))
    return least


def timed(step: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def ratio(theirs: Samples, ours: Samples) -> list[float]:
    """Quartiles over the rounds of (their median / our median): above 1, ours is faster."""
    medians = [[statistics.median(block) for block in samples.blocks] for samples in (theirs, ours)]
    return quartiles([their / our for their, our in zip(*medians, strict=True)])


def fastest(samples: Mapping[str, Samples], names: list[str]) -> str | None:
    """Which of the names has the smallest median; None if none was measured."""
    measured = [name for name in names if name in samples]
    return min(measured, key=lambda name: samples[name].quartiles()[1], default=None)


class Noted:
    """A step that keeps what the function returns, for what is measured otherwise than by the clock around it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.values: list[Any] = []

    def __call__(self) -> None:
        self.values.append(self.function())


def roofline(step: Callable[[], object], calls: int = 3, peak: Any = None) -> dict[str, Any]:
    """Where the time of a step of pycnn goes, and the least it could take on this machine: its peak, or the one that is
    given, measured now. On a GPU each kernel is waited for, which takes microseconds that count as its.

    The floor of a kernel is the larger of operations / peak and bytes / bandwidth (Williams, Waterman and Patterson
    2009); that of the step is their sum. Operations are those of the definition: Winograd's algorithm may go below.
    Products of bfloat16 have a peak of their own.

    Returns:
        seconds in kernels, floor and seconds by kind of kernel, all per step, and the machine's peak.
    """
    from pycnn import profiler

    peak = peak or profiler.measure_peak()
    with profiler.profile() as profile:
        for _ in range(calls):
            step()
    kinds: dict[str, dict[str, float]] = {}
    for event in profile.events:
        if event.step == "compile":
            continue
        kind = kinds.setdefault(event.step, {"seconds": 0.0, "floor": 0.0, "flops": 0.0, "bytes": 0.0})
        kind["seconds"] += event.seconds / calls
        kind["floor"] += peak.floor(event.flops, event.bytes, event.dtype) / calls
        kind["flops"] += event.flops / calls
        kind["bytes"] += event.bytes / calls
    return {
        "seconds": sum(kind["seconds"] for kind in kinds.values()),
        "floor": sum(kind["floor"] for kind in kinds.values()),
        "kinds": dict(sorted(kinds.items(), key=lambda item: -item[1]["seconds"])),
        "peak": peak._asdict(),
    }


def peak_resident_bytes() -> int:
    """The most memory this process has held so far."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Results:
    """Rows of one benchmark, in a file that is rewritten after each row, so that an interrupted run keeps its rows."""

    def __init__(self, benchmark: str, arguments: argparse.Namespace) -> None:
        options = {name: value for name, value in vars(arguments).items() if name not in ("command", "run")}
        self.path = Path(arguments.out) / f"{arguments.name or benchmark}.json"
        self.content: dict[str, Any] = {
            "benchmark": benchmark,
            "command": f"python -m benchmarks {' '.join(sys.argv[1:])}",
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "options": options,
            "rows": [],
        }

    def add(self, row: dict[str, Any]) -> None:
        self.content["rows"].append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(self.content, indent=1, default=str) + "\n", encoding="utf-8")
        temporary.replace(self.path)


def machine() -> dict[str, Any]:
    """What a reader needs to know about where the numbers come from."""
    import pycnn
    from pycnn import _core

    processors = _processors()
    flags = processors[0].get("flags", processors[0].get("Features", "")).split() if processors else []
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {(each.get("physical id"), each.get("core id", index)) for index, each in enumerate(processors)}
    return {
        "processor": processors[0].get("model name", platform.processor()) if processors else platform.processor(),
        "cores": len(cores) or os.cpu_count(),
        "logical processors": os.cpu_count(),
        "usable processors": len(affinity),
        "virtual machine": "hypervisor" in flags,
        "features": [feature for feature in PROCESSOR_FEATURES if feature in flags],
        "pycnn": _core.info(),
        "caches": _caches(),
        "memory bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load average": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            "pycnn": pycnn.__version__,
            **{name: version for name in DISTRIBUTIONS if (version := _version(name))},
        },
        "commit": _commit(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }


def _processors() -> list[dict[str, str]]:
    """What the kernel tells about each logical processor; empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    fields = [[line.partition(":") for line in part.splitlines()] for part in text.strip().split("\n\n")]
    return [{name.strip(): value.strip() for name, _, value in part} for part in fields]


def _caches() -> dict[str, str]:
    """Sizes of the first processor's caches by level and type, such as {"L1 data": "48K"}."""
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        caches[f"L{level}" if kind == "Unified" else f"L{level} {kind.lower()}"] = size
    return caches


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The repository's commit, with "+" if files differ from it; None outside a repository."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=12",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
