"""PyTorch's paths of modules, for imports such as `from pycnn.optim.adamw import AdamW`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping


def add_paths(package: str, places: Mapping[str, str]) -> None:
    """Modules of `package` under PyTorch's names.

    Args:
        package: dotted.
        places: PyTorch's name inside the package: the module here that has what it has, dotted inside `pycnn`.
    """
    for name, place in places.items():
        module = importlib.import_module(f"pycnn.{place}")
        sys.modules[f"{package}.{name}"] = module
        parent, _, last = f"{package}.{name}".rpartition(".")
        vars(sys.modules[parent]).setdefault(last, module)
