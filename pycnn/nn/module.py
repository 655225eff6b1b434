"""`Module`, the base of every layer and model: a tree of named parameters, buffers and child modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device
from pycnn._tensor_types import typename
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn._module_calls import (
    ModuleCalls,
    called_on_registration,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from pycnn.nn.parameter import Buffer, Parameter, is_lazy

Self = TypeVar("Self", bound="Module")
T = TypeVar("T")

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


def _indent(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line for line in rest)])


_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
_SETS_OF_HOOKS = ("_hooks_with_kwargs", "_hooks_called_always", "_hooks_with_module", "_replacing_hooks")


class Module(ModuleCalls):
    """Base class of layers and models.

    A subclass calls `super().__init__()`, assigns parameters, buffers and child modules as attributes, and defines
    `forward`. Calling the module calls `forward` with its hooks.
    """

    training: bool
    dump_patches = False
    call_super_init = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            found = f"keyword argument '{next(iter(kwargs))}'" if kwargs else f"{len(args) + 1} were given"
            name = f"{type(self).__name__}.__init__()"
            raise TypeError(
                f"{name} got an unexpected {found}" if kwargs else f"{name} takes 1 positional argument but {found}"
            )
        set_plain = super().__setattr__
        set_plain("training", True)
        for name in ("_parameters", "_buffers", "_modules", *_HOOKS):
            set_plain(name, OrderedDict())
        for name in ("_non_persistent_buffers_set", *_SETS_OF_HOOKS):
            set_plain(name, set())
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- registration ------------------------------------------------------------------------------------------------
    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter under `name` (None reserves it). Errors: TypeError, or KeyError for bad names."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(pycnn.nn.Parameter or None required)"
                )
            if not param.is_leaf:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in forward()."
                )
        self._parameters[name] = None if param is None else called_on_registration("parameter", self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a buffer under `name` (None reserves it); a persistent one is part of `state_dict()`."""
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (pycnn Tensor or None required)"
            )
        self._buffers[name] = called_on_registration("buffer", self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Adds a child module; the same as `add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a child module under `name`, then reachable as an attribute. Errors: TypeError, KeyError as above."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = called_on_registration("module", self, name, module)

    def _check_name(self, kind: str, name: str, registered: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in registered:
            raise KeyError(f"attribute '{name}' already exists")

    # -- attributes --------------------------------------------------------------------------------------------------
    def __getattr__(self, name: str) -> Any:
        for registry in ("_parameters", "_buffers", "_modules"):
            registered = self.__dict__.get(registry)
            if registered is not None and name in registered:
                return registered[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if isinstance(value, Parameter):
            if "_parameters" not in own:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (pycnn.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if "_modules" not in own:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers")
            self._modules[name] = called_on_registration("module", self, name, value)
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (pycnn.nn.Module or None expected)"
                )
            self._modules[name] = None
        elif isinstance(value, Buffer):
            if "_buffers" not in own:
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            self._forget(name, "_parameters", "_modules")
            self.register_buffer(name, value, value.persistent)
        elif name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(pycnn.nn.Buffer, pycnn.Tensor or None expected)"
                )
            self._buffers[name] = value
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def _forget(self, name: str, *registries: str) -> None:
        """A name that was something else (a plain attribute, another kind of member) is that no longer."""
        self.__dict__.pop(name, None)
        for registry in registries:
            self.__dict__[registry].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __dir__(self) -> list[str]:
        members = [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]
        return sorted(name for name in members if not name[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())
        for name in _SETS_OF_HOOKS:
            self.__dict__.setdefault(name, set())

    # -- walking -----------------------------------------------------------------------------------------------------
    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it with their dotted names; a shared one once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it; a shared one once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below with their names; a shared one once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below; a shared one once."""
        return (module for _, module in self.named_children())

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, member in module.__dict__[registry].items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted names; a shared one once."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters of this module and (with `recurse`) all below it; a shared one once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted names; a shared one once."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers of this module and (with `recurse`) all below it; a shared one once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path. AttributeError if there is none."""
        module: Module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module at a dotted path, in place of another or (unless `strict`) as a new one.

        Errors: ValueError for an empty path or something that is no module, AttributeError if its parent is missing.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f'"module" is not an nn.Module, found {type(module)}')
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_member(self, target: str) -> tuple[Module, str, Any]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        return module, name, getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path. AttributeError if there is none."""
        _, name, found = self._get_member(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path. AttributeError if there is none."""
        module, name, found = self._get_member(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    # -- modes and conversions ---------------------------------------------------------------------------------------
    def train(self: Self, mode: bool = True) -> Self:
        """Sets training mode (dropout drops, batch norm uses the batch) here and below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Sets evaluation mode here and below."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Sets `requires_grad` of every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets every parameter's gradient, or sets it to zero with `set_to_none=False`."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else _core.zeros_like(parameter.grad)

    def apply(self: Self, fn: Callable[[Module], None]) -> Self:
        """Calls `fn` with every module, children first."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replaces every parameter's, gradient's and buffer's value by `fn` of it; the Parameter objects stay."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is None:
                    continue
                gradient = parameter.grad
                value = fn(parameter.data)
                _core.eval(value)
                if gradient is not None:
                    parameter.grad = None
                parameter.data = value
                if gradient is not None:
                    parameter.grad = fn(gradient)
            for name, buffer in self._buffers.items():
                if buffer is None:
                    continue
                value = fn(buffer.data if is_lazy(buffer) else buffer)
                _core.eval(value)
                if is_lazy(buffer):
                    buffer.data = value
                else:
                    self._buffers[name] = value
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """Moves parameters and buffers, and casts the floating ones: `to(dtype)`, `to(device)`, `to(device, dtype)`,
        `to(tensor)`, `to(memory_format=...)`. Memory formats are accepted and change nothing that can be seen, for
        images lie channels-last anyway.

        Errors: RuntimeError for devices that are not there, TypeError for other arguments and integer dtypes.
        """
        dtype = kwargs.pop("dtype", None)
        device = as_device(kwargs.pop("device", None))
        for ignored in ("non_blocking", "memory_format", "copy"):
            kwargs.pop(ignored, None)
        if kwargs:
            raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
        for argument in args:
            if isinstance(argument, Tensor):
                dtype, device = argument.dtype, argument.device
            elif isinstance(argument, _core.dtype):
                dtype = argument
            elif not isinstance(argument, bool):
                device = as_device(argument)
        if dtype is None and device is None:
            return self
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def moved(tensor: Tensor) -> Tensor:
            tensor = tensor if device is None else tensor.to(device)
            return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

        return self._apply(moved)

    def float(self: Self) -> Self:
        """Casts floating parameters and buffers to float32."""
        return self.to(_core.float32)

    def double(self: Self) -> Self:
        """Casts floating parameters and buffers to float64."""
        return self.to(_core.float64)

    def half(self: Self) -> Self:
        """Casts floating parameters and buffers to float16."""
        return self.to(_core.float16)

    def bfloat16(self: Self) -> Self:
        """Casts floating parameters and buffers to bfloat16."""
        return self.to(_core.bfloat16)

    def type(self: Self, dst_type: Any) -> Self:
        """Casts every parameter and buffer to `dst_type`."""
        return self._apply(lambda tensor: tensor.to(dst_type))

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Gives every parameter and buffer new memory with no particular values."""
        device = as_device(device)
        return self._apply(lambda tensor: _core.empty_like(tensor, device=device), recurse)

    def share_memory(self: Self) -> Self:
        """Returns the module: processes that are started later get copies of its tensors."""
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: every graph is planned without being told."""

    def cpu(self: Self) -> Self:
        """Moves parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Moves parameters and buffers to a GPU, the current one unless an index or device is given.

        Errors: RuntimeError if it is not there.
        """
        return self.to("cuda" if device is None else as_device(device))

    # -- printing ----------------------------------------------------------------------------------------------------
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the printed module."""
        return ""

    def _child_lines(self) -> list[str]:
        return [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = self._child_lines()
        lines = extra_lines + child_lines
        if not lines:
            return f"{self._get_name()}()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra_lines[0]})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"
