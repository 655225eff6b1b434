"""GPUs: which there are, memory, streams and events. The kernels are in the plug-in that pycnn-cuda13 installs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from pycnn import _core
from pycnn._device import as_device
from pycnn.cuda import amp as amp

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "amp",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state_all",
    "graphs_enabled",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "set_device",
    "set_graphs_enabled",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
    "unavailable_reason",
]

OutOfMemoryError: type[RuntimeError] = vars(_core)["_OutOfMemoryError"]


def is_available() -> bool:
    """Whether there is a GPU that can be used; `pycnn info` says why not."""
    return _core._cuda_is_available()


def unavailable_reason() -> str:
    """Why there is none, in one line; empty if there is one."""
    return _core._cuda_unavailable_reason()


def device_count() -> int:
    """How many GPUs there are."""
    return _core._cuda_device_count()


def init() -> None:
    """Opens the plug-in. Errors: RuntimeError if there is no GPU to use."""
    if not is_available():
        raise RuntimeError(f"CUDA is not available: {unavailable_reason()}")


def is_initialized() -> bool:
    """Whether there is a GPU in use."""
    return is_available()


def _index(wanted: Any) -> int:
    """The index of a GPU given as index, string, device or None, the current one."""
    init()
    if wanted is None:
        return _core._cuda_current_device()
    device = as_device(wanted)
    if device.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {device}")
    return _core._cuda_current_device() if device.index is None else int(device.index)


def current_device() -> int:
    """The index of the GPU that "cuda" means in this thread. Errors: RuntimeError if there is none."""
    init()
    return _core._cuda_current_device()


def set_device(device: Any) -> None:
    """Makes a GPU this thread's current one; a negative index leaves it. Errors: RuntimeError if it is not there."""
    if isinstance(device, int) and device < 0:
        return
    _core._cuda_set_device(_index(device))


@contextmanager
def device(device: Any) -> Iterator[None]:
    """Within it, that GPU is the current one; None or a negative index leaves it."""
    if device is None or (isinstance(device, int) and device < 0):
        yield
        return
    previous = current_device()
    set_device(device)
    try:
        yield
    finally:
        _core._cuda_set_device(previous)


def get_device_properties(device: Any = None) -> Any:
    """name, major, minor, multi_processor_count and total_memory (bytes) of a GPU."""
    return SimpleNamespace(**_core._cuda_properties(_index(device)))


def get_device_name(device: Any = None) -> str:
    """What the driver calls the GPU."""
    return str(get_device_properties(device).name)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Its compute capability, (9, 0) for Hopper."""
    found = get_device_properties(device)
    return found.major, found.minor


def synchronize(device: Any = None) -> None:
    """Waits until everything that was given to the GPU is done. Errors: RuntimeError for what failed there."""
    _core._cuda_synchronize(_index(device))


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether there is a GPU: all that can be used multiply bfloat16."""
    return is_available()


# -- graphs ------------------------------------------------------------------------------------------------------------


def graphs_enabled() -> bool:
    """Whether plans whose memory comes to lie where it lay before are launched as CUDA graphs, in one go.

    They are unless the environment's PYCNN_CUDA_GRAPHS is 0. `pycnn.plan.statistics()` counts them.
    """
    return _core._cuda_graphs_enabled()


def set_graphs_enabled(enabled: bool) -> None:
    """Sets it for all threads. The results have the same bits."""
    _core._cuda_set_graphs_enabled(enabled)


# -- memory ------------------------------------------------------------------------------------------------------------


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the GPU as the driver sees them."""
    return _core._cuda_memory_info(_index(device))


def memory_stats(device: Any = None) -> dict[str, int]:
    """Bytes that tensors hold (allocated) and that are held in all (reserved), now and at most, by PyTorch's names."""
    if not is_available():
        return {}
    found = _core._cuda_memory_statistics(_index(device))
    return {
        "allocated_bytes.all.current": found["allocated"],
        "allocated_bytes.all.peak": found["most_allocated"],
        "reserved_bytes.all.current": found["reserved"],
        "reserved_bytes.all.peak": found["most_reserved"],
    }


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors hold on the GPU."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most of them since start or `reset_peak_memory_stats`."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """Bytes that tensors hold or that are kept for later ones."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most of them since start or `reset_peak_memory_stats`."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Lets the peaks begin anew."""
    if is_available():
        _core._cuda_reset_peak_memory_statistics(_index(device))


reset_max_memory_allocated = reset_peak_memory_stats


def empty_cache() -> None:
    """Gives memory that is kept for later tensors back to the driver."""
    if is_available():
        _core.empty_cache()


# -- streams and events ------------------------------------------------------------------------------------------------


_entered = threading.local()


class Stream(_core._CudaStream):
    """A queue of a GPU's work; streams run side by side. `with stream:` sends this thread's work on its GPU there.

    Who reads in one stream what is computed in another lets it wait: `wait_stream`, `wait_event`. Memory needs no care:
    what pycnn computes with in several streams goes to other tensors, once freed, when all of them are done with it.
    `Tensor.record_stream` is for work that pycnn does not know of. What threads that share a stream give it runs in the
    order in which they do.

    Args:
        device: which GPU; None for the current one.
        priority: lower numbers go first.
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        super().__init__(_index(device), priority)

    @classmethod
    def _of(cls, stream: _core._CudaStream) -> Stream:
        """The core's stream under this class."""
        made = cls.__new__(cls)
        _core._CudaStream.__init__(made, stream)
        return made

    def __enter__(self) -> Stream:
        if not hasattr(_entered, "previous"):
            _entered.previous = []
        _entered.previous.append(_core._cuda_current_stream(self.device_index))
        _core._cuda_set_stream(self)
        return self

    def __exit__(self, *_: object) -> None:
        _core._cuda_set_stream(_entered.previous.pop())

    @property
    def device(self) -> Any:
        """The GPU."""
        return _core.device(f"cuda:{self.device_index}")

    def wait_event(self, event: Event) -> None:
        """What is given to this stream from now on waits for the event."""
        self.wait(event)

    def wait_stream(self, stream: _core._CudaStream) -> None:
        """What is given to this stream from now on waits for all that was given to the other."""
        event = Event()
        event.record(stream)
        self.wait(event)

    def record_event(self, event: Event | None = None) -> Event:
        """The event (a new one if None), which comes when what was given to this stream so far is done."""
        event = Event() if event is None else event
        event.record(self)
        return event


class Event(_core._CudaEvent):
    """A point in a stream.

    Args:
        enable_timing: so that `elapsed_time` can tell times.
        blocking, interprocess: accepted.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        super().__init__(enable_timing)

    def record(self, stream: Any = None) -> None:
        """Comes when what was given to the stream (None: the current one) so far is done."""
        super().record(current_stream() if stream is None else stream)

    def wait(self, stream: Any = None) -> None:
        """Lets the stream (None: the current one) wait for it."""
        (current_stream() if stream is None else stream).wait(self)


def current_stream(device: Any = None) -> Stream:
    """Where this thread's work on the GPU goes."""
    return Stream._of(_core._cuda_current_stream(_index(device)))


def default_stream(device: Any = None) -> Stream:
    """The stream that is there from the start."""
    return Stream._of(_core._cuda_default_stream(_index(device)))


def set_stream(stream: Any) -> None:
    """Sends this thread's work on the stream's GPU there."""
    _core._cuda_set_stream(stream)


@contextmanager
def stream(stream: Any) -> Iterator[None]:
    """Within it, this thread's work on the stream's GPU goes there; None leaves it."""
    if stream is None:
        yield
        return
    with stream:
        yield


# -- random numbers ----------------------------------------------------------------------------------------------------
# The generators are the CPU's: their streams give the same numbers on every device.


def manual_seed(seed: int) -> None:
    """Nothing: `pycnn.manual_seed` is for all devices."""


manual_seed_all = manual_seed


def get_rng_state_all() -> list[Any]:
    """No states: the default generator is for all devices."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Nothing: the default generator is for all devices."""
