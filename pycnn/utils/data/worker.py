"""What runs in a worker process of `DataLoader`."""

from __future__ import annotations

import pickle
import queue
import random
import signal
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from pycnn import _core
from pycnn.utils.data.dataset import IterableDataset
from pycnn.utils.data.fetch import Recipe
from pycnn.utils.data.transfer import Message

#: The parent's ends of the connections to its workers. A forked worker closes its copies of them, so that every worker
#: sees the end of its connection when the parent closes it or dies.
parent_ends: weakref.WeakSet[Connection] = weakref.WeakSet()


@dataclass
class WorkerInfo:
    """A worker process as seen from inside: `id` in 0..num_workers-1, its `seed`, its copy of the `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The `WorkerInfo` of the worker process this is called in; None in the main process."""
    return _info


@dataclass
class Epoch:
    """Begins an epoch: worker `id` has the seed `base_seed + id`."""

    base_seed: int


@dataclass
class Task:
    """Asks for the batch of a sampler's element."""

    element: Any


@dataclass
class Batch:
    """The answer to a task."""

    data: Any


class Exhausted:
    """The answer to a task when the worker's stream has ended."""


class Failure:
    """The answer to a task that raised: what is needed to raise the same in the parent."""

    def __init__(self, error: Exception, worker_id: int) -> None:
        self.kind: type[Exception] = type(error)
        self.text = (
            f"Caught {self.kind.__name__} in DataLoader worker process {worker_id}.\n"
            f"Original {''.join(traceback.format_exception(type(error), error, error.__traceback__))}"
        )
        try:
            pickle.dumps(self.kind)
        except Exception:  # a class that only exists in the worker
            self.kind = RuntimeError
        if issubclass(self.kind, StopIteration):  # would end the loop in silence
            self.kind = RuntimeError

    def reraise(self) -> None:
        """Raises an error of the same type whose message ends with the worker's traceback."""
        text: Any = _Verbatim(self.text) if issubclass(self.kind, KeyError) else self.text
        try:
            error = self.kind(text)
        except Exception:  # its constructor wants something else
            error = RuntimeError(self.text)
        raise error


class _Verbatim(str):
    """KeyError shows the repr() of its argument, which would be one long line."""

    def __repr__(self) -> str:
        return str(self)


class _Sender:
    """Sends from a thread of its own, so that the next batch is made while the parent is not listening yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, answer: Any, worker_id: int) -> None:
        try:
            message = Message(answer)
        except Exception as error:
            message = Message(Failure(error, worker_id))
        self._messages.put(message)

    def _run(self) -> None:
        try:
            while True:
                self._messages.get().send(self._connection)
        except OSError:
            pass  # the parent has left


def run_worker(
    connection: Connection,
    stopping: Any,
    recipe: Recipe,
    worker_id: int,
    num_workers: int,
    base_seed: int,
    worker_init_fn: Callable[[int], Any] | None,
) -> None:
    """Answers tasks in their order until the parent closes the connection or sets `stopping`."""
    global _info
    for end in list(parent_ends):
        end.close()
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _core.set_num_threads(1)
    _info = WorkerInfo(worker_id, num_workers, base_seed + worker_id, recipe.dataset)
    _seed(_info.seed)
    sender = _Sender(connection)
    fetch: Callable[[Any], Any] | None = None
    broken: Failure | None = None
    try:
        if worker_init_fn is not None:
            worker_init_fn(worker_id)
    except Exception as error:
        broken = Failure(error, worker_id)
    while not stopping.is_set():
        try:
            message = connection.recv()
        except (EOFError, OSError):
            break
        if isinstance(message, Epoch):
            _info.seed = message.base_seed + worker_id
            fetch = None
        else:
            answer: Any = broken
            try:
                if broken is None:
                    fetch = fetch or recipe.fetcher()
                    answer = Batch(fetch(message.element))
            except Exception as error:
                ended = isinstance(error, StopIteration) and isinstance(recipe.dataset, IterableDataset)
                answer = Exhausted() if ended else Failure(error, worker_id)
            sender.send(answer, worker_id)


def _seed(seed: int) -> None:
    _core.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))
