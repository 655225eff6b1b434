"""Every public name says what it is, in words that agree with its signature and with what it raises."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pycnn
from pycnn import Tensor, _core, nn

MODULES = ("pycnn", *(m.name for m in pkgutil.walk_packages(pycnn.__path__, "pycnn.") if "._" not in m.name))
# What pybind11 writes above a text: signatures, and a line where there are several.
SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> (.+))?$")
# Of the shapes in a text: a word for them, or one written out such as (N, C, H, W), (M,) or ().
SHAPE = re.compile(r"shape|elementwise|dimension|vector|matri|size|view|\([A-Z.](?:, ?|\)|\.)")


# What is said of arguments of types that a signature does not have.
WRONG_TYPES = re.compile(
    "incompatible function arguments|invalid combination|Unable to cast|expected integers or one|must be Tensor, not|"
    "required positional argument|positional arguments? but|not iterable|'int' object has no attribute"
)


def signatures(value: Any) -> list[re.Match[str]]:
    matches = [SIGNATURE.match(line) for line in (value.__doc__ or "").splitlines()]
    return [match for match in matches if match and match[1] == value.__name__]


def text_of(value: Any) -> str:
    """The docstring without what pybind11 adds to it."""
    text = inspect.getdoc(value) or ""
    if not is_bound(value):
        return text.strip()
    lines = [line for line in text.splitlines() if line != "Overloaded function."]
    name = getattr(value, "__name__", "")
    return "\n".join(line for line in lines if not ((m := SIGNATURE.match(line)) and m[1] == name)).strip()


def is_bound(value: Any) -> bool:
    """Whether pybind11 made it, so that its docstring holds the signature."""
    return not inspect.isfunction(value) and not isinstance(value, type | property)


def public_names(module: Any) -> Iterator[tuple[str, Any]]:
    """Classes and functions of this library under the module's public names."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        value = getattr(module, name)
        ours = (getattr(value, "__module__", None) or "").startswith("pycnn")
        if ours and (isinstance(value, type) or callable(value)):
            yield name, value


def is_layer(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class, and those of Python's protocols that Tensor has."""
    for name, value in vars(cls).items():
        protocol = cls is Tensor and name.startswith("__") and callable(value) and not isinstance(value, type)
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        described = isinstance(value, property) or callable(value)
        if described and (protocol or not name.startswith("_")):
            yield name, value


@functools.cache
def public_api() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, value in public_names(module):
            if isinstance(value, type) and value in found.values():
                continue
            found[f"{module_name}.{name}"] = value
            if isinstance(value, type):
                found.update({f"{module_name}.{name}.{member}": each for member, each in members(value)})
    return found


@functools.cache
def operators() -> dict[str, Any]:
    """Functions and methods of the core and the functions of nn.functional, by the name to print."""
    functions = {f"pycnn.{name}": value for name, value in vars(pycnn).items() if value is vars(_core).get(name)}
    functions.update({f"Tensor.{name}": value for name, value in members(Tensor) if not isinstance(value, property)})
    functional = importlib.import_module("pycnn.nn.functional")
    functions.update({f"functional.{name}": value for name, value in public_names(functional)})
    return {name: value for name, value in functions.items() if callable(value) and not isinstance(value, type)}


def test_everything_public_has_a_docstring() -> None:
    missing = [name for name, value in public_api().items() if not text_of(value)]
    assert not missing, f"without a docstring of their own: {', '.join(missing)}"
    assert len(public_api()) > 700


def is_named_by_users(module: Any) -> bool:
    """Packages, and modules that users import from; others are reached through their package."""
    name = module.__name__
    below = name.rpartition(".")[0]
    return hasattr(module, "__path__") or below in ("pycnn", "pycnn.backends", "pycnn.cuda") or name == "pycnn.nn.init"


def is_foreign(value: Any) -> bool:
    """Whether it is a module, class or function of another library."""
    if inspect.ismodule(value):
        return value.__name__.partition(".")[0] != "pycnn"
    named = isinstance(value, type) or inspect.isroutine(value)
    return named and (value.__module__ or "pycnn").partition(".")[0] != "pycnn"


def test_modules_do_not_offer_what_they_import() -> None:
    offered = []
    passing_on = ("pycnn.multiprocessing", "pycnn.types")
    for module in map(importlib.import_module, MODULES):
        names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
        if is_named_by_users(module) and module.__name__ not in passing_on:
            offered += [f"{module.__name__}.{name}" for name in names if is_foreign(getattr(module, name))]
    assert not offered, f"imported for their own use: {', '.join(offered)}"


def test_every_text_of_the_core_belongs_to_something() -> None:
    assert _core._unused_docstrings() == []


def test_input_names_the_argument() -> None:
    """For a method `input` becomes `self`, so no text may use the word otherwise."""
    article = re.compile(r"\b([Tt]he|an?) (input|self)\b")
    bound = {name: value for name, value in operators().items() if is_bound(value)}
    assert not [name for name, value in bound.items() if article.search(text_of(value))]
    assert not [name for name, value in members(Tensor) if re.search(r"\binput\b", text_of(value))]


def test_lines_are_not_too_long() -> None:
    lines = {name: text_of(value).splitlines() for name, value in public_api().items()}
    assert not [name for name, each in lines.items() if max(map(len, each), default=0) > 120]


def parameters(value: Any) -> set[str]:
    """The names in a function's signatures, without self and the unnamed."""
    if inspect.isfunction(value):
        return {name for name in inspect.signature(value).parameters if not name.startswith("_")}
    names: set[str] = set()
    for match in signatures(value):
        names.update(re.findall(r"(?:^|, )\*{0,2}(\w+)(?=: |$|,)", re.sub(r"\[[^]]*\]", "", match[2])))
    return {name for name in names if name not in ("self", "args", "kwargs") and not re.fullmatch(r"arg\d", name)}


def documented_parameters(text: str) -> set[str]:
    """The names that begin a line of Args."""
    names: set[str] = set()
    for block in re.findall(r"^Args:\n((?:    .*\n?)+)", text, re.MULTILINE):
        for line in re.findall(r"^    (\S[^:]*):", block, re.MULTILINE):
            names.update(name.strip() for name in line.split(","))
    return names


@pytest.mark.parametrize("name", operators())
def test_parameters(name: str) -> None:
    """A text lists no parameter that does not exist, and no parameter is left unmentioned."""
    value = operators()[name]
    text, known = text_of(value), parameters(value)
    named = {each for each in documented_parameters(text) if not each.startswith("*")}
    assert named - {"self"} <= known, f"{name} documents parameters that it does not have"
    if re.search(r"[Aa]rguments|[Ss]ee `", text) or name.startswith("Tensor.__"):
        return  # the text refers to another one
    unsaid = [each for each in known if not re.search(rf"\b{each}\b", text)]
    assert not unsaid, f"{name} does not mention {', '.join(unsaid)}"


@pytest.mark.parametrize("name", operators())
def test_shapes(name: str) -> None:
    """What takes or gives tensors says something of shapes."""
    value = operators()[name]
    results = [match[3] or "" for match in signatures(value)]
    takes = name.startswith("pycnn.") and any("Tensor" in match[2] for match in signatures(value))
    takes = takes or name.startswith("functional.")
    if takes or any("Tensor" in result for result in results):
        assert SHAPE.search(text_of(value)), f"{name} says nothing of shapes"


CONTAINERS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"}


@pytest.mark.parametrize("name", sorted({name for name, value in public_names(nn) if is_layer(value)} - CONTAINERS))
def test_layers(name: str) -> None:
    """A layer says something of shapes and describes its arguments, or says where they are described."""
    layer = getattr(nn, name)
    text = text_of(layer)
    assert SHAPE.search(text), f"{name} says nothing of shapes"
    references = re.findall(r"`(functional\.)?(\w+)`", text)
    for functional, referred in references:
        assert not functional or hasattr(nn.functional, referred), f"{name} refers to functional.{referred}"
    if not any(functional or hasattr(nn, referred) for functional, referred in references):
        unsaid = [each for each in inspect.signature(layer).parameters if not re.search(rf"\b{each}\b", text)]
        assert not set(unsaid) - {"args", "kwargs"}, f"{name} does not mention {', '.join(unsaid)}"


def bad_calls(function: Callable[..., Any], names: list[str]) -> Iterator[Callable[[], Any]]:
    """Calls with sizes, dtypes and dimensions that do not fit, for the usual arguments."""
    matrix, flags = pycnn.ones(2, 3), pycnn.tensor([True, False])
    yield lambda: function(flags)
    yield lambda: function(pycnn.tensor([1, 2]))
    yield lambda: function(pycnn.zeros(0))
    yield lambda: function(flags, flags)
    yield lambda: function(matrix, pycnn.ones(2, 7))
    yield lambda: function(pycnn.ones(2, 7), matrix, matrix)
    yield lambda: function(pycnn.ones(2), pycnn.ones(2, dtype=pycnn.float64))
    yield lambda: function(pycnn.tensor([1]), 0)
    yield lambda: function(pycnn.tensor(1.0))
    yield lambda: function(1, 2)
    for size in ("kernel_size", "output_size"):
        if size in names:
            yield lambda size=size: function(matrix, **{size: 9})
            yield lambda size=size: function(pycnn.ones(1, 1, 1, 1), **{size: -1})
            yield lambda size=size: function(pycnn.ones(1, 1, 1, 1, dtype=pycnn.int32), **{size: 1})
    if "weight" in names:
        yield lambda: function(pycnn.ones(2, 3, 4, 4), pycnn.ones(2, 7, 2, 2))
    if "target" in names:
        yield lambda: function(matrix, pycnn.tensor([7, 7]))
        yield lambda: function(matrix, matrix, reduction="average")
    for dimension in ("dim", "dim0", "start_dim", "dims", "source"):
        if dimension in names:
            yield lambda dimension=dimension: function(matrix, **{dimension: 9})
            yield lambda dimension=dimension: function(pycnn.tensor(1.0), **{dimension: 0})
            yield lambda dimension=dimension: function(matrix, **{dimension: (0, 0)})
    if {"size", "dtype"} <= set(names):
        yield lambda: function(-1)
        yield lambda: function(2, dtype=pycnn.int64)
        yield lambda: function(2, dtype=pycnn.int64, requires_grad=True)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice", "ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("name", [name for name in operators() if not name.startswith("Tensor.__")])
def test_errors_are_named(name: str) -> None:
    """Whatever a bad call raises stands under Errors, or in the text this one refers to."""
    value = operators()[name]
    text = text_of(value)
    errors = "\n".join(re.findall(r"^Errors:(.*(?:\n.+)*)", text, re.MULTILINE))
    if re.search(r"errors(:| as in) |[Ss]ee `", text):
        return  # the text refers to another one, which is tested itself
    for scope, method, function in re.findall(r"(?:as for|those of)\s(?:(pycnn|Tensor)\.(\w+)|(\w+)\(\))", errors):
        referred = method or function
        errors += text_of(getattr(Tensor if scope == "Tensor" else pycnn, referred, None) or getattr(Tensor, referred))
    for call in bad_calls(value, sorted(parameters(value))):
        try:
            call()
        except Exception as error:
            if WRONG_TYPES.search(str(error)):
                continue  # not a call of this function at all
            assert type(error).__name__ in errors, f"{name} raises an undocumented {type(error).__name__}: {error}"


def test_returned_dtypes() -> None:
    """Elementwise functions of one operand give the dtype that their text promises."""
    checked = 0
    for name, value in operators().items():
        text = text_of(value)
        if not name.startswith("pycnn.") or parameters(value) != {"input"} or "elementwise" not in text:
            continue
        for dtype in (pycnn.int32, pycnn.float16, pycnn.float64):
            try:
                result = value(pycnn.ones(2, dtype=dtype)).dtype
            except NotImplementedError:
                continue
            floating = pycnn.get_default_dtype() if dtype is pycnn.int32 else dtype
            promised = pycnn.bool if "bool, of" in text else floating if "shape, floating" in text else dtype
            assert result is promised, f"{name} of {dtype}"
            checked += 1
    assert checked > 80
