"""Making one batch of many items."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor


def map_members(function: Callable[[Any], Any], data: Any) -> Any:
    """The same structure of mappings and sequences, with the function's results for what is none."""
    if isinstance(data, Mapping):
        return _like(data, {key: map_members(function, value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _sequence_like(data, [map_members(function, value) for value in data])
    return function(data)


def _as_tensor(data: Any) -> Any:
    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind in "biuf":
        return _core.tensor(np.asarray(data))
    return data


def default_convert(data: Any) -> Any:
    """NumPy arrays and numbers become tensors, inside mappings and sequences too; anything else stays."""
    return map_members(_as_tensor, data)


def default_collate(batch: Sequence[Any]) -> Any:
    """One batch of a list of items of the same structure.

    Tensors and arrays are stacked along a new first dimension, floats become a float64 tensor, integers int64, strings
    stay; of mappings, tuples and lists the members are collated one by one, in a mapping or named tuple of the same
    type or a list.

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
        return _core.tensor(list(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([item[key] for item in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(item) != len(first) for item in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _sequence_like(first, [default_collate(column) for column in zip(*batch, strict=True)])
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )


def _like(mapping: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """The values in a mapping of the same type, if it can be copied and filled."""
    if type(mapping) is dict or not isinstance(mapping, MutableMapping):
        return values
    result = copy.copy(mapping)
    result.update(values)
    return result


def _sequence_like(sequence: Sequence[Any], values: list[Any]) -> Any:
    """The values as a named tuple if the sequence is one, else as a list."""
    if isinstance(sequence, tuple) and hasattr(sequence, "_fields"):
        return type(sequence)(*values)
    return values
