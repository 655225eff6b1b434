"""What scripts say to PyTorch in passing and is so here anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn import _core


def compile(model: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Gives `model` back: every graph is fused and planned without being told. As a decorator too.

    Args:
        model: a module or function.
        options: PyTorch's, accepted and ignored.
    """
    return (lambda function: function) if model is None else model


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": 2**63 - 1, "edgeitems": 3, "linewidth": 80},
}
_print_options: dict[str, Any] = {**_PROFILES["default"], "sci_mode": None}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed; what is None stays as it is.

    Args:
        precision: digits after the point.
        threshold: more elements than this are abbreviated.
        edgeitems: how many at the beginning and end are printed then.
        linewidth: characters of a line.
        profile: "default", "short" or "full": values for all of them.
        sci_mode: whether numbers have exponents; None lets the elements decide.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {list(_PROFILES)}, got '{profile}'")
        _print_options.update(_PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _print_options.update({name: value for name, value in given.items() if value is not None})
    _print_options["threshold"] = int(min(_print_options["threshold"], 2**63 - 1))
    _print_options["sci_mode"] = sci_mode
    _core._set_print_options(**_print_options)


def is_warn_always_enabled() -> bool:
    """False."""
    return False


def set_warn_always(b: bool) -> None:
    """Accepted: warnings are given as Python's filters say."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: the same seed gives the same bits in any case, for any number of threads."""


def are_deterministic_algorithms_enabled() -> bool:
    """True."""
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """Other than "highest" lets GPUs round the factors of float32 products and convolutions to TFloat32. On the CPU
    float32 is computed in float32 in any case.

    Args:
        precision: "highest", "high" or "medium". ValueError otherwise.
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got '{precision}'")
    _core._set_allow_tf32(precision != "highest")


def get_float32_matmul_precision() -> str:
    """ "high" if GPUs may use TFloat32, else "highest"."""
    return "high" if _core._get_allow_tf32() else "highest"


def get_num_interop_threads() -> int:
    """1: operators run one after the other, each on all threads."""
    return 1


def set_num_interop_threads(int: int) -> None:
    """Accepted: see `get_num_interop_threads`."""


def set_flush_denormal(mode: bool) -> bool:
    """Accepted; gives False: small numbers are computed as they are."""
    return False
