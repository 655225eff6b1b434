"""The base of optimisers: parameter groups, state, hooks, and their saved form."""

from __future__ import annotations

import copy
import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from pycnn import _capture, _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad
from pycnn.utils.hooks import RemovableHandle

_MEMBERS = ("params", "param_names")
#: State that is one number, kept in a tensor.
_NUMBERS = ("step", "eta", "mu", "mu_product")

_Hooks = OrderedDict[int, Callable[..., Any]]
_global_step_pre_hooks: _Hooks = OrderedDict()
_global_step_post_hooks: _Hooks = OrderedDict()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


#: A default that every group must replace.
required = _Required()


def _register(hooks: _Hooks, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(optimizer, args, kwargs)` before every step of every optimiser; see `register_step_pre_hook`."""
    return _register(_global_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(optimizer, args, kwargs)` after every step of every optimiser."""
    return _register(_global_step_post_hooks, hook)


def _scalar_dtype() -> Any:
    return _core.float64 if _core.get_default_dtype() == _core.float64 else _core.float32


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` with what happens around it: hooks, a capture's guards, evaluation of what it changed."""

    @functools.wraps(step)
    def stepped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self._in_step:  # called by the step of a derived class
            return step(self, *args, **kwargs)
        given: tuple[Any, ...] = (self, *args)
        self._in_step = self._opt_called = True
        try:
            for hook in (*_global_step_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()):
                replaced = hook(self, given, kwargs)
                if replaced is None:
                    continue
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                given, kwargs = replaced
            guards = _capture.state.guards
            numbers = None if guards is None else self._numbers()
            if guards is not None:
                guards.append(_capture.Guard(self._options, self._option_containers))
            result = step(*given, **kwargs)
            if guards is not None and self._numbers() != numbers:
                raise RuntimeError(
                    f"capture: {type(self).__name__} changes numbers of its state at every step, which a replay would "
                    "not do; keep them in tensors"
                )
            if not self._evaluates:
                _core.eval(list(self._tensors()))
            for hook in (*self._optimizer_step_post_hooks.values(), *_global_step_post_hooks.values()):
                hook(self, given, kwargs)
            return result
        finally:
            self._in_step = False

    stepped.hooked = True  # type: ignore[attr-defined]
    return stepped


class Optimizer:
    """Holds parameters in groups with options of their own, and state per parameter.

    A subclass passes its options' defaults to `__init__` and defines `step`, with tensor operations under
    `pycnn.no_grad()` as in PyTorch. After `step` everything it changed is computed in one plan.

    Args:
        params: parameters, pairs (name, parameter), or dictionaries with "params" and options of that group.
        defaults: options of groups that do not say otherwise.
    """

    #: Whether `step` computes what it changed by itself.
    _evaluates = False
    #: Options that a saved group may lack because it is old.
    _absent: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_hooks(self) -> None:
        self._in_step = self._opt_called = False
        self._optimizer_step_pre_hooks: _Hooks = OrderedDict()
        self._optimizer_step_post_hooks: _Hooks = OrderedDict()
        self._optimizer_state_dict_pre_hooks: _Hooks = OrderedDict()
        self._optimizer_state_dict_post_hooks: _Hooks = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: _Hooks = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: _Hooks = OrderedDict()
        kind = type(self)
        if not getattr(kind.step, "hooked", False):
            kind.step = _with_hooks(kind.step)  # type: ignore[method-assign]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group: "params" and options that differ from the defaults. The dictionary itself becomes the group.

        Errors: TypeError for what are no tensors, ValueError for tensors that are no leaves or are in a group already,
            for names given to some only, for options without default that are missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        listed = [given] if isinstance(given, Tensor) else list(given)
        names = [entry[0] for entry in listed if isinstance(entry, tuple)]
        members = [entry[1] if isinstance(entry, tuple) else entry for entry in listed]
        param_group["params"] = members
        if names:
            if len(names) != len(members):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names
        for parameter in members:
            if not isinstance(parameter, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(parameter).__name__}"
                )
            if not (self.defaults.get("differentiable") or parameter.is_leaf or parameter.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len({id(parameter) for parameter in members}) != len(members):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in PyTorch's future this will cause "
                "an error",
                stacklevel=3,
            )
        for other in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in other):
                kind = "with names" if names else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {kind} to the optimizer"
                )
        present = {id(parameter) for other in self.param_groups for parameter in other["params"]}
        if not present.isdisjoint(id(parameter) for parameter in members):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets every parameter's gradient, or sets it to zero with `set_to_none=False`."""
        for group in self.param_groups:
            if set_to_none:
                _core._forget_gradients(group["params"])
                continue
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.requires_grad:
                    parameter.grad = _core.zeros_like(parameter.grad.detach())
                else:
                    parameter.grad.zero_()

    # -- what a capture must know --------------------------------------------------------------------------------------
    def _entries(self) -> Iterator[Any]:
        for state in self.state.values():
            yield from state.values() if isinstance(state, dict) else (state,)

    def _tensors(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]
        yield from (value for value in self._entries() if isinstance(value, Tensor))

    def _numbers(self) -> list[Any]:
        return [value for value in self._entries() if not isinstance(value, Tensor)]

    def _options(self) -> tuple[Any, ...]:
        """What a captured step was recorded with: all groups' options, and which tensors are the state."""
        options = (value for group in self.param_groups for key, value in group.items() if key not in _MEMBERS)
        return tuple(_identity(value) for value in chain(options, self._entries()))

    def _option_containers(self) -> tuple[Any, ...]:
        return (self.__dict__, self.param_groups, *self.param_groups, self.state, *self.state.values())

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters once. `closure` computes the loss and its gradients again; its value is given back."""
        raise NotImplementedError

    # -- hooks ---------------------------------------------------------------------------------------------------------
    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` before every step; it may return new (args, kwargs). The first of the
        arguments is the optimiser."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` after every step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer)` before `state_dict`, ahead of other hooks with `prepend`."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer, state_dict)` after `state_dict`; what it returns, unless None, is given instead."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer, state_dict)` before loading; what it returns, unless None, is loaded instead."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls `hook(optimizer)` after loading."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # -- saved form ----------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """{"state": {position: {...}}, "param_groups": [{..., "params": [positions]}]}; positions count all groups."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        positions: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            positions = {id(member): at for at, member in enumerate(group["params"], start)} | positions
            start += len(group["params"])
            packed = {name: value for name, value in group.items() if name != "params"}
            groups.append({**packed, "params": [positions[id(parameter)] for parameter in group["params"]]})
        state = {positions[id(key)] if isinstance(key, Tensor) else key: values for key, values in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave: tensors are copied, floating ones but "step" cast to their parameter's dtype.

        Errors: ValueError if the groups do not match; nothing has changed then.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        groups, given = self.param_groups, state_dict["param_groups"]
        if len(groups) != len(given):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(own["params"]) != len(other["params"]) for own, other in zip(groups, given, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        by_position = {
            position: parameter
            for own, other in zip(groups, given, strict=True)
            for position, parameter in zip(other["params"], own["params"], strict=True)
        }
        state: defaultdict[Any, Any] = defaultdict(dict)
        for position, values in state_dict["state"].items():
            if position in by_position:
                parameter = by_position[position]
                state[parameter] = _taken(parameter, "", values)
            else:
                state[position] = values
        loaded = []
        for own, other in zip(groups, given, strict=True):
            options = copy.deepcopy({name: value for name, value in other.items() if name != "params"})
            if "param_names" in own:
                options.setdefault("param_names", own["param_names"])
            loaded.append({**options, "params": own["params"]})
        self.__setstate__({"state": state, "param_groups": loaded})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": dict(self.state), "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.state = defaultdict(dict, state["state"])
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hooks()
        for group in self.param_groups:
            for name, value in self._absent.items():
                group.setdefault(name, value)
        for values in self.state.values():
            for name in _NUMBERS:
                if self._evaluates and isinstance(values, dict) and isinstance(values.get(name), (int, float)):
                    values[name] = _core.tensor(float(values[name]), dtype=_scalar_dtype())


def _identity(value: Any) -> Any:
    """What must stay the same for a value not to have changed: of a tensor, which one it is."""
    if isinstance(value, (list, tuple)):
        return tuple(_identity(entry) for entry in value)
    return id(value) if isinstance(value, Tensor) else value


def _taken(parameter: Tensor, name: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _taken(parameter, key, entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_taken(parameter, None, entry) for entry in value)
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    if name != "step":
        dtype = parameter.dtype if parameter.is_floating_point() else value.dtype
        return value.detach().to(parameter.device, dtype).clone()
    return value.detach().clone()


class RuleOptimizer(Optimizer):
    """An optimiser whose formula is in the core: a step of all groups is one plan.

    The plan writes over parameters and state only in its last, uninterruptible phase: after an exception or Ctrl-C
    every one of them is whole, old or new. Numbers that change from step to step are inputs of the plan.
    """

    _evaluates = True
    _rule: str

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients first; its value is given back.

        Errors: NotImplementedError if a group is differentiable.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        changed: list[Tensor] = []
        if any(group.get("differentiable") for group in self.param_groups):
            raise NotImplementedError(
                f"{type(self).__name__}: differentiable=True is not available; steps are not recorded for autograd"
            )
        for group in self.param_groups:
            changed += _core._optimizer_step(self._rule, group, self.state)
        _core.eval(changed)
        return loss


def check_rate(lr: Any) -> None:
    """Raises ValueError unless it is a learning rate: a number or a tensor of one element, not negative."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_not_negative(**values: Any) -> None:
    """Raises ValueError if one of them is negative."""
    for name, value in values.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas: Any) -> None:
    """Raises ValueError unless both are in [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def check_implementation(foreach: Any, differentiable: bool, fused: Any = None) -> None:
    """Checks the choices that PyTorch offers between implementations. Here there is one; they have no effect.

    Errors: RuntimeError for choices that exclude each other.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
