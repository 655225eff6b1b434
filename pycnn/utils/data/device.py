"""Batches on their way to a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pycnn._core import Tensor
from pycnn._device import as_device
from pycnn.utils.data.collate import map_members


def pinned(batch: Any) -> Any:
    """The batch with its tensors in page-locked memory."""
    return map_members(lambda member: member.pin_memory() if hasattr(member, "pin_memory") else member, batch)


class _Prefetched:
    def __init__(self, batches: Iterable[Any], device: Any) -> None:
        self._batches = batches
        self._device = as_device(device)

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if self._device.type != "cuda":
            yield from map(self._moved, self._batches)
            return
        from pycnn import cuda

        copies = cuda.Stream(self._device)

        def given_out(moved: Any, copied: cuda.Event) -> Any:
            user = cuda.current_stream(self._device)
            user.wait(copied)
            # Its memory goes to the copies of a later batch: not before the user's stream is done with it.
            map_members(lambda member: member.record_stream(user) if isinstance(member, Tensor) else None, moved)
            return moved

        ahead: tuple[Any, cuda.Event] | None = None
        for batch in self._batches:
            with cuda.stream(copies):
                moved = self._moved(pinned(batch))
            copied = copies.record_event()
            if ahead is not None:
                yield given_out(*ahead)
            ahead = moved, copied
        if ahead is not None:
            yield given_out(*ahead)

    def _moved(self, batch: Any) -> Any:
        return map_members(
            lambda member: member.to(self._device, non_blocking=True) if isinstance(member, Tensor) else member, batch
        )


def prefetch(batches: Iterable[Any], device: Any = "cuda") -> Iterable[Any]:
    """The batches on a device; on a GPU each is copied there while the one before it is computed with.

    As many passes can be made over it as over the batches, and it has their length. A batch is used in the stream that
    is the current one when it is given out.

    Args:
        batches: such as a `DataLoader`; best with pin_memory=True, for tensors that are not pinned yet are pinned here.
            Tensors are found in mappings and sequences; anything else in a batch stays as it is.
        device: where they go.

    Errors: RuntimeError if the device is not there.
    """
    return _Prefetched(batches, device)
