"""`pycnn.capture`: functions recorded once and replayed without Python."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor

#: Of the capture that runs: what its recording depended on besides tensors, as functions whose results must not change.
guards: list[Callable[[], Hashable]] | None = None


def guard(value: Callable[[], Hashable]) -> None:
    """Called while a function may be captured: a replay is valid only as long as `value()` stays what it is now."""
    if guards is not None:
        guards.append(value)


class _Slot:
    """Stands for the n-th tensor in a structure of arguments or results."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Slot) and other.index == self.index

    def __hash__(self) -> int:
        return hash(("slot", self.index))


def _take_apart(value: Any, tensors: list[Tensor]) -> Any:
    """The structure with slots for its tensors, which are appended to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _Slot(len(tensors) - 1)
    if type(value) in (tuple, list):
        return (type(value), *(_take_apart(item, tensors) for item in value))
    if type(value) is dict:
        return (dict, *((key, _take_apart(item, tensors)) for key, item in value.items()))
    return value


def _put_together(structure: Any, tensors: list[Tensor]) -> Any:
    if isinstance(structure, _Slot):
        return tensors[structure.index]
    if isinstance(structure, tuple) and structure and structure[0] in (tuple, list):
        return structure[0](_put_together(item, tensors) for item in structure[1:])
    if isinstance(structure, tuple) and structure and structure[0] is dict:
        return {key: _put_together(item, tensors) for key, item in structure[1:]}
    return structure


class _Recording:
    """One captured program and what it is valid for."""

    def __init__(self, program: Any, result: Any, watched: list[Callable[[], Hashable]]) -> None:
        self.program = program
        self.result = result
        self.watched = watched
        self.seen = [value() for value in watched]

    def fits(self, tensors: list[Tensor]) -> bool:
        return [value() for value in self.watched] == self.seen and self.program.fits(tensors)


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

    The first call with new shapes runs as always (optimisers make their state), the second is recorded, later ones are
    replays: the same kernels, the same bits. A replay reads the present values of every tensor the function read,
    changes those that it changed in place (parameters, running statistics, gradients), and draws new random numbers.

    The signature is the shapes, dtypes and layouts of the tensors among the arguments (also in tuples, lists and
    dictionaries), the other arguments by value, grad mode, which parameters have a gradient, `training` of every module
    and the options of every optimiser that took part: if one changes, the function is recorded again. Everything else
    that Python decides on (global numbers, `if`s, prints) stays as it was when it was recorded.

    Args:
        function: takes and returns tensors, or tuples, lists and dictionaries of them; other arguments are hashable.

    Raises:
        RuntimeError: when recorded, if the function reads a value (`item()`, `numpy()`, `print`, `bool`), returns a
            tensor that requires grad (unless its backward() is done; results are detached), keeps a tensor without
            returning it, is given an argument that requires grad, or captures within a capture.
        TypeError: an argument is neither a tensor nor hashable.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._recordings: dict[Hashable, list[_Recording]] = {}
        self._warm: set[Hashable] = set()

    @property
    def recordings(self) -> int:
        """How many programs are kept."""
        return sum(len(entries) for entries in self._recordings.values())

    def reset(self) -> None:
        """Forgets all recordings."""
        self._recordings.clear()
        self._warm.clear()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: bound to its instance, which is part of the signature."""
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _core.get_mode() == "eager" or guards is not None:
            return self.function(*args, **kwargs)
        tensors: list[Tensor] = []
        structure = _take_apart((args, kwargs), tensors)
        for recording in self._recordings.get(structure, ()):
            if recording.fits(tensors):
                return _put_together(recording.result, recording.program.replay(tensors))
        form = (structure, _core.is_grad_enabled(), *((tensor.shape, tensor.dtype) for tensor in tensors))
        if form not in self._warm:
            self._warm.add(form)
            return self.function(*args, **kwargs)
        return self._record(structure, tensors)

    def _record(self, structure: Any, tensors: list[Tensor]) -> Any:
        global guards
        scope = _core.CaptureScope(tensors)
        watched: list[Callable[[], Hashable]] = []
        guards = watched
        try:
            args, kwargs = _put_together(structure, scope.inputs())
            returned = self.function(*args, **kwargs)
            results: list[Tensor] = []
            result = _take_apart(returned, results)
            # Locals of the function are gone by now; only what it returns may live on.
            program = scope.finish(results)
        finally:
            guards = None
            scope.close()
        self._recordings.setdefault(structure, []).append(_Recording(program, result, watched))
        return returned
