"""Objects between a worker and its parent: pickled, with large arrays in anonymous shared memory where there is any."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor

#: Arrays of fewer bytes than this travel within the pickle.
_LARGE = 1 << 16
_ALIGNMENT = 64
_HAS_SHARED_MEMORY = hasattr(os, "memfd_create")


class _Pickler(ForkingPickler):
    """Tensors become arrays, whose memory pickle can leave outside."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or value.requires_grad or value.dtype is _core.bfloat16:
            return NotImplemented
        return _core.from_numpy, (np.asarray(value.numpy(), order="C"),)


class Message:
    """A pickled object, ready to be sent once."""

    def __init__(self, value: Any) -> None:
        outside: list[pickle.PickleBuffer] = []

        def stays_inside(buffer: pickle.PickleBuffer) -> bool:
            if not _HAS_SHARED_MEMORY or buffer.raw().nbytes < _LARGE:
                return True
            outside.append(buffer)
            return False

        inside = io.BytesIO()
        _Pickler(inside, 5, True, stays_inside).dump(value)
        self._file = os.memfd_create("pycnn batch") if outside else None
        spans: list[tuple[int, int]] = []
        if self._file is not None:
            with open(self._file, "wb", closefd=False) as file:
                for buffer in outside:
                    start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
                    file.seek(start)
                    file.write(buffer.raw())
                    spans.append((start, file.tell()))
        self._header = pickle.dumps((inside.getvalue(), spans))

    def send(self, connection: Connection) -> None:
        """Sends it. OSError if the other side has gone."""
        connection.send_bytes(self._header)
        if self._file is not None:
            with _socket_of(connection) as channel:
                socket.send_fds(channel, [b"\0"], [self._file])
            os.close(self._file)


def receive(connection: Connection) -> Callable[[], Any]:
    """The next message, as a function that gives its object. EOFError or OSError if the other side has gone."""
    inside, spans = pickle.loads(connection.recv_bytes())
    if not spans:
        return partial(pickle.loads, inside)
    with _socket_of(connection) as channel:
        _, files, _, _ = socket.recv_fds(channel, 1, 1)
    if not files:
        raise EOFError
    try:
        # Nobody else knows this memory any more; it lives as long as arrays in it.
        memory = memoryview(mmap.mmap(files[0], spans[-1][1]))
    finally:
        os.close(files[0])
    return partial(pickle.loads, inside, buffers=[memory[start:end] for start, end in spans])


def _socket_of(connection: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))
