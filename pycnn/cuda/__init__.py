"""What code asks before it chooses a device: there is no GPU in this build."""

from typing import Any

from pycnn.cuda import amp as amp


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Nothing: there is no GPU to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing: there is no GPU to seed."""


def empty_cache() -> None:
    """Nothing: there is no GPU memory."""


def is_initialized() -> bool:
    """False."""
    return False


def init() -> None:
    """RuntimeError: there is no GPU."""
    raise RuntimeError("cuda.init: this build of pycnn runs on the CPU alone")


def current_device() -> int:
    """RuntimeError: there is no GPU."""
    raise RuntimeError("cuda.current_device: this build of pycnn runs on the CPU alone")


def get_device_name(device: Any = None) -> str:
    """RuntimeError: there is no GPU."""
    raise RuntimeError("cuda.get_device_name: this build of pycnn runs on the CPU alone")


def set_device(device: Any) -> None:
    """RuntimeError: there is no GPU."""
    raise RuntimeError("cuda.set_device: this build of pycnn runs on the CPU alone")


def synchronize(device: Any = None) -> None:
    """RuntimeError: there is no GPU."""
    raise RuntimeError("cuda.synchronize: this build of pycnn runs on the CPU alone")


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing: there is no GPU memory."""


reset_max_memory_allocated = reset_peak_memory_stats


def get_rng_state_all() -> list[Any]:
    """No states."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Nothing: there is no GPU."""
