"""`pycnn.capture`: functions recorded once and replayed without Python."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor

_MOST_RECORDINGS = 16


class Guard(NamedTuple):
    """What a recording depends on besides tensors."""

    #: Its result must stay what it was.
    value: Callable[[], Hashable]
    #: The dictionaries and lists that `value` reads: while these hold the very same objects it is not called.
    containers: Callable[[], tuple[dict[Any, Any] | list[Any], ...]]


class _State(threading.local):
    #: Of the capture that this thread is in.
    guards: list[Guard] | None = None


state = _State()


class _Slot:
    """Stands for the n-th tensor in a structure of arguments or results."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Slot) and other.index == self.index

    def __hash__(self) -> int:
        return hash(("slot", self.index))


class _Leaf:
    """Anything else, equal to what has its type and value: 1, 1.0 and True are three things, 0.0 and -0.0 two."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = (type(value), value.hex() if type(value) is float else value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Leaf) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


def _take_apart(value: Any, tensors: list[Tensor]) -> Any:
    """The structure with slots for its tensors, which are appended to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if isinstance(value, (tuple, list)):
        return (type(value), *(_take_apart(item, tensors) for item in value))
    if isinstance(value, dict):
        return (type(value), *((key, _take_apart(item, tensors)) for key, item in value.items()))
    return _Leaf(value)


def _put_together(structure: Any, tensors: list[Tensor]) -> Any:
    if isinstance(structure, _Slot):
        return tensors[structure.index]
    if isinstance(structure, _Leaf):
        return structure.value
    kind, *items = structure
    if issubclass(kind, dict):
        return kind((key, _put_together(item, tensors)) for key, item in items)
    values = [_put_together(item, tensors) for item in items]
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


class _Recording:
    """One captured program and what it is valid for."""

    def __init__(self, program: Any, result: Any, guards: list[Guard]) -> None:
        self.program = program
        self.result = result
        self.guards = list(dict.fromkeys(guards))
        self.seen = [guard.value() for guard in self.guards]
        self.watch()

    def watch(self) -> None:
        self.containers = tuple(container for guard in self.guards for container in guard.containers())
        self.contents = _core._contents(self.containers)

    def run(self, tensors: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor] | None:
        """The results on these inputs, or None if the recording is not valid for them."""
        if not _core._holds(self.containers, self.contents):
            if [guard.value() for guard in self.guards] != self.seen:
                return None
            self.watch()
        return self.program.attempt(tensors)

    def assemble(self, results: list[Tensor]) -> Any:
        return results[0] if type(self.result) is _Slot else _put_together(self.result, results)


def _check_results(structure: Any) -> None:
    """Raises TypeError for what might hide a tensor."""
    if isinstance(structure, _Leaf):
        if structure.value is not None and not isinstance(structure.value, (bool, int, float, complex, str, bytes)):
            raise TypeError(
                f"capture: the function returns a {type(structure.value).__name__}; it may return tensors, numbers and "
                "strings, in tuples, lists and dictionaries"
            )
    elif isinstance(structure, tuple):
        for item in structure[1:]:
            _check_results(item[1] if issubclass(structure[0], dict) else item)


class capture:  # noqa: N801 (used as a decorator)
    """Wraps a function so that it is recorded once per signature and then replayed without running its Python code.

    For networks so small that recording counts. Works for inference and for whole training steps:

        @pycnn.capture
        def step(x, y):
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

    The first call with new shapes runs as always (optimisers make their state; after clearing it, call reset()), the
    second is recorded, later ones are replays: the same kernels, the same bits. A replay reads the present values of
    every tensor the function read, changes those that it changed in place (parameters, running statistics, gradients),
    and draws new random numbers.

    The signature is the shapes, dtypes and layouts of the tensors among the arguments (also in tuples, lists and
    dictionaries), the other arguments by type and value, grad mode, autocast, what requires grad and what has a
    gradient, the modules' `training`, hooks and settings, and the options of the optimisers that took part: if one
    changes, the function is recorded again (so an optimiser's rate that changes at every step leaves nothing to
    replay). The last 16 recordings are kept. Everything else that Python decides on (global numbers, `if`s, prints)
    stays as it was when it was recorded. Results are detached.

    Args:
        function: takes and returns tensors, or tuples, lists and dictionaries of them. Other arguments are hashable;
            results may be numbers and strings too.

    Errors:
        RuntimeError, when recorded: the function reads a value (`item()`, `numpy()`, `print`, `bool`), returns a tensor
            that requires grad (unless its backward() is done), returns or assigns a tensor that it was given or found
            as it is, keeps a tensor without returning it, changes an argument in place, or is given an argument that
            requires grad. What the function did until then is done.
        TypeError: an argument is neither a tensor nor hashable, or a result neither a tensor nor a number or string.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._recordings: dict[Hashable, list[_Recording]] = {}
        #: Those for so many positional arguments, all of them tensors.
        self._plain: dict[int, list[_Recording]] = {}
        self._warm: set[Hashable] = set()

    @property
    def recordings(self) -> int:
        """How many programs are kept."""
        return sum(len(entries) for entries in self._recordings.values())

    def reset(self) -> None:
        """Forgets all recordings."""
        self._recordings.clear()
        self._plain.clear()
        self._warm.clear()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: bound to its instance, which is part of the signature."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and state.guards is None:
            for recording in self._plain.get(len(args), ()):
                found = recording.run(args)
                if found is not None:
                    return recording.assemble(found)
        if _core.get_mode() == "eager" or state.guards is not None:
            return self.function(*args, **kwargs)
        tensors: list[Tensor] = []
        structure = _take_apart((args, kwargs), tensors)
        for recording in self._recordings.get(structure, ()):
            found = recording.run(tensors)
            if found is not None:
                return recording.assemble(found)
        form = (structure, _core.is_grad_enabled(), *((tensor.shape, tensor.dtype) for tensor in tensors))
        if form in self._warm:
            return self._record(structure, tensors)
        self._warm.add(form)
        results: list[Tensor] = []
        result = _take_apart(self.function(*args, **kwargs), results)
        return _put_together(result, [tensor.detach() for tensor in results])

    def _record(self, structure: Any, tensors: list[Tensor]) -> Any:
        watched: list[Guard] = []
        scope = _core.CaptureScope(tensors)
        state.guards = watched
        try:
            args, kwargs = _put_together(structure, scope.inputs())
            results: list[Tensor] = []
            result = _take_apart(self.function(*args, **kwargs), results)
            _check_results(result)
            # Locals of the function are gone by now; only what it returns may live on.
            program = scope.finish(results)
        finally:
            state.guards = None
            scope.close()
        recordings = self._recordings.setdefault(structure, [])
        if all(type(argument) is _Slot for argument in structure[1][1:]) and len(structure[2]) == 1:
            self._plain[len(tensors)] = recordings
        recordings.insert(0, _Recording(program, result, watched))
        del recordings[_MOST_RECORDINGS:]
        return _put_together(result, [tensor.detach() for tensor in results])
