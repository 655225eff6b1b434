"""Switches for recording gradients: context managers that also decorate functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pycnn import _core

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode:
    """A context manager that can be entered again (recursion, generators) and used as a decorator."""

    def __init__(self) -> None:
        self._previous: list[Any] = []

    def _enter(self) -> Any:
        raise NotImplementedError

    def _leave(self, previous: Any) -> None:
        _core.set_grad_enabled(previous)

    def _clone(self) -> _GradMode:
        return type(self)()

    def __enter__(self) -> None:
        self._previous.append(self._enter())

    def __exit__(self, *_: object) -> None:
        self._leave(self._previous.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._clone():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _wrap_generator(self, function: Any) -> Any:
        """The mode holds while the generator runs, and not while its consumer does."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            resume: Callable[[], Any] = functools.partial(next, generator)
            while True:
                try:
                    with self._clone():
                        item = resume()
                except StopIteration as stop:
                    return stop.value
                try:
                    resume = functools.partial(generator.send, (yield item))
                except GeneratorExit:
                    with self._clone():
                        generator.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(generator.throw, error)

        return wrapper


class _Recording(_GradMode):
    """Gradient recording on or off within it; as a decorator with or without parentheses."""

    _enabled: bool

    def __new__(cls, function: Any = None) -> Any:
        return object.__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Any = None) -> None:
        super().__init__()

    def _enter(self) -> bool:
        previous = _core.is_grad_enabled()
        _core.set_grad_enabled(self._enabled)
        return previous


class no_grad(_Recording):
    """Within it nothing is recorded for gradients: `with no_grad():`, `@no_grad()` or `@no_grad`."""

    _enabled = False


class enable_grad(_Recording):
    """Within it gradients are recorded, also inside `no_grad`."""

    _enabled = True


class set_grad_enabled(_GradMode):
    """Sets gradient recording at once; as a context manager it restores what was before.

    Args:
        mode: True to record.
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode = bool(mode)
        self._before = _core.is_grad_enabled()
        _core.set_grad_enabled(self.mode)

    def __call__(self, function: F) -> F:
        _core.set_grad_enabled(self._before)
        return super().__call__(function)

    def _clone(self) -> _GradMode:
        return set_grad_enabled(self.mode)

    def _enter(self) -> bool:
        _core.set_grad_enabled(self.mode)
        return self._before


class inference_mode(_GradMode):
    """Like `no_grad`, and what is made within it cannot take part in recording later.

    Args:
        mode: False leaves inference mode within the block.
    """

    def __new__(cls, mode: Any = True) -> Any:
        return object.__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: Any = True) -> None:
        super().__init__()
        self.mode = mode

    def _clone(self) -> _GradMode:
        return inference_mode(self.mode)

    def _enter(self) -> tuple[bool, bool]:
        previous = (_core.is_grad_enabled(), _core.is_inference_mode_enabled())
        _core.set_inference_mode(self.mode)
        _core.set_grad_enabled(not self.mode)
        return previous

    def _leave(self, previous: tuple[bool, bool]) -> None:
        grad_enabled, inference = previous
        _core.set_inference_mode(inference)
        _core.set_grad_enabled(grad_enabled)


class set_multithreading_enabled:
    """Accepted, without effect: backward records in the thread that calls it, and kernels use all threads.

    Args:
        mode: kept as an attribute.
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
