"""Tensor functions composed of the core's: named as PyTorch names them, in the package and as methods of Tensor."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn._tensor import (
    aliases,
    comparing,
    creation,
    indexing,
    information,
    linear_algebra,
    native,
    norms,
    ordering,
    pointwise,
    products,
    sampling,
    shaping,
    special,
    statistics,
    storage,
    windows,
)
from pycnn._tensor.registry import FUNCTIONS, METHODS

_MODULES = (
    pointwise, special, comparing, shaping, windows, creation, sampling, indexing, ordering, statistics, products,
    linear_algebra, norms, information, native,
    storage, aliases,
)  # fmt: skip


def install(package: dict[str, Any]) -> None:
    """Puts the functions into the package's namespace and the methods into Tensor."""
    package.update(FUNCTIONS)
    for name, method in METHODS.items():
        setattr(Tensor, name, method)
    for name, value in information.PROPERTIES.items():
        setattr(Tensor, name, value)
    package.update(information.VALUES)
    aliases.install(package)
