"""Fixtures of the whole suite: every test starts from the same seed and leaves the process as it found it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves sys.path alone; helpers lie beside the tests

import pycnn
from pycnn import _core

# A shell's background jobs ignore the interrupts that some tests send, and so would the processes they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if (
        terminalreporter.stats.get("failed")
        and pycnn.cuda.is_available()
        and "emulated" in pycnn.cuda.get_device_name()
    ):
        seed = os.environ.get("PYCNN_EMULATED_SEED", "0")
        terminalreporter.write_line(f"the emulated GPU drew the order of streams with PYCNN_EMULATED_SEED={seed}")


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Seed 0 before each test; after it the mode, level, threads and dtype that the process began with."""
    pycnn.manual_seed(0)
    threads = pycnn.get_num_threads()
    yield
    _core.set_mode(os.environ.get("PYCNN_MODE", "lazy"))
    _core.set_level(os.environ.get("PYCNN_CPU_ISA", _core.available_levels()[0]))
    if pycnn.get_num_threads() != threads:
        pycnn.set_num_threads(threads)
    pycnn.set_default_dtype(pycnn.float32)
    assert pycnn.is_grad_enabled(), "a test left gradients switched off"
