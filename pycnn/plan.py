"""Plans: what evaluating tensors will run, and how operators become computation.

`PYCNN_MODE=eager` (or `set_mode("eager")`) runs every operator when it is recorded, unfused, with the same kernels and
the same bits; `PYCNN_VERBOSE=1` prints each choice of an algorithm and why better ones declined.

Of the algorithms that a convolution or matrix product may use, the first that does not decline is taken. With
`PYCNN_TUNE=1` all that accept (within what `set_winograd` allows) are measured when a plan first needs them, on memory
of their own, and the fastest is taken; `PYCNN_VERBOSE=1` prints the times. A file remembers the choices:
`$XDG_CACHE_HOME/pycnn/algorithms` (without that variable in `~/.cache`), or the one that `PYCNN_TUNE_CACHE` names. They
hold for the processor, instruction set, number of threads and version of pycnn that they were measured with. A file
that is damaged is ignored and one that cannot be written does without, with a RuntimeWarning. Algorithms add in
different orders: tuned, results may differ in their last bits from one machine or number of threads to another, as
those of different instruction sets do; with the same file and threads they are the same.
"""

from __future__ import annotations

from pycnn import Tensor, _core

__all__ = [
    "algorithms",
    "clear_cache",
    "describe",
    "force_algorithm",
    "get_mode",
    "get_winograd",
    "set_mode",
    "set_winograd",
    "statistics",
]


def describe(*tensors: Tensor) -> str:
    """The plan that evaluating these tensors now would run, one line per step; nothing is computed.

    Args:
        tensors: the tensors asked for. Already evaluated ones need no steps.

    Returns:
        a first line with the numbers of steps and bytes, then for each step its kernel, algorithm or program, the
        operators fused into it, the buffers it reads and writes (with dtype and shape), its floating-point operations
        (as the operators define them; a fused program counts one per element) and the bytes it reads and writes, each
        tensor once, as `pycnn.profiler` counts them. `(result)` marks what outlives the plan, `last` steps that write
        over an input. The last line is the sum of both.
    """
    return str(_core.describe_plan(*tensors))


def get_mode() -> str:
    """`"lazy"` or `"eager"`."""
    return str(_core.get_mode())


def set_mode(mode: str) -> None:
    """Chooses `"lazy"` (recorded, fused, planned) or `"eager"` (operators one by one). ValueError for others."""
    _core.set_mode(mode)


def statistics() -> dict[str, int]:
    """Counters since start: nodes recorded and evaluated, plans compiled, found in the cache and run, steps run."""
    return dict(_core.statistics())


def algorithms(primitive: str) -> list[str]:
    """Names of a primitive's algorithms, best first.

    Args:
        primitive: "convolution_forward", "convolution_input_gradient", "convolution_weight_gradient" or "matmul".
    """
    return list(_core.algorithms(primitive))


def force_algorithm(primitive: str, algorithm: str | None) -> None:
    """Uses only this algorithm; planning raises RuntimeError where it declines. None restores the choice."""
    _core.force_algorithm(primitive, algorithm)


def set_winograd(tile: int) -> None:
    """Sets the largest tile of results for which Winograd's algorithm may replace a direct 3x3 convolution.

    Args:
        tile: 2 (the default, or what `PYCNN_WINOGRAD` says): tiles of 2x2, whose float32 errors are those of the direct
            algorithm. 4: also tiles of 4x4 where that is faster still, with errors some five times as large. 0: never.
            A tile is computed from sums of its pixels: where one of them is infinite or NaN, all results of the tile
            are NaN, not only those whose kernel meets it.

    Raises:
        ValueError: for any other number.
    """
    _core.set_winograd(tile)


def get_winograd() -> int:
    """The largest tile of results that Winograd's algorithm uses: 0, 2 or 4."""
    return int(_core.get_winograd())


def clear_cache() -> None:
    """Forgets compiled plans and returns cached memory to the operating system."""
    _core.clear_plan_cache()
