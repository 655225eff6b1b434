"""Making one batch of many items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor


def default_convert(data: Any) -> Any:
    """NumPy arrays become tensors, inside mappings and sequences too; anything else stays."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        return _core.tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, (list, tuple)):
        return [default_convert(value) for value in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch of a list of items of the same structure.

    Tensors and arrays are stacked along a new first dimension, floats become a float64 tensor, integers int64, strings
    a list; of mappings, tuples and lists the members are collated one by one.

    Errors: TypeError for other types, RuntimeError for items of unequal lengths.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _core.stack(list(batch), 0)
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind in "biuf":
        return _core.tensor(np.stack([np.asarray(value) for value in batch]))
    if isinstance(first, bool):
        return _core.tensor(list(batch))
    if isinstance(first, float):
        return _core.tensor(list(batch), dtype=_core.float64)
    if isinstance(first, int):
        return _core.tensor(list(batch), dtype=_core.int64)
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([item[key] for item in batch]) for key in first}
    if isinstance(first, Sequence):
        if any(len(item) != len(first) for item in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            return type(first)(*columns)
        return columns
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )
