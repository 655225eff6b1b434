"""The graph that backward walks: its nodes and edges, and what is saved for backward."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]

_hook_numbers = itertools.count()
_FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


class Node:
    """An operator in the graph that backward walks: `Tensor.grad_fn`. One object per operator; its type has the
    operator's name."""

    _kinds: dict[str, type[Node]] = {}  # noqa: RUF012 (of the base alone)
    _alive: weakref.WeakValueDictionary[int, Node] = weakref.WeakValueDictionary()

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @classmethod
    def of(cls, raw: Any) -> Node:
        """The object for a node of the core."""
        found = cls._alive.get(raw.key)
        if found is None:
            name = raw.name
            kind = cls._kinds.setdefault(name, type(name, (Node,), {"__doc__": "An operator of this name."}))
            found = cls._alive[raw.key] = kind(raw)
        return found

    def name(self) -> str:
        """The operator's name, such as "AddBackward0"."""
        return str(self._raw.name)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Where the gradients of its inputs go: (node, which of that one's results), (None, 0) where none is wanted.
        Empty once backward has freed the graph."""
        from pycnn.autograd.function import context_of

        context = context_of(self._raw)
        edges = self._raw.edges if context is None else self._raw.edges[: context._input_count]
        return tuple((_node_of(target), index) for target, index in edges)

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's notes."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, fn: Callable[..., Any]) -> _HookHandle:
        """Calls `fn(grad_inputs, grad_outputs)`, tuples of tensors or None, after the node's backward; what it returns,
        unless None, replaces `grad_inputs`."""
        return self._registered(self._raw.hook_after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> _HookHandle:
        """Calls `fn(grad_outputs)` before the node's backward; what it returns, unless None, replaces them."""
        return self._registered(self._raw.hook_before, fn)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        return self._raw.key

    def _registered(self, register: Callable[..., Any], fn: Callable[..., Any]) -> _HookHandle:
        number = next(_hook_numbers)
        register(number, fn)
        return _HookHandle(self._raw, number)

    def __getattr__(self, name: str) -> Any:
        # A Function's context, as in PyTorch, where it is the node.
        from pycnn.autograd.function import context_of

        if not name.startswith("__") and (context := context_of(self.__dict__["_raw"])) is not None:
            if name == "saved_tensors":
                if self._raw.released:
                    raise RuntimeError(_FREED)
                return context.all_saved(self._raw)
            return getattr(context, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


class _HookHandle:
    """Removes a hook of a node."""

    def __init__(self, raw: Any, number: int) -> None:
        self._raw, self.id = raw, number

    def remove(self) -> None:
        """Removes the hook; a second call does nothing."""
        self._raw.remove_hook(self.id)

    def __enter__(self) -> _HookHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class AccumulateGrad(Node):
    """The end of an edge at a leaf, where gradients are added to `variable.grad`."""

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        """The name that programs compare with, "torch::autograd::AccumulateGrad"."""
        return "torch::autograd::AccumulateGrad"

    def _key(self) -> Any:
        return ("leaf", self.variable._value_key)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Empty."""
        return ()

    def register_prehook(self, fn: Callable[..., Any]) -> Any:
        """Calls `fn((gradient,))` before it is added; what it returns, unless None, replaces it."""

        def hook(gradient: Tensor) -> Any:
            replaced = fn((gradient,))
            return replaced[0] if isinstance(replaced, tuple) else replaced

        return self.variable.register_hook(hook)

    def register_hook(self, fn: Callable[..., Any]) -> Any:
        """Calls `fn((), (gradient,))` after the gradient was added."""

        def hook(variable: Tensor) -> None:
            fn((), (variable.grad,))

        return self.variable.register_post_accumulate_grad_hook(hook)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'AccumulateGrad' object has no attribute '{name}'")


def _node_of(target: Any) -> Node | None:
    if target is None:
        return None
    return AccumulateGrad(target) if isinstance(target, Tensor) else Node.of(target)


def grad_fn(tensor: Tensor) -> Node | None:
    """The operator that made a tensor, for `Tensor.grad_fn`."""
    raw = tensor._grad_node
    return None if raw is None else Node.of(raw)


class GradientEdge(NamedTuple):
    """A place in the graph: a node and which of its results. `backward` and `grad` take it in place of a tensor."""

    node: Node
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where gradients of a tensor go. RuntimeError if it requires none."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    node = grad_fn(tensor)
    return GradientEdge(AccumulateGrad(tensor), 0) if node is None else GradientEdge(node, tensor.output_nr)


def tensor_at(place: Any) -> Any:
    """The tensor at an edge; anything else is given back."""
    if not isinstance(place, GradientEdge):
        return place
    node = place.node
    return node.variable if isinstance(node, AccumulateGrad) else node._raw.output(place.output_nr)


# -- what is saved -----------------------------------------------------------------------------------------------------
class _Settings(threading.local):
    refusal: str | None = None
    hooks: tuple[saved_tensors_hooks, ...] = ()


_settings = _Settings()


class saved_tensors_hooks:
    """Within it, what is saved for backward goes through two functions: of nested ones the innermost counts.

    The forward pass hands every tensor that an operator's backward will read to `pack_hook`, and backward reads what
    `unpack_hook` makes of it. A result of the operator itself arrives without history.

    Args:
        pack_hook: takes a tensor, gives anything.
        unpack_hook: takes that, gives a tensor of the same shape and dtype; RuntimeError else.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook
        self._entered: list[Any] = []

    def __enter__(self) -> None:
        if _settings.refusal is not None:
            raise RuntimeError(_settings.refusal)
        hooks = _core._SavedTensorHooks(self.pack_hook, self.unpack_hook)
        hooks.enter()
        self._entered.append(hooks)
        _settings.hooks = (*_settings.hooks, self)

    def __exit__(self, *_: object) -> None:
        self._entered.pop().leave()
        _settings.hooks = _settings.hooks[:-1]


def active_hooks() -> saved_tensors_hooks | None:
    """The hooks that this thread is within."""
    return _settings.hooks[-1] if _settings.hooks else None


class save_on_cpu(saved_tensors_hooks):
    """Within it, what backward reads is kept in the CPU's memory, where it is anyway.

    Args:
        pin_memory, device_type: accepted.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within it, entering `saved_tensors_hooks` raises RuntimeError with this message."""
    before, _settings.refusal = _settings.refusal, error_message
    try:
        yield
    finally:
        _settings.refusal = before


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """Within it, backward reads what tensors were when they were saved, whatever was done to them in place since: no
    value ever changes here, so that nothing needs to be copied for that. It holds for all threads."""
    before = _core._is_saved_mutation_allowed()
    _core._set_saved_mutation_allowed(True)
    try:
        yield
    finally:
        _core._set_saved_mutation_allowed(before)


def increment_version(tensor: Tensor | Sequence[Tensor]) -> None:
    """Counts a change in place of one or several tensors that was hidden from autograd."""
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        _core._increment_version(each)


# -- several gradients at once -----------------------------------------------------------------------------------------
class _Handles:
    def __init__(self, handles: Sequence[Any]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all") -> _Handles:
    """Calls `fn` in each backward that reaches all of these tensors, with the list of their gradients once all are
    known; with `mode="any"` in each that reaches one of them, with the first gradient.

    Errors: ValueError for other modes.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    gradients: list[Tensor | None] = [None] * len(tensors)
    passes: list[int] = [0]  # the backward that they belong to

    def hook_at(position: int) -> Callable[[Tensor], None]:
        def arrive(gradient: Tensor) -> None:
            with lock:
                first = passes[0] != _core._backward_number()
                if first:
                    passes[0] = _core._backward_number()
                    gradients[:] = [None] * len(tensors)
                gradients[position] = gradient
                given = [each for each in gradients if each is not None]
            if mode == "any" and first:
                fn(gradient)
            elif mode == "all" and len(given) == len(tensors):
                fn(given)

        return arrive

    return _Handles([tensor.register_hook(hook_at(i)) for i, tensor in enumerate(tensors)])
