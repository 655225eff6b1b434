"""Utilities: `data`, hooks; loaded when they are first used."""

import importlib
from typing import Any

__all__ = ["checkpoint", "data", "hooks", "model_zoo"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"pycnn.utils.{name}")
    raise AttributeError(f"module 'pycnn.utils' has no attribute '{name}'")
