"""What scripts say to PyTorch in passing and is so here anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compile(model: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Gives `model` back: every graph is fused and planned without being told. As a decorator too.

    Args:
        model: a module or function.
        options: PyTorch's, accepted and ignored.
    """
    return (lambda function: function) if model is None else model


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: the same seed gives the same bits in any case, for any number of threads."""


def are_deterministic_algorithms_enabled() -> bool:
    """True."""
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted ("highest", "high" or "medium"; ValueError otherwise): float32 is computed in float32 in any case."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got '{precision}'")


def get_float32_matmul_precision() -> str:
    """ "highest"."""
    return "highest"


def get_num_interop_threads() -> int:
    """1: operators run one after the other, each on all threads."""
    return 1


def set_num_interop_threads(int: int) -> None:
    """Accepted: see `get_num_interop_threads`."""


def set_flush_denormal(mode: bool) -> bool:
    """Accepted; gives False: small numbers are computed as they are."""
    return False
