"""The same code run with pycnn and with PyTorch: what it returns, or raises, must be the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pycnn

Code = Callable[[Any], Any]


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns, or the exception that it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return error


def _neutral(text: str) -> str:
    return text.replace("pycnn", "torch")


def plain(value: Any, library: ModuleType) -> Any:
    """The value in terms that do not depend on the library."""
    if isinstance(value, library.Tensor):
        return (_neutral(str(value.dtype)), value.detach().numpy())
    if isinstance(value, Mapping):
        return {key: plain(element, library) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element, library) for element in value]
    if isinstance(value, BaseException):
        return f"raises {type(value).__name__}"
    return value if isinstance(value, (int, float, type(None))) else _neutral(str(value))


def compare(found: Any, expected: Any, place: str) -> None:
    assert type(found) is type(expected), f"{place}: {found} instead of {expected}"
    if isinstance(expected, tuple):
        assert found[0] == expected[0], place
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-6, err_msg=place)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key in expected:
            compare(found[key], expected[key], f"{place}[{key!r}]")
    elif isinstance(expected, list):
        assert len(found) == len(expected), f"{place}: {found} instead of {expected}"
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            compare(a, b, f"{place}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6), place
    else:
        assert found == expected, place


def check(code: Code) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (pycnn, torch):
        library.manual_seed(0)
        results.append(plain(code(library), library))
    compare(*results, code.__name__)
