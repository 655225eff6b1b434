"""Utilities: `data`, hooks."""

from pycnn.utils import data, hooks

__all__ = ["data", "hooks"]
