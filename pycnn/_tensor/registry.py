"""Which functions are there, and under which names."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device, on_device_of_inputs

Function = TypeVar("Function", bound=Callable[..., Any])

FUNCTIONS: dict[str, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {}

_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}
_RANKS = {"bool": 0, "uint8": 1, "int8": 1, "int16": 1, "int32": 1, "int64": 1}


def _wrong_type(f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> TypeError | None:
    """What to say if something was given where a tensor was expected."""
    given = inspect.signature(f).bind(*args, **keywords).arguments
    for position, (name, value) in enumerate(given.items(), 1):
        if f.__annotations__.get(name) == "Tensor" and not isinstance(value, Tensor):
            kind = type(value).__name__
            return TypeError(f"{f.__name__}(): argument '{name}' (position {position}) must be Tensor, not {kind}")
    return None


def _numpy_names(f: Callable[..., Any]) -> dict[str, str]:
    """The names that NumPy has for some of f's arguments, which the core's functions take, too."""
    own = inspect.signature(f).parameters
    return {numpys: ours for numpys, ours in _NUMPY_NAMES.items() if ours in own and numpys not in own}


def _rename(keywords: dict[str, Any], names: dict[str, str]) -> None:
    """Turns NumPy's names into ours; with both given, the function says which one it does not know."""
    for name in names.keys() & keywords.keys():
        if names[name] not in keywords:
            keywords[names[name]] = keywords.pop(name)


def _taking_numpy_names(f: Callable[..., Any]) -> Callable[..., Any]:
    names = _numpy_names(f)

    @functools.wraps(f)
    def call(*args: Any, **keywords: Any) -> Any:
        if keywords:
            _rename(keywords, names)
        return f(*args, **keywords)

    return call


def _check_integers(f: Callable[..., Any], places: list[tuple[int, str]], args: Any, keywords: dict[str, Any]) -> None:
    for place, name in places:
        value = args[place] if place < len(args) else keywords.get(name, 0)
        if isinstance(value, (float, str)) or value is None:
            kind = type(value).__name__
            raise TypeError(f"{f.__name__}(): argument '{name}' (position {place + 1}) must be int, not {kind}")


def function(f: Function) -> Function:
    """A name of the package, which takes `out`, a tensor for the result, and refuses devices as the core's do."""
    numpy_names = _numpy_names(f)
    positional = list(inspect.signature(f).parameters.values())
    integers = [
        (i, p.name) for i, p in enumerate(positional) if p.annotation == "int" and p.kind is p.POSITIONAL_OR_KEYWORD
    ]

    @on_device_of_inputs
    @functools.wraps(f)
    def written(*args: Any, **keywords: Any) -> Any:
        out = keywords.pop("out", None)
        if keywords:
            _rename(keywords, numpy_names)
        device = as_device(keywords.get("device"))
        if integers:
            _check_integers(f, integers, args, keywords)
        try:
            with nullcontext() if device is None else device:
                result = f(*args, **keywords)
        except AttributeError as error:
            raise _wrong_type(f, args, keywords) or error from None
        return result if out is None else _core._write_out(f.__name__, result, out, *args, *keywords.values())

    FUNCTIONS[f.__name__] = written
    return f


def method(f: Function) -> Function:
    """A method of Tensor, whose text speaks of self."""
    bound = types.FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    bound.__kwdefaults__, bound.__annotations__ = f.__kwdefaults__, f.__annotations__
    bound.__doc__ = re.sub(r"\binput\b", "self", f.__doc__ or "")
    bound.__module__, bound.__qualname__ = f.__module__, f"Tensor.{f.__name__}"
    placed = on_device_of_inputs(bound)
    METHODS[f.__name__] = _taking_numpy_names(placed) if "dim" in inspect.signature(f).parameters else placed
    return f


def both(f: Function) -> Function:
    """A function of the package that is a method, too."""
    return function(method(f))


def stored(self: Tensor, result: Tensor, name: str) -> Tensor:
    """self with the result's elements, if they fit."""
    if tuple(result.shape) != tuple(self.shape):
        raise RuntimeError(
            f"{name}: output with shape {list(self.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    kinds = [_RANKS.get(str(t.dtype).rpartition(".")[2], 2) for t in (result, self)]
    if kinds[0] > kinds[1]:
        raise RuntimeError(f"{name}: result type {result.dtype} can't be cast to the desired output type {self.dtype}")
    if result.device != self.device:
        raise RuntimeError(f"{name}: a result on {result.device} cannot be written to a tensor on {self.device}")
    return self.copy_(result)


def in_place(f: Function) -> Function:
    """Adds the method that stores the result in self, named with an underscore."""
    name = f"{f.__name__}_"
    placed = on_device_of_inputs(f)

    @functools.wraps(f)
    def changed(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        _core._begin_in_place(self, name)
        _core._refuse_overlaps(name, self, *args, *keywords.values())
        return stored(self, placed(self, *args, **keywords), name)

    if not isinstance(f, types.FunctionType):
        # The core's functions have no signature that could be followed.
        del changed.__wrapped__
    changed.__name__ = name
    changed.__qualname__ = name
    changed.__doc__ = f"""self takes the result, in place, and is returned: see `Tensor.{f.__name__}`.

    Arguments, shape and errors as in it; RuntimeError also if self is a leaf that requires grad.
    """
    METHODS[name] = changed
    return f


def everywhere(f: Function) -> Function:
    """Function, method and in-place method."""
    return in_place(both(f))


def normalized(dim: int, rank: int) -> int:
    """dim counted from the front; IndexError if there is none."""
    bound = max(rank, 1)
    if not -bound <= dim < bound:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})")
    return dim % bound


def broadcast(*shapes: Any) -> list[int]:
    """The sizes that all these shapes broadcast to."""
    sizes: Any = _core.broadcast_shapes(*(tuple(shape) for shape in shapes))
    return list(sizes)


def dimensions(dim: Any, rank: int) -> list[int]:
    """One or several dimensions, or all for None."""
    if dim is None:
        return list(range(rank))
    given = [dim] if isinstance(dim, int) else list(dim)
    found = [normalized(d, rank) for d in given]
    if len(set(found)) != len(found):
        raise RuntimeError(f"dim {found} appears multiple times in the list of dims")
    return found
