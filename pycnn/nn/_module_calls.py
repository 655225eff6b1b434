"""How a module is called: hooks around `forward`, of one module and of all."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pycnn import _capture
from pycnn.nn._module_state import ModuleState
from pycnn.utils.hooks import RemovableHandle

Hook = Callable[..., Any]


class _GlobalHooks:
    """Hooks of every module there is."""

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Hook] = OrderedDict()
        self.forward: OrderedDict[int, Hook] = OrderedDict()
        self.backward_pre: OrderedDict[int, Hook] = OrderedDict()
        self.backward: OrderedDict[int, Hook] = OrderedDict()
        self.with_kwargs: set[int] = set()
        self.called_always: set[int] = set()
        self.registration: dict[str, OrderedDict[int, Hook]] = {
            kind: OrderedDict() for kind in ("parameter", "buffer", "module")
        }

    def add(self, hooks: OrderedDict[int, Hook], hook: Hook) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle


everywhere = _GlobalHooks()


def called_on_registration(kind: str, module: Any, name: str, member: Any) -> Any:
    """What is registered as parameter, buffer or module: `member`, unless a hook gives something else."""
    for hook in list(everywhere.registration[kind].values()):
        replaced = hook(module, name, member)
        if replaced is not None:
            member = replaced
    return member


class ModuleCalls(ModuleState):
    """`__call__` and the registration of hooks: a base of `Module`."""

    _forward_pre_hooks: OrderedDict[int, Hook]
    _forward_hooks: OrderedDict[int, Hook]
    _backward_pre_hooks: OrderedDict[int, Hook]
    _backward_hooks: OrderedDict[int, Hook]
    _hooks_with_kwargs: set[int]
    _hooks_called_always: set[int]
    _is_full_backward_hook: bool | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output. Every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _capture.state.guards is not None:
            _capture.state.guards.append(_capture.Guard(self._capture_guard, self._capture_containers))
        if (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or everywhere.forward_pre
            or everywhere.forward
            or everywhere.backward
            or everywhere.backward_pre
        ):
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """The same as calling the module, under the name that PyTorch has for it."""
        return ModuleCalls.__call__(self, *args, **kwargs)

    def _capture_guard(self) -> tuple[Any, ...]:
        """What a captured call depends on besides values: mode, hooks, settings, which tensors and modules it has."""
        settings = [value for value in self.__dict__.values() if value is None or isinstance(value, (int, float, str))]
        members = [*self._parameters.values(), *self._buffers.values(), *self._modules.values()]
        hooks = (self._forward_pre_hooks, self._forward_hooks, everywhere.forward_pre, everywhere.forward)
        return (*map(len, hooks), *settings, *map(id, members))

    def _capture_containers(self) -> tuple[dict[Any, Any], ...]:
        hooks = (self._forward_pre_hooks, self._forward_hooks, everywhere.forward_pre, everywhere.forward)
        return (self.__dict__, self._parameters, self._buffers, self._modules, *hooks)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        try:
            return self._call_hooks_and_forward(args, kwargs, called)
        except Exception:
            for key, hook in [*everywhere.forward.items(), *self._forward_hooks.items()]:
                if key in called or (key not in self._hooks_called_always and key not in everywhere.called_always):
                    continue
                try:
                    self._call_forward_hook(key, hook, args, kwargs, None)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error!s}",
                        stacklevel=2,
                    )
            raise

    def _call_hooks_and_forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], called: set[int]) -> Any:
        for key, hook in [*everywhere.forward_pre.items(), *self._forward_pre_hooks.items()]:
            if key in self._hooks_with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {changed}."
                        )
                    args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        backward = None
        if self._backward_hooks or self._backward_pre_hooks or everywhere.backward or everywhere.backward_pre:
            from pycnn.nn._backward_hook import BackwardHook

            backward = BackwardHook(
                self,
                [*everywhere.backward.values(), *self._backward_hooks.values()],
                [*everywhere.backward_pre.values(), *self._backward_pre_hooks.values()],
            )
            args = backward.watch_inputs(args)
        result = self.forward(*args, **kwargs)
        for key, hook in [*everywhere.forward.items(), *self._forward_hooks.items()]:
            called.add(key)
            replaced = self._call_forward_hook(key, hook, args, kwargs, result)
            if replaced is not None:
                result = replaced
        return result if backward is None else backward.watch_outputs(result)

    def _call_forward_hook(
        self, key: int, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> Any:
        if key in self._hooks_with_kwargs or key in everywhere.with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    # -- registration of hooks ---------------------------------------------------------------------------------------
    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args)` before `forward`; what it returns, if not None, replaces the arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which returns None or `(args, kwargs)`.
        """
        return self._add_hook(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Calls `hook(module, args, output)` after `forward`; what it returns, if not None, replaces the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`; with `always_call` it is also called (with None
        for the output) when `forward` or another hook raises.
        """
        handle = self._add_hook(self._forward_hooks, hook, prepend, with_kwargs)
        if always_call:
            self._hooks_called_always.add(handle.id)
        return handle

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_output)` when the outputs' gradients are known; it may return replacements."""
        return self._add_hook(self._backward_pre_hooks, hook, prepend, False)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Calls `hook(module, grad_input, grad_output)` in backward; it may return a replacement of grad_input.

        Errors: RuntimeError if the module has one that `register_backward_hook` added.
        """
        self._check_kind_of_backward_hook(True)
        return self._add_hook(self._backward_hooks, hook, prepend, False)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The older name of `register_full_backward_hook`; the two cannot be used on one module (RuntimeError)."""
        self._check_kind_of_backward_hook(False)
        return self._add_hook(self._backward_hooks, hook, False, False)

    def _check_kind_of_backward_hook(self, full: bool) -> None:
        if self._is_full_backward_hook not in (None, full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. Please use only "
                "one of them."
            )
        self._is_full_backward_hook = full

    def _add_hook(self, hooks: OrderedDict[int, Hook], hook: Hook, prepend: bool, with_kwargs: bool) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        if with_kwargs:
            self._hooks_with_kwargs.add(handle.id)
        return handle


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, args)` before every module's `forward`, ahead of the module's own hooks."""
    return everywhere.add(everywhere.forward_pre, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls `hook(module, args, output)` after every module's `forward`, ahead of the module's own hooks."""
    handle = everywhere.add(everywhere.forward, hook)
    if with_kwargs:
        everywhere.with_kwargs.add(handle.id)
    if always_call:
        everywhere.called_always.add(handle.id)
    return handle


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, grad_output)` in every module's backward pass."""
    return everywhere.add(everywhere.backward_pre, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, grad_input, grad_output)` in every module's backward pass."""
    return everywhere.add(everywhere.backward, hook)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The older name of `register_module_full_backward_hook`."""
    return everywhere.add(everywhere.backward, hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, name, parameter)` when a module gets a parameter; what it returns replaces it."""
    return everywhere.add(everywhere.registration["parameter"], hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, name, buffer)` when a module gets a buffer; what it returns replaces it."""
    return everywhere.add(everywhere.registration["buffer"], hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Calls `hook(module, name, submodule)` when a module gets another; what it returns replaces it."""
    return everywhere.add(everywhere.registration["module"], hook)
