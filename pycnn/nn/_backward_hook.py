"""Backward hooks of modules: identities around `forward` that see the gradients pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn._core import Tensor
from pycnn.autograd.function import Function

Gradients = tuple[Any, ...]


class _Identity(Function):
    """Passes tensors through and hands their gradients to a callback, which may replace them."""

    @staticmethod
    def forward(ctx: Any, callback: Callable[[Gradients], Gradients], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.callback = callback
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        return (None, *ctx.callback(gradients))


class BackwardHook:
    """One call of a module with backward hooks."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]], pre_hooks: list[Callable[..., Any]]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_output: Gradients | None = None
        self.has_inputs = False

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, with those that require grad passed through an identity."""
        positions = [i for i, value in enumerate(args) if isinstance(value, Tensor) and value.requires_grad]
        if not positions:
            return args
        self.has_inputs = True

        def callback(gradients: Gradients) -> Gradients:
            grad_input: list[Any] = [None] * len(args)
            for position, gradient in zip(positions, gradients, strict=True):
                grad_input[position] = gradient
            replaced = self._call(tuple(grad_input))
            return tuple(replaced[position] for position in positions)

        watched = list(args)
        passed = _Identity.apply(callback, *(args[i] for i in positions))
        for position, tensor in zip(positions, passed, strict=True):
            watched[position] = tensor
        return tuple(watched)

    def watch_outputs(self, result: Any) -> Any:
        """The result (a tensor or a tuple of tensors), passed through an identity."""
        outputs = (result,) if isinstance(result, Tensor) else result
        if not isinstance(outputs, tuple) or not all(isinstance(value, Tensor) for value in outputs):
            return result
        if not any(value.requires_grad for value in outputs):
            return result

        def callback(gradients: Gradients) -> Gradients:
            for hook in self.pre_hooks:
                replaced = hook(self.module, gradients)
                if replaced is not None:
                    gradients = replaced if isinstance(replaced, tuple) else (replaced,)
            self.grad_output = gradients
            if not self.has_inputs:
                self._call(())
            return gradients

        passed = _Identity.apply(callback, *outputs)
        return passed[0] if isinstance(result, Tensor) else tuple(passed)

    def _call(self, grad_input: Gradients) -> Gradients:
        for hook in self.hooks:
            replaced = hook(self.module, grad_input, self.grad_output)
            if replaced is not None:
                grad_input = replaced if isinstance(replaced, tuple) else (replaced,)
        return grad_input
