"""Which functions of the package each row of the operator table calls."""

from __future__ import annotations

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


def functions_of(case: Case) -> set[str]:
    """Such as "nn.functional.relu", "add" or "Tensor.sum"; of methods only those that a row names."""
    if isinstance(case.function, str):
        name = case.function
        return {f"Tensor{name}" if name.startswith(".") else name.replace("F.", "nn.functional.")}
    seen: set[str] = set()
    tensors = [None if array is None else pycnn.tensor(array) for array in case.arrays()]
    case.call(Traced(pycnn, "", seen), tensors)
    return seen


def rows_by_function(cases: list[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        for name in functions_of(case):
            found.setdefault(name, []).append(case)
    return found
