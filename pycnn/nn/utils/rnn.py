"""Batches of sequences of different lengths: padded, or packed without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs


class _PackedFields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_PackedFields):
    """Sequences of different lengths, step by step: all first elements, all second ones of those that have one, ...

    Made by `pack_padded_sequence` and `pack_sequence`.

    Attributes:
        data: (sum of the lengths, ...).
        batch_sizes: (longest,), int64: how many sequences have a step, falling.
        sorted_indices: (B,), which of the sequences given is the i-th longest; None if they were sorted.
        unsorted_indices: (B,), the inverse permutation, or None.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, change: Callable[[Tensor], Tensor]) -> PackedSequence:
        data = change(self.data)
        if data is self.data:
            return self
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The data cast as `Tensor.to` does; the rest stays."""
        return self._with(lambda data: data.to(*args, **kwargs))

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """This: the CPU is where it is."""
        return self

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """RuntimeError: there is no GPU in this build."""
        return self.to("cuda")

    def double(self) -> PackedSequence:
        """The data as float64."""
        return self.to(_core.float64)

    def float(self) -> PackedSequence:
        """The data as float32."""
        return self.to(_core.float32)

    def half(self) -> PackedSequence:
        """The data as float16."""
        return self.to(_core.float16)

    def long(self) -> PackedSequence:
        """The data as int64."""
        return self.to(_core.int64)

    def int(self) -> PackedSequence:
        """The data as int32."""
        return self.to(_core.int32)

    def pin_memory(self) -> PackedSequence:
        """The data in page-locked memory, if there is a GPU."""
        return PackedSequence(self.data.pin_memory(), self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def is_pinned(self) -> bool:
        """Whether the data are."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the data are on a GPU."""
        return self.data.is_cuda


@on_device_of_inputs
def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The inverse of a permutation (n,); None of None."""
    if permutation is None:
        return None
    order = np.asarray(permutation.cpu().numpy())
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return _core.tensor(inverse)


@on_device_of_inputs
def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs a padded batch.

    Args:
        input: (T, B, ...), or (B, T, ...) with `batch_first`.
        lengths: (B,), integers in 1..T; a tensor or a list, read at the call.
        batch_first: which dimension comes first.
        enforce_sorted: the lengths must fall; otherwise the sequences are sorted here.

    Errors: RuntimeError for lengths that do not fit.
    """
    sizes = np.asarray(lengths.cpu().numpy() if isinstance(lengths, Tensor) else lengths).astype(np.int64)
    if sizes.ndim != 1 or sizes.size == 0:
        raise RuntimeError(f"`lengths` has to be a 1-D tensor with at least one element, got {sizes.shape}")
    padded = input.transpose(0, 1) if batch_first else input
    batch = padded.shape[1]
    if len(sizes) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={batch})"
        )
    order = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if sizes[0] > padded.shape[0]:
        raise RuntimeError(f"Expected `lengths` to be at most {padded.shape[0]}, the padded length, but got {sizes[0]}")
    batch_sizes = (sizes[None, :] > np.arange(sizes[0])[:, None]).sum(1)
    owners = np.arange(batch) if order is None else order
    rows = np.concatenate([step * batch + owners[:size] for step, size in enumerate(batch_sizes)])
    flat = padded.reshape((padded.shape[0] * batch, *padded.shape[2:]))
    data = _core.index_select(flat, 0, _core.tensor(rows))
    sizes_tensor = _core.tensor(batch_sizes, device="cpu")
    return PackedSequence(data, sizes_tensor, None if order is None else _core.tensor(order))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pads a packed batch: (T, B, ...), or (B, T, ...) with `batch_first`, and the lengths (B,).

    Args:
        sequence: the packed batch.
        batch_first: which dimension comes first.
        padding_value: what is put behind the end of a sequence.
        total_length: T; by default the longest length. ValueError if it is less.
    """
    sizes = np.asarray(sequence.batch_sizes.cpu().numpy())
    longest, batch = len(sizes), int(sizes[0])
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    lengths = (sizes[None, :] > np.arange(batch)[:, None]).sum(1)
    order = sequence.unsorted_indices
    columns = np.arange(batch) if order is None else np.asarray(order.cpu().numpy())
    lengths = lengths[columns]
    starts = np.zeros(longest, np.int64)
    starts[: len(sizes)] = np.cumsum(sizes) - sizes
    present = np.arange(longest)[:, None] < lengths[None, :]
    rows = np.where(present, starts[:, None] + columns[None, :], 0)
    if batch_first:
        present, rows = present.T, rows.T
    trailing, device = tuple(sequence.data.shape[1:]), sequence.data.device
    padded = _core.index_select(sequence.data, 0, _core.tensor(np.ascontiguousarray(rows).reshape(-1), device=device))
    padded = padded.reshape((*present.shape, *trailing))
    if not present.all():
        missing = _core.tensor(np.logical_not(present), device=device).reshape((*present.shape, *([1] * len(trailing))))
        padded = padded.masked_fill(missing, padding_value)
    return padded, _core.tensor(lengths)


@on_device_of_inputs
def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stacks sequences (L_i, ...) padded to the longest: (T, B, ...), or (B, T, ...) with `batch_first`.

    Args:
        sequences: tensors that agree in all dimensions but the first.
        batch_first: which dimension comes first.
        padding_value: what is put in.
        padding_side: "right" (behind) or "left" (before).

    Errors: RuntimeError.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    parts = list(sequences)
    if not parts:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(part.shape[0] for part in parts)
    for part in parts:
        if tuple(part.shape[1:]) != tuple(parts[0].shape[1:]):
            raise RuntimeError(
                f"pad_sequence: the sequences' trailing dimensions differ: {tuple(part.shape)}, {tuple(parts[0].shape)}"
            )
    padded = []
    for part in parts:
        missing = longest - part.shape[0]
        sides = (0, missing) if padding_side == "right" else (missing, 0)
        amounts = [0, 0] * (part.dim() - 1) + list(sides)
        padded.append(part if missing == 0 else _core.pad(part, amounts, "constant", padding_value))
    return _core.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each of its length, read at the call."""
    by_sequence = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [part[: int(length)] for part, length in zip(by_sequence.unbind(0), lengths.tolist(), strict=True)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences (L_i, ...); they must come longest first unless `enforce_sorted=False`."""
    lengths = [sequence.shape[0] for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch in the order in which they were given."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
