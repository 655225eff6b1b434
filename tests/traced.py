"""Which functions of the package each row of the operator table calls."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from case import Case

import pycnn


class Traced(ModuleType):
    """A module that notes the names of functions that are looked up in it and in the modules below."""

    def __init__(self, module: ModuleType, prefix: str, seen: set[str]) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _prefix=prefix, _seen=seen)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, ModuleType):
            return Traced(value, f"{self._prefix}{name}.", self._seen)
        self._seen.add(self._prefix + name)
        return value


@contextlib.contextmanager
def traced_methods(seen: set[str]) -> Iterator[None]:
    """Notes, as "Tensor.sum", the methods of tensors that tables of cases call themselves."""
    kind = pycnn.Tensor
    before = dict(vars(kind))

    def noting(name: str, method: Any) -> Any:
        @functools.wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if caller.startswith(("case", "operator_cases")):
                seen.add(f"Tensor.{name}")
            return method(*arguments, **keywords)

        return call

    names = [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))]
    for name in names:
        setattr(kind, name, noting(name, getattr(kind, name)))
    try:
        yield
    finally:
        for name in names:
            if name in before:
                setattr(kind, name, before[name])
            else:
                delattr(kind, name)


def functions_of(case: Case) -> set[str]:
    """Such as "nn.functional.relu", "add" or "Tensor.sum"."""
    if isinstance(case.function, str):
        name = case.function
        return {f"Tensor{name}" if name.startswith(".") else name.replace("F.", "nn.functional.")}
    seen: set[str] = set()
    tensors = [None if array is None else pycnn.tensor(array) for array in case.arrays()]
    with traced_methods(seen):
        case.call(Traced(pycnn, "", seen), tensors)
    return seen


def rows_by_function(cases: list[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        for name in functions_of(case):
            found.setdefault(name, []).append(case)
    return found
