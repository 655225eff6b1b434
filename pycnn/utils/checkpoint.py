"""Activation checkpointing, as far as it has a meaning here: the same results and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycnn.nn.module import Module

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Calls `function(*args, **kwargs)`.

    What backward reads is kept rather than computed again, so that results and gradients are those of PyTorch's
    function but memory is not saved: forward and backward are one plan, which places them in one arena.

    Args:
        function: anything that takes the arguments.
        use_reentrant, context_fn, determinism_check, debug, early_stop: PyTorch's, accepted without effect.

    Errors: ValueError for options that PyTorch refuses.
    """
    kwargs.pop("preserve_rng_state", None)
    if use_reentrant and kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if use_reentrant and (context_fn is not None or debug):
        raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Module | Sequence[Callable[..., Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Calls the functions (or a Sequential's modules) one after the other; see `checkpoint`.

    Args:
        functions: each takes what the one before gave.
        segments: in how many parts PyTorch would run them.
        input: what the first takes.
    """
    kwargs.pop("preserve_rng_state", None)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    for function in functions.children() if isinstance(functions, Module) else functions:
        input = function(input)
    return input
