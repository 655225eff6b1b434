"""The base of optimisers: parameter groups, state, and their saved form."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.utils.hooks import RemovableHandle

_MEMBERS = ("params", "param_names")


class Optimizer:
    """Holds parameters in groups with options of their own, and state per parameter.

    Args:
        params: parameters, pairs (name, parameter), or dictionaries with "params" and options of that group.
        defaults: options of groups that do not say otherwise.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group: "params" and options that differ from the defaults. Errors: TypeError, ValueError."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = dict(param_group)
        given = group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        members = [given] if isinstance(given, Tensor) else list(given)
        if members and isinstance(members[0], tuple):
            group["param_names"] = [name for name, _ in members]
            members = [parameter for _, parameter in members]
        for parameter in members:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(parameter)}")
            if not parameter.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        group["params"] = members
        for name, default in self.defaults.items():
            group.setdefault(name, default)
        if len({id(parameter) for parameter in members}) != len(members):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=3)
        present = {id(parameter) for other in self.param_groups for parameter in other["params"]}
        if not present.isdisjoint(id(parameter) for parameter in members):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets every parameter's gradient, or sets it to zero with `set_to_none=False`."""
        for group in self.param_groups:
            if set_to_none:
                _core._forget_gradients(group["params"])
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = _core.zeros_like(parameter.grad)

    def _options(self) -> tuple[Any, ...]:
        """What a captured step was recorded with: all groups' options, and which tensors are the state."""
        options = [value for group in self.param_groups for key, value in group.items() if key not in _MEMBERS]
        return (*options, *(id(value) for state in self.state.values() for value in state.values()))

    def _option_containers(self) -> tuple[Any, ...]:
        return (self.__dict__, self.param_groups, *self.param_groups, self.state, *self.state.values())

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters once. `closure` computes the loss and its gradients again; its value is given back."""
        raise NotImplementedError

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` before every step."""
        handle = RemovableHandle(self._step_pre_hooks)
        self._step_pre_hooks[handle.id] = hook
        return handle

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(optimizer, args, kwargs)` after every step."""
        handle = RemovableHandle(self._step_post_hooks)
        self._step_post_hooks[handle.id] = hook
        return handle

    def state_dict(self) -> dict[str, Any]:
        """{"state": {position: {...}}, "param_groups": [{..., "params": [positions]}]}; positions count all groups."""
        members = [parameter for group in self.param_groups for parameter in group["params"]]
        positions = {id(parameter): position for position, parameter in enumerate(members)}
        groups = [
            {**{name: value for name, value in group.items() if name != "params"},
             "params": [positions[id(parameter)] for parameter in group["params"]]}
            for group in self.param_groups
        ]  # fmt: skip
        state = {positions[id(parameter)]: dict(values) for parameter, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave: tensors are copied, floating ones cast to their parameter's dtype.

        Errors: ValueError if the groups do not match; nothing has changed then.
        """
        groups = self.param_groups
        given = state_dict["param_groups"]
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
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for position, values in state_dict["state"].items():
            if position not in by_position:
                raise ValueError(f"loaded state dict has state for parameter {position}, which no group contains")
            parameter = by_position[position]
            state[parameter] = {name: _taken(parameter, name, value) for name, value in values.items()}
        self.state = state
        self.param_groups = [
            {**copy.deepcopy({name: value for name, value in other.items() if name != "params"}),
             "params": own["params"]}
            for own, other in zip(groups, given, strict=True)
        ]  # fmt: skip

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
        self._step_pre_hooks = OrderedDict()
        self._step_post_hooks = OrderedDict()


def _taken(parameter: Tensor, name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    if name != "step" and parameter.is_floating_point():
        return value.detach().to(parameter.dtype).clone()
    return value.detach().clone()
