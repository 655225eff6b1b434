"""Rows of a table by their numbers, one by one or in bags."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs
from pycnn.autograd.grad_mode import no_grad


def _check_tensors(name: str, **operands: Any) -> None:
    for operand, value in operands.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}(): argument '{operand}' must be Tensor, not {type(value).__name__}")


def _check_indices(name: str, indices: Tensor) -> None:
    if indices.dtype not in (_core.int64, _core.int32):
        raise RuntimeError(
            f"{name}: Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {indices.dtype} instead"
        )


def _padding_row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def _renormalize(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows that are looked up down to `max_norm`, in place."""
    with no_grad():
        used = _core.zeros((weight.shape[0],), dtype=_core.bool)
        used = used.scatter(0, indices, _core.ones_like(indices, dtype=_core.bool)).unsqueeze(1)
        norm = weight.detach().norm(norm_type, 1, True)
        too_long = used.logical_and(norm > max_norm)
        weight.detach().copy_(_core.where(too_long, weight * (max_norm / (norm + 1e-7)), weight))


def _rows(weight: Tensor, indices: Tensor, padding_row: int | None) -> Tensor:
    """weight[indices] for 1-d indices; no gradient reaches the padding row."""
    found = _core.index_select(weight, 0, indices)
    if padding_row is None or not weight.requires_grad:
        return found
    return _core.where((indices == padding_row).unsqueeze(1), found.detach(), found)


@on_device_of_inputs
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` by their numbers.

    Args:
        input: numbers in 0..V-1, any shape, int64 or int32.
        weight: (V, D).
        padding_idx: a row that gets no gradient; negative numbers count from the end.
        max_norm: rows looked up whose norm is larger are scaled down to it, in place, first.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide each row's gradient by the number of times the row occurs in `input`.
        sparse: accepted; gradients are dense.

    Returns:
        (*input.shape, D), of the weight's dtype.

    Errors: RuntimeError for other dtypes or ranks, IndexError for numbers out of range, AssertionError for such a
    `padding_idx`.
    """
    _check_tensors("embedding", indices=input, weight=weight)
    _check_indices("embedding", input)
    if weight.dim() != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {tuple(weight.shape)}")
    padding_row = _padding_row(padding_idx, weight.shape[0])
    indices = input.reshape(-1)
    if max_norm is not None:
        _renormalize(weight, indices, max_norm, norm_type)
    found = _rows(weight, indices, padding_row)
    if scale_grad_by_freq and weight.requires_grad:
        share = _occurrences(indices, weight.shape[0], weight.dtype).reciprocal().unsqueeze(1)
        # The value is `found`'s to the bit, the gradient that of found * share.
        scaled = found * share
        found = found.detach() + (scaled - scaled.detach())
    return found.reshape((*input.shape, weight.shape[1]))


def _occurrences(indices: Tensor, rows: int, dtype: Any) -> Tensor:
    """How often each of the 1-d indices occurs among them, at its place."""
    ones = _core.ones(tuple(indices.shape), dtype=dtype)
    return _core.zeros((rows,), dtype=dtype).scatter_add(0, indices.long(), ones).index_select(0, indices)


def _bags_of(offsets: Tensor, count: int, include_last_offset: bool) -> tuple[np.ndarray[Any, Any], int]:
    """The bag of each of `count` indices, and the number of bags. Reads the offsets."""
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    _check_indices("embedding_bag", offsets)
    starts = np.asarray(offsets.cpu().numpy()).astype(np.int64)
    if include_last_offset and len(starts) == 0:
        raise ValueError("include_last_offset: number of offset should be at least 1")
    if len(starts) and starts[0] != 0:
        raise RuntimeError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                           f"position 0. However, got {starts[0]}")  # fmt: skip
    if len(starts) and starts[-1] > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({count}), but got offsets[-1] of {starts[-1]}"
        )
    bags = len(starts) - 1 if include_last_offset else len(starts)
    ends = np.append(starts[1:], count)[:bags] if not include_last_offset else starts[1:]
    lengths = ends - starts[:bags]
    if (lengths < 0).any():
        raise RuntimeError(f"embedding_bag: offsets must not decrease, got {starts.tolist()}")
    owner = np.full(count, -1, np.int64)
    owner[: int(lengths.sum())] = np.repeat(np.arange(bags), lengths)
    return owner, bags


@on_device_of_inputs
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of `weight`.

    Args:
        input: numbers in 0..V-1: (B, L), B bags of L, or (N,) with `offsets`; int64 or int32.
        weight: (V, D).
        offsets: (B,), where in `input` each bag begins; their values are read at the call.
        max_norm, norm_type, scale_grad_by_freq, sparse: as in `embedding`.
        mode: "sum", "mean" or "max". Empty bags give 0.
        per_sample_weights: of input's shape; factors of the rows, for "sum" alone.
        include_last_offset: `offsets` has one entry more, the end of the last bag.
        padding_idx: rows that do not count.

    Returns:
        (B, D), of the weight's dtype.

    Errors: ValueError for shapes and modes, RuntimeError for dtypes and offsets, NotImplementedError for
    `per_sample_weights` with "mean" or "max", IndexError for numbers out of range.
    """
    _check_tensors("embedding_bag", input=input, weight=weight)
    if weight.dtype in (_core.int64, _core.int32) and input.is_floating_point():
        raise ValueError("Argument order of nn.functional.embedding_bag has changed: input comes before weight.")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and tuple(per_sample_weights.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not None, then it must have "
            f"the same shape as the input ({tuple(input.shape)})"
        )
    if not weight.dim() == 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    count = input.numel()
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        if input.shape[1] == 0:
            raise RuntimeError("embedding_bag: bags of a 2D input may not be empty (step must be nonzero)")
        bags = input.shape[0]
        owner = np.repeat(np.arange(bags), input.shape[1])
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        owner, bags = _bags_of(offsets, count, include_last_offset)
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}')."
        )
    _check_indices("embedding_bag", input)
    if scale_grad_by_freq and mode == "max":
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]:
        raise ValueError("padding_idx must be within the number of embeddings")
    if (owner < 0).any():  # behind the last offset
        kept = int((owner >= 0).sum())
        input, owner, count = input[:kept], owner[:kept], kept
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[:kept]
    indices = input.reshape(-1)
    rows = embedding(indices, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    padding_row = _padding_row(padding_idx, weight.shape[0])
    counted = None if padding_row is None else (indices != padding_row)
    if mode == "max":
        return _largest_of_bags(rows, owner, bags, counted)
    if per_sample_weights is not None:
        if per_sample_weights.dtype != weight.dtype:
            raise RuntimeError(
                f"embedding_bag: expected per_sample_weights to have the weight's dtype {weight.dtype}, "
                f"got {per_sample_weights.dtype}"
            )
        rows = rows * per_sample_weights.reshape(-1).unsqueeze(1)
    if counted is not None:
        rows = rows.masked_fill(counted.logical_not().unsqueeze(1), 0.0)
    width = weight.shape[1]
    if input.dim() == 2 and count and counted is None:
        bag_rows = rows.reshape((bags, count // bags, width))
        return bag_rows.sum(1) if mode == "sum" else bag_rows.mean(1)
    bag = _core.tensor(owner)
    total = _core.zeros((bags, width), dtype=weight.dtype).scatter_add(0, bag.unsqueeze(1).expand(count, width), rows)
    if mode == "sum":
        return total
    ones = _core.ones((count,), dtype=weight.dtype) if counted is None else counted.to(weight.dtype)
    size = _core.zeros((bags,), dtype=weight.dtype).scatter_add(0, bag, ones)
    return total / size.clamp(min=1).unsqueeze(1)


def _largest_of_bags(rows: Tensor, owner: np.ndarray[Any, Any], bags: int, counted: Tensor | None) -> Tensor:
    """Maxima over bags: rows are laid out as (bags, longest), what is missing is -inf."""
    width = rows.shape[1]
    if counted is None and len(owner) and len(owner) % bags == 0:
        length = len(owner) // bags
        if (owner == np.repeat(np.arange(bags), length)).all():
            return rows.reshape((bags, length, width)).max(1)[0]
    lengths = np.bincount(owner, minlength=bags) if len(owner) else np.zeros(bags, np.int64)
    longest = int(lengths.max(initial=0))
    if longest == 0 or bags == 0:
        return rows.sum(0, True).expand(bags, width) * 0
    starts = np.cumsum(lengths) - lengths
    place = np.arange(longest)[None, :]
    present = _core.tensor(place < lengths[:, None])
    where = _core.tensor(np.where(place < lengths[:, None], starts[:, None] + place, 0).reshape(-1))
    laid = _core.index_select(rows, 0, where).reshape((bags, longest, width))
    if counted is not None:
        present = present.logical_and(_core.index_select(counted, 0, where).reshape((bags, longest)))
    filled = laid.masked_fill(present.logical_not().unsqueeze(2), -float("inf"))
    largest = filled.max(1)[0]
    return largest.masked_fill(present.any(1).logical_not().unsqueeze(1), 0.0)
