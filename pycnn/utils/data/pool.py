"""The parent's side of `DataLoader` with worker processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sized
from multiprocessing.connection import wait
from typing import Any

from pycnn.utils.data.fetch import Recipe
from pycnn.utils.data.transfer import receive
from pycnn.utils.data.worker import Batch, Epoch, Exhausted, Failure, Task, parent_ends, run_worker

#: How long workers may finish what they are at before they are terminated, in seconds.
_GRACE = 5.0


def context_of(method: Any) -> Any:
    """A multiprocessing context from a start method's name, a context, or None: "fork" on Linux as PyTorch does."""
    if method is None:
        return multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    if isinstance(method, str):
        if method not in multiprocessing.get_all_start_methods():
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{multiprocessing.get_all_start_methods()!r}, but got multiprocessing_context={method!r}"
            )
        return multiprocessing.get_context(method)
    if not isinstance(method, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, "
            f"but got multiprocessing_context={method}"
        )
    return method


class _Worker:
    """A process, the connection to it, and the number of answers it owes."""

    def __init__(self, context: Any, stopping: Any, *arguments: Any) -> None:
        self.connection, theirs = context.Pipe()
        parent_ends.add(self.connection)
        self.process = context.Process(target=run_worker, args=(theirs, stopping, *arguments), daemon=True)
        # Ctrl-C waits until the new process has said that it ignores it.
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with warnings.catch_warnings():
                # Python warns of forks beside threads; the core's threads expect them.
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        self.owed = 0
        self.exhausted = False

    def send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except OSError:
            self.raise_death()
        self.owed += isinstance(message, Task)

    def receive(self, timeout: float | None) -> Any:
        """The next answer. RuntimeError if the process died or nothing came in time."""
        ready = wait([self.connection, self.process.sentinel], timeout)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        try:
            if self.connection not in ready:
                raise EOFError
            answer = receive(self.connection)
        except (EOFError, OSError):
            self.raise_death()
        self.owed -= 1
        return answer()

    def raise_death(self) -> None:
        self.process.join(_GRACE)
        code, pid = self.process.exitcode, self.process.pid
        if code is not None and code < 0:
            name = signal.strsignal(-code) or f"number {-code}"
            raise RuntimeError(f"DataLoader worker (pid {pid}) is killed by signal: {name}.")
        raise RuntimeError(f"DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}.")


def _stop(workers: list[_Worker], stopping: Any, owner: int) -> None:
    """Ends all workers: those that do not leave by themselves in time are terminated."""
    if os.getpid() != owner:
        return  # a forked child's copy of the pool
    stopping.set()
    for worker in workers:
        worker.connection.close()
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join(_GRACE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    workers.clear()


class WorkerPool:
    """Batches from worker processes, in the sampler's order: batch i comes from worker i modulo their number.

    Args:
        recipe: how batches are made.
        num_workers: how many processes.
        context: of multiprocessing.
        prefetch_factor: batches each worker makes ahead.
        timeout: how long a batch may take, in seconds; 0 waits for ever.
        worker_init_fn: called in each worker with its number.
        base_seed: worker i starts with the seed base_seed + i.

    Errors: those of the workers, and RuntimeError if a worker dies or a batch takes too long.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_workers: int,
        context: Any,
        prefetch_factor: int,
        timeout: float,
        worker_init_fn: Callable[[int], Any] | None,
        base_seed: int,
    ) -> None:
        self._ahead = prefetch_factor * num_workers
        self._timeout = timeout if timeout > 0 else None
        self._workers: list[_Worker] = []
        stopping = context.Event()
        self._finalizer = weakref.finalize(self, _stop, self._workers, stopping, os.getpid())
        try:
            for i in range(num_workers):
                self._workers.append(_Worker(context, stopping, recipe, i, num_workers, base_seed, worker_init_fn))
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the workers have ended."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Ends the workers."""
        self._finalizer()

    def begin(self, elements: Iterator[Any], base_seed: int) -> None:
        """Starts an epoch; what is left of another one is thrown away."""
        self._guarded(self._begin, elements, base_seed)

    def _begin(self, elements: Iterator[Any], base_seed: int) -> None:
        for worker in self._workers:
            while worker.owed:
                worker.receive(self._timeout)
            worker.exhausted = False
            worker.send(Epoch(base_seed))
        self._elements = elements
        self._turns = itertools.cycle(self._workers)
        self._asked: deque[_Worker] = deque()
        while len(self._asked) < self._ahead and self._ask():
            pass

    def next(self) -> Any:
        """The epoch's next batch; StopIteration at its end."""
        return self._guarded(self._next)

    def _next(self) -> Any:
        while self._asked:
            worker = self._asked[0]
            answer = worker.receive(self._timeout)
            self._asked.popleft()
            if isinstance(answer, Exhausted):
                worker.exhausted = True
            self._ask()
            if isinstance(answer, Failure):
                answer.reraise()
            if isinstance(answer, Batch):
                return answer.data
        raise StopIteration

    def _ask(self) -> bool:
        """Gives the next worker that has something left its next task; False if there is none."""
        for worker in itertools.islice(self._turns, len(self._workers)):
            if worker.exhausted:
                continue
            try:
                element = next(self._elements)
            except StopIteration:
                return False
            worker.send(Task(element))
            self._asked.append(worker)
            return True
        return False

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """A message that Ctrl-C cut in two cannot be continued, nor can an epoch whose worker is dead."""
        try:
            return call(*arguments)
        except BaseException as error:
            if not isinstance(error, Exception) or any(not w.process.is_alive() for w in self._workers):
                self.close()
            raise


class PooledIterator:
    """One epoch's iterator over a pool. A pool of its own (not a persistent one) ends with it."""

    def __init__(self, pool: WorkerPool, persistent: bool, loader: Sized) -> None:
        self._pool: WorkerPool | None = pool
        self._persistent = persistent
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> PooledIterator:
        return self

    def __next__(self) -> Any:
        if self._pool is None or self._pool.closed:
            raise StopIteration
        try:
            return self._pool.next()
        except StopIteration:
            if not self._persistent:
                self._pool.close()
            self._pool = None
            raise
