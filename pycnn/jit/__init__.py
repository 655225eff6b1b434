"""Scripting and tracing, which give back what they were given: graphs are planned without being told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pycnn.nn.module import Module as ScriptModule

T = TypeVar("T")

__all__ = [
    "ScriptModule",
    "annotate",
    "export",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "optimize_for_inference",
    "optimized_execution",
    "script",
    "script_if_tracing",
    "script_method",
    "trace",
    "trace_module",
    "unused",
]


def script(obj: T, *args: Any, **kwargs: Any) -> T:
    """The function, class or module itself."""
    return obj


def trace(func: T, example_inputs: Any = None, *args: Any, **kwargs: Any) -> T:
    """The function or module itself."""
    return func


def trace_module(mod: T, inputs: Any, *args: Any, **kwargs: Any) -> T:
    """The module itself."""
    return mod


def freeze(mod: T, *args: Any, **kwargs: Any) -> T:
    """The module itself."""
    return mod


def optimize_for_inference(mod: T, *args: Any, **kwargs: Any) -> T:
    """The module itself."""
    return mod


def export(fn: T) -> T:
    """The function itself."""
    return fn


script_method = script_if_tracing = interface = export


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself; as a decorator with or without arguments."""
    return drop if callable(drop) else export


def unused(fn: T) -> T:
    """The function itself."""
    return fn


def annotate(the_type: Any, the_value: T) -> T:
    """The value itself."""
    return the_value


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


@contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """A context without effect."""
    yield


def _refuse(name: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"jit.{name}: there are no scripted programs; save state dicts with pycnn.save")

    refused.__name__ = name
    return refused


save = _refuse("save")
load = _refuse("load")
