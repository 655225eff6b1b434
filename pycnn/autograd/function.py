"""`Function`: operators with a forward and a backward of their own, written in Python."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.autograd.graph import active_hooks

__all__ = ["Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class FunctionCtx:
    """What `forward` leaves for `backward`: `save_for_backward` for tensors, attributes for anything else."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._non_differentiable: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize_grads = True
        self._saved_outputs: list[int] = []
        self._input_count = 0

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs or outputs; `backward` finds them in `saved_tensors`."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but got {type(tensor).__name__}")
        self._saved = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Accepted: derivatives along a direction use `backward` as well."""

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` was given. RuntimeError if one of them was changed in place since."""
        return tuple(saved.tensor() if isinstance(saved, _Saved) else saved for saved in self._saved)

    def all_saved(self, node: Any) -> tuple[Tensor | None, ...]:
        """The same seen from outside: the function's results among them come from its node."""
        return tuple(
            saved if output < 0 else node.output(output)
            for saved, output in zip(self.saved_tensors, self._saved_outputs, strict=True)
        )

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says that these outputs have no gradient."""
        self._non_differentiable = {id(tensor) for tensor in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs `forward` has changed in place; it returns them among its outputs."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (True, the default) or None for outputs that nobody used."""
        self._materialize_grads = bool(value)


class _Saved:
    """A tensor that backward will want, as the hooks for such made it, or as it is."""

    def __init__(self, tensor: Tensor) -> None:
        self._hooks = active_hooks()
        self._version = tensor._version
        with no_grad():
            self._kept = tensor if self._hooks is None else self._hooks.pack_hook(tensor)

    def tensor(self) -> Tensor:
        if self._hooks is not None:
            with no_grad():
                return self._hooks.unpack_hook(self._kept)
        kept: Tensor = self._kept
        if kept._version != self._version and not _core._is_saved_mutation_allowed():
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: a "
                f"tensor of shape {tuple(kept.shape)} is at version {kept._version}; expected version {self._version} "
                "instead. Hint: clone() it before it is changed, or change a copy"
            )
        return kept


class _Held:
    """What only a node holds: unlike its context, which a user may keep, it is gone with the node."""

    def __init__(self, context: FunctionCtx) -> None:
        self.context = context


#: Contexts by the key of their node.
_contexts: weakref.WeakValueDictionary[int, _Held] = weakref.WeakValueDictionary()


def context_of(node: Any) -> FunctionCtx | None:
    """The context of a node that a Function made."""
    held = _contexts.get(node.key)
    return None if held is None else held.context


class Function:
    """Base of operators written in Python.

    A subclass defines the static methods `forward(ctx, *args)` (or `forward(*args)` and `setup_context(ctx, inputs,
    output)`) and `backward(ctx, *grad_outputs)`, which returns one gradient (or None) per argument of `forward`, and is
    called as `Subclass.apply(*args)`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the output(s): a tensor or a tuple of tensors and other values."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Fills `ctx` when `forward` does not take one."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Computes the gradient of every argument of `forward` from those of its outputs."""
        raise NotImplementedError("You must implement the backward function to use your custom autograd.Function.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Not called: derivatives along a direction are made of `backward`."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs `forward` and records the operator."""
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(value, Tensor) and value.requires_grad for value in args)
        before = [_core._another_handle(value) if isinstance(value, Tensor) else value for value in args]
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        if not (_core.is_grad_enabled() and any(ctx.needs_input_grad)):
            return result
        _check_dirty(cls, ctx, args, result)
        changed = {id(tensor) for tensor in ctx._dirty}
        sources = tuple(old if id(new) in changed else new for old, new in zip(before, args, strict=True))
        return _record(cls, ctx, sources, result, changed)


class InplaceFunction(Function):
    """A `Function` that may change its inputs."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


def _check_dirty(cls: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], result: Any) -> None:
    results = result if isinstance(result, (tuple, list)) else (result,)
    for tensor in ctx._dirty:
        if not any(tensor is value for value in results):
            raise RuntimeError(
                f"{cls.__name__}: Some elements marked as dirty during the forward method were not returned as output. "
                "The inputs that are modified inplace must all be outputs of the Function."
            )
        if tensor.requires_grad and tensor.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")


def _record(cls: type[Function], ctx: FunctionCtx, args: tuple[Any, ...], result: Any, changed: set[int]) -> Any:
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    sources = [i for i, value in enumerate(args) if isinstance(value, Tensor)]
    differentiable = [
        i
        for i, value in enumerate(results)
        if isinstance(value, Tensor) and value.is_floating_point() and id(value) not in ctx._non_differentiable
    ]
    outputs = [results[i] for i in differentiable]

    # A reference to a result would be a cycle through the core, which the garbage collector cannot see: shapes are
    # enough for zeros, and saved outputs come from the core (which has the recorded ones: a second derivative needs
    # them).
    like = [(tuple(value.shape), value.dtype) if isinstance(value, Tensor) else None for value in results]

    position = {id(output): i for i, output in enumerate(outputs)}
    saved = [position.get(id(tensor), -1) for tensor in ctx._saved]
    for tensor, output in zip(ctx._saved, saved, strict=True):
        if output < 0 and tensor is not None and tensor.is_inference():
            raise RuntimeError(
                f"{cls.__name__}: Inference tensors cannot be saved for backward. To work around this, you can make a "
                "clone to get a normal tensor and use it in autograd, or use `no_grad()` instead of `inference_mode()`."
            )
    ctx._saved = tuple(
        _Saved(tensor) if output < 0 and tensor is not None else None
        for tensor, output in zip(ctx._saved, saved, strict=True)
    )
    ctx._saved_outputs, ctx._input_count = saved, len(sources)
    held = _Held(ctx)

    def backward(gradients: tuple[Any, ...], saved_outputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        ctx = held.context
        given: list[Any] = [None] * len(like)
        for i, gradient in zip(differentiable, gradients, strict=True):
            given[i] = gradient
        if ctx._materialize_grads:
            for i, form in enumerate(like):
                if given[i] is None and form is not None:
                    given[i] = _core.zeros(form[0], dtype=form[1])
        context = ctx
        if saved_outputs:
            # A copy: the outputs must not stay, and another thread may run this backward as well.
            context = copy.copy(ctx)
            context._saved = _merged(ctx._saved, saved, saved_outputs)
        returned = cls.backward(context, *given)
        returned = returned if isinstance(returned, tuple) else (returned,)
        _check_gradients(cls, args, returned)
        return tuple(returned[i] for i in sources)

    once = getattr(cls.backward, "once_differentiable", False)
    recorded = _core.apply_function(
        backward,
        [args[i] for i in sources],
        outputs,
        once_differentiable=once,
        saved_outputs=[output for output in saved if output >= 0],
        saves_others=any(tensor is not None for tensor in ctx._saved),
        name=cls.__name__,
    )
    if recorded:
        _contexts[recorded[0]._grad_node.key] = held
    for i, new in zip(differentiable, recorded, strict=True):
        if id(results[i]) in changed:
            _core._rebind(results[i], new)
        else:
            results[i] = new
    return tuple(results) if isinstance(result, (tuple, list)) else results[0]


def _merged(others: tuple[Any, ...], saved: list[int], outputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """The saved tensors in their order: outputs where `saved` has a position, else the others."""
    remaining = iter(outputs)
    return tuple(other if position < 0 else next(remaining) for other, position in zip(others, saved, strict=True))


def _check_gradients(cls: type[Function], args: Sequence[Any], gradients: tuple[Any, ...]) -> None:
    while len(gradients) > len(args) and gradients[-1] is None:
        gradients = gradients[:-1]
    if len(gradients) != len(args):
        raise RuntimeError(
            f"function {cls.__name__}Backward returned an incorrect number of gradients "
            f"(expected {len(args)}, got {len(gradients)})"
        )
    for i, (value, gradient) in enumerate(zip(args, gradients, strict=True)):
        if gradient is not None and not isinstance(gradient, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(gradient).__name__})")
        if gradient is not None and isinstance(value, Tensor) and tuple(gradient.shape) != tuple(value.shape):
            raise RuntimeError(
                f"Function {cls.__name__}Backward returned an invalid gradient at index {i} - got "
                f"{list(gradient.shape)} but expected shape compatible with {list(value.shape)}"
            )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a `Function.backward` as not differentiable itself: a second derivative raises RuntimeError."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grad_outputs: Any) -> Any:
        return backward(ctx, *grad_outputs)

    wrapper.once_differentiable = True  # type: ignore[attr-defined]
    return wrapper
