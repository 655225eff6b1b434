"""Tensor functions composed of the core's: named as PyTorch names them, in the package and as methods of Tensor."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn._tensor import aliases, comparing, creation, indexing, ordering, pointwise, products, shaping, statistics
from pycnn._tensor.registry import FUNCTIONS, METHODS

_MODULES = (pointwise, comparing, shaping, creation, indexing, ordering, statistics, products, aliases)


def install(package: dict[str, Any]) -> None:
    """Puts the functions into the package's namespace and the methods into Tensor."""
    package.update(FUNCTIONS)
    for name, method in METHODS.items():
        setattr(Tensor, name, method)
    aliases.install(package)
