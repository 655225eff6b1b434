"""A module called with other tensors than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pycnn._core import Tensor
from pycnn.nn.module import Module


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where every parameter and buffer is, by dotted name."""
    return {
        (f"{path}.{name}" if path else name): (members, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for members in (owner._parameters, owner._buffers)
        for name in members
    }


@contextmanager
def _replaced(module: Module, tensors: Mapping[str, Tensor], tie_weights: bool, strict: bool) -> Iterator[None]:
    places = _places(module)
    unexpected = [name for name in tensors if name not in places]
    missing = [name for name, (members, own) in places.items() if members[own] is not None and name not in tensors]
    if tie_weights:
        given = {id(places[name][0][places[name][1]]) for name in tensors if name in places}
        missing = [name for name in missing if id(places[name][0][places[name][1]]) not in given]
    if strict and (unexpected or missing):
        raise RuntimeError(
            f"Error(s) in loading state for {type(module).__name__}: unexpected key(s): {unexpected}, "
            f"missing key(s): {missing}"
        )
    replacements = {name: tensor for name, tensor in tensors.items() if name in places}
    if tie_weights:
        by_tensor = {id(places[name][0][places[name][1]]): tensor for name, tensor in replacements.items()}
        for name, (members, own) in places.items():
            if members[own] is not None and id(members[own]) in by_tensor:
                replacements.setdefault(name, by_tensor[id(members[own])])
    before = [(*places[name], places[name][0][places[name][1]]) for name in replacements]
    try:
        for name, tensor in replacements.items():
            members, own = places[name]
            members[own] = tensor
        yield
    finally:
        for members, own, tensor in before:
            members[own] = tensor


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with the given parameters and buffers in place of its own; see `func.functional_call`."""
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, parameters_and_buffers, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))
