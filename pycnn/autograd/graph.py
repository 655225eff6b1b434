"""The graph that backward walks: its nodes and edges, and what is saved for backward."""

from __future__ import annotations

import functools
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
    _notes: weakref.WeakValueDictionary[int, _Notes] = weakref.WeakValueDictionary()

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
        """A dictionary for the user's notes, kept as long as the operator is."""
        notes = self._notes.get(self._raw.key)
        if notes is None:
            notes = self._notes[self._raw.key] = _Notes()
            self._registered(self._raw.hook_before, notes)
        return notes.metadata

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


class _Notes:
    """The user's notes about an operator, which owns them as a hook that leaves gradients as they are."""

    def __init__(self) -> None:
        self.metadata: dict[Any, Any] = {}

    def __call__(self, grad_outputs: Any) -> None:
        pass


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
    """The end of an edge at a leaf, where gradients are added to `variable.grad`. One object per leaf."""

    _at: weakref.WeakValueDictionary[int, AccumulateGrad] = weakref.WeakValueDictionary()

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable
        self._metadata: dict[Any, Any] = {}

    @classmethod
    def of_leaf(cls, variable: Tensor) -> AccumulateGrad:
        """The object for a leaf."""
        key = variable._value_key
        found = cls._at.get(key)
        if found is None or found.variable._value_key != key:  # the latter: changed in place since
            found = cls._at[key] = cls(variable)
        return found

    def name(self) -> str:
        """The name that programs compare with, "torch::autograd::AccumulateGrad"."""
        return "torch::autograd::AccumulateGrad"

    def _key(self) -> Any:
        return ("leaf", self.variable._value_key)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Empty."""
        return ()

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's notes, kept as long as this object is."""
        return self._metadata

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
    return AccumulateGrad.of_leaf(target) if isinstance(target, Tensor) else Node.of(target)


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
    return GradientEdge(AccumulateGrad.of_leaf(tensor), 0) if node is None else GradientEdge(node, tensor.output_nr)


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
    allows_mutation = False


_settings = _Settings()
_mutation_lock = threading.Lock()
_mutation_threads = 0


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


class _AllowMutationOnSavedContext:
    """What `allow_mutation_on_saved_tensors` gives."""

    def clear(self) -> None:
        """Nothing to do: there are no copies."""


def _count_mutating_threads(change: int) -> None:
    global _mutation_threads
    with _mutation_lock:
        _mutation_threads += change
        _core._set_saved_mutation_allowed(_mutation_threads > 0)


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_AllowMutationOnSavedContext]:
    """Within it, backward reads what tensors were when they were saved, whatever was done to them in place since: no
    value ever changes here, so that nothing needs to be copied for that. As in PyTorch it holds for all threads, here
    until the last one has left it. RuntimeError within another of the same thread."""
    if _settings.allows_mutation:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    _settings.allows_mutation = True
    _count_mutating_threads(1)
    try:
        yield _AllowMutationOnSavedContext()
    finally:
        _count_mutating_threads(-1)
        _settings.allows_mutation = False


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


class _Pass(threading.local):
    """The pass of backward that this thread is in: gradients that arrived, by the hook that gathers them."""

    gathered: dict[Any, list[Tensor | None]] | None = None


_pass = _Pass()


@functools.cache
def _notice_ends_of_passes() -> None:
    """From now on a pass of backward tells the hooks that still wait when it is over."""
    for owner, name in ((Tensor, "backward"), (_core, "backward"), (_core, "grad")):
        setattr(owner, name, _noticed(getattr(owner, name)))


def _noticed(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def noticed(*args: Any, **kwargs: Any) -> Any:
        outer, _pass.gathered = _pass.gathered, {}
        try:
            result = run(*args, **kwargs)
            gathered = _pass.gathered
        finally:
            _pass.gathered = outer
        for fn, gradients in gathered.items():
            if any(gradient is None for gradient in gradients):
                fn(gradients)
        return result

    return noticed


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all") -> _Handles:
    """Calls `fn` in each backward that reaches one of these tensors, with the list of their gradients: as soon as all
    are known, or at the end, with None for those that were not reached. With `mode="any"` it gets the first gradient.

    Backward goes through the whole graph: unlike in PyTorch, `backward(inputs=...)` and `grad` give gradients of
    tensors that the wanted ones do not need as well.

    Errors: ValueError for other modes, RuntimeError for tensors that require no gradient (with "any" they are left
    out).
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if mode == "any":

        def arrive_first(gradient: Tensor) -> None:
            if _pass.gathered is not None and arrive_first not in _pass.gathered:
                _pass.gathered[arrive_first] = []
                fn(gradient)

        _notice_ends_of_passes()
        return _Handles([tensor.register_hook(arrive_first) for tensor in tensors if tensor.requires_grad])

    def gathered(gradients: list[Tensor | None]) -> None:
        fn(gradients)

    def hook_at(position: int) -> Callable[[Tensor], None]:
        def arrive(gradient: Tensor) -> None:
            if _pass.gathered is None:
                return  # the first such hook, registered while this pass runs
            gradients = _pass.gathered.setdefault(gathered, [None] * len(tensors))
            gradients[position] = gradient
            if all(each is not None for each in gradients):
                gathered(gradients)

        return arrive

    _notice_ends_of_passes()
    return _Handles([tensor.register_hook(hook_at(i)) for i, tensor in enumerate(tensors)])
