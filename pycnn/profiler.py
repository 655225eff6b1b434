"""Where the time goes: every step that plans run, with its share of what the machine can do.

    with pycnn.profiler.profile() as prof:
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
    print(prof.key_averages().table(row_limit=10))
    prof.export_chrome_trace("step.json")      # for chrome://tracing or ui.perfetto.dev

A step is one kernel call and may stand for several fused operators. Its floor is the larger of floating-point
operations over the machine's peak and bytes over its copy bandwidth (the roofline of Williams, Waterman and Patterson
2009), both measured when the table is made; `of floor` says how near the step came to it. Products of bfloat16 are
compared with the peak of bfloat16.
"""

from __future__ import annotations

import enum
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from pycnn import _core

__all__ = [
    "Averages",
    "Event",
    "Peak",
    "ProfilerAction",
    "ProfilerActivity",
    "Row",
    "measure_peak",
    "profile",
    "record_function",
    "schedule",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What to watch; there is only the CPU."""

    CPU = "cpu"


class ProfilerAction(enum.Enum):
    """What a profile does during a step: what it notes is kept in RECORD and RECORD_AND_SAVE, the last of a cycle."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """What `profile(schedule=...)` does in which step: cycles of `wait` + `warmup` steps that are not kept and `active`
    ones that are.

    Args:
        wait, warmup, active: steps of a cycle.
        repeat: how many cycles; 0: no end.
        skip_first: steps before the first cycle.
        skip_first_wait: if not 0, the first cycle has no waiting.

    Errors: AssertionError for negative numbers, or `active` below 1.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active < 1:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        step += wait if skip_first_wait else 0
        cycle, place = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat or place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        last = place == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For `on_trace_ready`: writes each trace into a folder, as TensorBoard looks for them (never compressed)."""

    def write(finished: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{os.uname().nodename}_{os.getpid()}"
        finished.export_chrome_trace(os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json"))

    return write


class Event(NamedTuple):
    """One step of a plan, one compilation of a plan ("compile"), or one record_function() block ("function").

    Times in seconds, `begin` since the profile's start; `flops` as the operators define them, whatever the algorithm
    does; `bytes` read and written, every tensor once; `dtype` that of what is multiplied.
    """

    step: str
    operators: str
    details: str
    begin: float
    seconds: float
    flops: float
    bytes: int
    thread: int
    dtype: str = "float32"


class Peak(NamedTuple):
    """What this machine does at best on the threads in use.

    Per second: float32 multiply-adds and additions, bytes read and written in a copy, and bfloat16 operations with
    float32 sums.
    """

    flops_per_second: float
    bytes_per_second: float
    bfloat16_flops_per_second: float

    def floor(self, flops: float, bytes: float, dtype: str = "float32") -> float:
        """The least seconds that so many operations on `dtype` and bytes could take."""
        peak = self.bfloat16_flops_per_second if dtype == "bfloat16" else self.flops_per_second
        return max(flops / peak, bytes / self.bytes_per_second)


def measure_peak(seconds: float = 0.1) -> Peak:
    """Measures the peak for about three times `seconds`: multiply-adds from registers, and a copy of 64 MiB."""
    return Peak(*_core.measure_peak(seconds))


class Row(NamedTuple):
    """All events with the same step, operators, algorithm and dtype."""

    step: str
    operators: str
    algorithm: str
    calls: int
    seconds: float
    flops: float
    bytes: int
    dtype: str = "float32"


_SORT_KEYS = {
    **dict.fromkeys(("seconds", "cpu_time_total", "self_cpu_time_total", "cpu_time", "self_cpu_time"), "seconds"),
    **dict.fromkeys(("calls", "count"), "calls"),
    **dict.fromkeys(("bytes", "cpu_memory_usage", "self_cpu_memory_usage"), "bytes"),
    "flops": "flops",
}


class Averages(Sequence[Row]):
    """Events added up by step, operators, algorithm and dtype; a sequence of rows, slowest first."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: -row.seconds)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def total(self) -> float:
        """Seconds in all rows."""
        return sum(row.seconds for row in self._rows)

    def table(self, sort_by: str = "seconds", row_limit: int = -1, peak: Peak | None = None) -> str:
        """The rows as text.

        Args:
            sort_by: "seconds", "calls", "flops" or "bytes" (or PyTorch's "cpu_time_total" and so on); largest first.
            row_limit: how many rows at most; -1: all.
            peak: what to compare with; measured now if None.

        Raises:
            ValueError: another sort_by.
        """
        if sort_by not in _SORT_KEYS:
            raise ValueError(f"sort_by must be one of {sorted(_SORT_KEYS)}, got {sort_by!r}")
        if not self._rows:
            return (
                "Nothing ran: what nobody asks for is not computed. Read the result inside the block (item(), numpy())."
            )
        peak = peak or measure_peak()
        rows = sorted(self._rows, key=lambda row: -getattr(row, _SORT_KEYS[sort_by]))
        total = self.total()
        lines = [
            f"{'ms':>9} {'share':>6} {'calls':>6} {'GFLOP/s':>8} {'GB/s':>6} {'of floor':>8}  step [algorithm] operator"
        ]
        for row in rows if row_limit < 0 else rows[:row_limit]:
            floor = peak.floor(row.flops, row.bytes, row.dtype)
            algorithm = f" [{row.algorithm}]" if row.algorithm else ""
            lines.append(
                f"{1e3 * row.seconds:9.3f} {row.seconds / (total or 1):6.1%} {row.calls:6d} "
                f"{row.flops / (row.seconds or 1) / 1e9:8.1f} {row.bytes / (row.seconds or 1) / 1e9:6.1f} "
                f"{floor / (row.seconds or 1):8.2f}  {row.step}{algorithm} {row.operators}"
            )
        lines.append(
            f"{1e3 * total:9.3f} in all; peak {peak.flops_per_second / 1e9:.0f} GFLOP/s "
            f"({peak.bfloat16_flops_per_second / 1e9:.0f} in bfloat16), "
            f"copy {peak.bytes_per_second / 1e9:.1f} GB/s, {_core.get_num_threads()} threads"
        )
        return "\n".join(lines)


class profile:  # noqa: N801 (PyTorch's name)
    """Notes every step that plans run inside the `with` block, in all threads.

    Work is done where a value is needed or `backward()` or `step()` is called: what was recorded before the block and
    is evaluated inside belongs to it. Only one profile can be taken at a time.

    With a `schedule`, `step()` tells where one step of the training ends; what is noted during those that count is
    handed to `on_trace_ready` at the end of each cycle.

    Args:
        activities, record_shapes, profile_memory, with_stack, with_flops, with_modules: accepted for PyTorch's sake;
            events always carry their operations and bytes.
        schedule: a function of the step's number that gives a `ProfilerAction`, as `schedule()` makes it.
        on_trace_ready: called with the profile when its events are known.

    Attributes:
        events: list of Event, in order, after the block or within `on_trace_ready`.
        step_num: how often `step()` was called.

    Raises:
        RuntimeError: another profile is being taken; or events are asked for inside the block.
    """

    _active: profile | None = None

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], object] | None = None,
        with_modules: bool = False,
    ) -> None:
        self._schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self._action = ProfilerAction.NONE
        self._on_trace_ready = on_trace_ready
        self._events: list[Event] | None = None
        self._kept: list[Event] = []
        self._functions: list[Event] = []
        self._begin = self._started = 0.0
        self.step_num = 0

    def __enter__(self) -> profile:
        if profile._active is not None:
            raise RuntimeError("profile: another profile is being taken")
        self._action = self._schedule(0)
        profile._active = self
        self._events = None
        self._kept = []
        self.step_num = 0
        self._begin = time.perf_counter()
        self._start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._stop()
        finally:
            profile._active = None
        if self._action in _RECORDING:
            self._finish()
        elif self._events is None:
            self._events = []

    def step(self) -> None:
        """One step of the training has ended; RuntimeError outside the with block."""
        if profile._active is not self:
            raise RuntimeError("profile: step() belongs into the with block")
        following = self._schedule(self.step_num + 1)
        self._stop()
        ended, self._action = self._action, following
        self.step_num += 1
        try:
            if ended is ProfilerAction.RECORD_AND_SAVE:
                self._finish()
        finally:
            if ended is ProfilerAction.RECORD_AND_SAVE:
                self._kept = []
            self._start()

    def _start(self) -> None:
        self._functions = []
        self._started = time.perf_counter() - self._begin
        _core.start_profiling()

    def _stop(self) -> None:
        noted = [Event(*event) for event in _core.stop_profiling()]
        if self._action in _RECORDING:
            self._kept += [event._replace(begin=event.begin + self._started) for event in noted] + self._functions

    def _finish(self) -> None:
        self._events = sorted(self._kept, key=lambda event: event.begin)
        if self._on_trace_ready is not None:
            self._on_trace_ready(self)

    @property
    def events(self) -> list[Event]:
        """What was noted, an `Event` per step that ran. RuntimeError before the with block has ended."""
        if self._events is None:
            raise RuntimeError("profile: events are known when the with block has ended")
        return self._events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> Averages:
        """Steps added up by kind, operators, algorithm and dtype, without record_function() blocks. The arguments are
        accepted for PyTorch's sake."""
        sums: dict[tuple[str, str, str, str], list[Any]] = {}
        for event in self.events:
            if event.step == "function":
                continue
            # A pointwise step's details are its whole program, a compilation's how long the plan is.
            algorithm = "" if event.step.startswith(("pointwise", "compile")) else event.details
            values = sums.setdefault((event.step, event.operators, algorithm, event.dtype), [0, 0.0, 0.0, 0])
            for index, value in enumerate((1, event.seconds, event.flops, event.bytes)):
                values[index] += value
        return Averages(Row(*key[:-1], *values)._replace(dtype=key[-1]) for key, values in sums.items())

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes the events as JSON in Chrome's trace event format, which chrome://tracing and Perfetto show.

        The file appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        trace = [
            {
                "name": event.operators or event.step,
                "cat": event.step,
                "ph": "X",
                "pid": os.getpid(),
                "tid": event.thread,
                "ts": 1e6 * event.begin,
                "dur": 1e6 * event.seconds,
                "args": {"details": event.details, "flops": event.flops, "bytes": event.bytes},
            }
            for event in self.events
        ]
        path = os.fspath(path)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".trace-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"traceEvents": trace, "displayTimeUnit": "ms"}, file)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


class record_function:  # noqa: N801 (PyTorch's name)
    """Marks a block of Python code in the profile's events and trace; without a profile it does nothing.

    Recording is lazy: what the block records may run later, where its values are needed.

    Args:
        name: what to call the block.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._start = 0.0

    def __enter__(self) -> record_function:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        active = profile._active
        if active is not None:
            begin = self._start - active._begin
            seconds = time.perf_counter() - self._start
            active._functions.append(Event("function", self.name, "", begin, seconds, 0.0, 0, 0))
