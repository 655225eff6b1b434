"""Types for annotations, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from pycnn import _core
from pycnn._core import Tensor

__all__ = ["Device", "FileLike", "Number", "Storage"]

Number: TypeAlias = "int | float | bool"
Device: TypeAlias = Any
FileLike: TypeAlias = Any
Storage: TypeAlias = Any
_TensorOrTensors: TypeAlias = "Tensor | Sequence[Tensor]"
_dtype = _core.dtype
_device = _core.device
_size: TypeAlias = "_core.Size | list[int] | tuple[int, ...]"
_int, _float, _bool = int, float, bool
