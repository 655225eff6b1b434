"""What a module keeps, and its saved form: `state_dict` and `load_state_dict`."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.parameter import Parameter, is_lazy
from pycnn.utils.hooks import RemovableHandle

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find and what it did not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class ModuleState:
    """Named parameters, buffers and child modules, to be saved and loaded: the base of `Module`."""

    _version: int = 1
    _parameters: OrderedDict[str, Parameter | None]
    _buffers: OrderedDict[str, Tensor | None]
    _modules: OrderedDict[str, Any]
    _non_persistent_buffers_set: set[str]
    _state_dict_pre_hooks: OrderedDict[int, Any]
    _state_dict_hooks: OrderedDict[int, Any]
    _load_state_dict_pre_hooks: OrderedDict[int, Any]
    _load_state_dict_post_hooks: OrderedDict[int, Any]
    _hooks_with_module: set[int]
    _replacing_hooks: set[int]

    def get_extra_state(self) -> Any:
        """What a subclass wants in its `state_dict()` besides tensors; goes together with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        """Takes what `get_extra_state` gave."""
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def _has_extra_state(self) -> bool:
        return type(self).get_extra_state is not ModuleState.get_extra_state

    # -- hooks -------------------------------------------------------------------------------------------------------
    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, prefix, keep_vars)` before `state_dict` gathers this module's tensors."""
        return self._add_state_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata)` afterwards; it may change the dict in place."""
        return self._add_state_hook(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As `register_state_dict_post_hook`; what it returns, if not None, replaces the state dict."""
        handle = self._add_state_hook(self._state_dict_hooks, hook)
        self._replacing_hooks.add(handle.id)
        return handle

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        before this module is loaded; it may change the state dict, which is a copy, in place."""
        handle = self._add_state_hook(self._load_state_dict_pre_hooks, hook)
        self._hooks_with_module.add(handle.id)
        return handle

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """As `register_load_state_dict_pre_hook`, with the module as first argument only if asked."""
        handle = self._add_state_hook(self._load_state_dict_pre_hooks, hook)
        if with_module:
            self._hooks_with_module.add(handle.id)
        return handle

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls `hook(module, incompatible_keys)` after this module is loaded; it may change the lists in place."""
        return self._add_state_hook(self._load_state_dict_post_hooks, hook)

    def _add_state_hook(self, hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    # -- saving ------------------------------------------------------------------------------------------------------
    def _local_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Adds this module's own tensors and extra state; a subclass may override it."""
        for name, tensor in self._local_state():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()
        if self._has_extra_state():
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name, detached unless `keep_vars`; in order of registration."""
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details.",
                FutureWarning,
                stacklevel=2,
            )
            given: tuple[Any, ...] = (*args, *(destination, prefix, keep_vars)[len(args) :])
            destination, prefix, keep_vars = given
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in list(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for key, hook in list(self._state_dict_hooks.items()):
            replaced = hook(self, destination, prefix, local_metadata)
            if replaced is None:
                continue
            if key not in self._replacing_hooks:
                raise RuntimeError("state_dict post-hook must return None")
            destination = replaced
        return destination

    # -- loading -----------------------------------------------------------------------------------------------------
    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads this module's own tensors and extra state from the keys that begin with `prefix`; a subclass may
        override it. What it finds wrong it adds to the three lists."""
        for hook_id, hook in list(self._load_state_dict_pre_hooks.items()):
            first = (self,) if hook_id in self._hooks_with_module else ()
            hook(*first, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        report = error_msgs if isinstance(error_msgs, _Report) else _Report()
        local = dict(self._local_state())
        for name, present in local.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            given = state_dict[key]
            if not isinstance(given, Tensor):
                error_msgs.append(
                    f'While copying the parameter named "{key}", expected pycnn.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(given)}"
                )
                continue
            if is_lazy(present):
                if not is_lazy(given):
                    report.copies.append((self, name, present, given))
                continue
            if present.dim() == 0 and given.dim() == 1 and given.shape[0] == 1:
                given = given[0]  # from versions of PyTorch that had no 0-d tensors
            if tuple(given.shape) != tuple(present.shape):
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                    f"the shape in current model is {present.shape}."
                )
                continue
            report.copies.append((self, name, present, given))
        extra = prefix + _EXTRA_STATE
        if self._has_extra_state() or type(self).set_extra_state is not ModuleState.set_extra_state:
            if extra in state_dict:
                report.extras.append((self, state_dict[extra]))
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    head, *below = key[len(prefix) :].split(".", 1)
                    if head not in self._modules if below else head not in local:
                        unexpected_keys.append(key)
        if report is not error_msgs:
            report.apply(bool(local_metadata.get("assign_to_params_buffers", False)))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copies values into parameters and buffers, cast to their dtypes.

        Everything is checked first: after an error no tensor has changed (unless there are hooks to be called after
        loading, which may want to see what was loaded).

        Args:
            state_dict: tensors by dotted name, as `state_dict()` gives.
            strict: whether missing and unexpected keys are errors. Wrong shapes always are.
            assign: put the given tensors in place of the present ones, keeping the given dtypes.

        Returns:
            `missing_keys` and `unexpected_keys`.

        Errors: TypeError if it is no mapping, RuntimeError that lists all that is wrong.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        keys = _IncompatibleKeys([], [])
        report = _Report()
        loaded: list[ModuleState] = []

        def load(module: ModuleState, local: dict[str, Any], prefix: str) -> None:
            about = dict(metadata.get(prefix[:-1], {}))
            if assign:
                about["assign_to_params_buffers"] = True
            module._load_from_state_dict(local, prefix, about, True, keys.missing_keys, keys.unexpected_keys, report)
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    load(child, {key: value for key, value in local.items() if key.startswith(below)}, below)
            loaded.append(module)

        metadata: Mapping[str, Any] = getattr(state_dict, "_metadata", None) or {}
        load(self, OrderedDict(state_dict), "")
        late = [module for module in loaded if module._load_state_dict_post_hooks]
        if not late:
            self._refuse(strict, keys, report)
        report.apply(assign)
        for module in late:
            for hook in list(module._load_state_dict_post_hooks.values()):
                if hook(module, keys) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                        "values, if incompatible_keys need to be modified, it should be done inplace."
                    )
        self._refuse(strict, keys, report)
        return keys

    def _refuse(self, strict: bool, keys: _IncompatibleKeys, report: _Report) -> None:
        errors = list(report)
        if strict and keys.unexpected_keys:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(keys.unexpected_keys)}. ")
        if strict and keys.missing_keys:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(keys.missing_keys)}. ")
        if errors:
            raise RuntimeError(
                "Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors))
            )


class _Report(list[str]):
    """The errors found while a state dict was compared with modules, and what is to be done if there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[ModuleState, str, Tensor, Tensor]] = []
        self.extras: list[tuple[ModuleState, Any]] = []

    def apply(self, assign: bool) -> None:
        """Copies (or assigns) the values and hands out extra state."""
        with no_grad():
            for module, name, present, given in self.copies:
                if is_lazy(present):
                    present.materialize(tuple(given.shape))  # type: ignore[attr-defined]
                if not assign:
                    present.copy_(given)
                elif name in module._parameters:
                    if isinstance(given, Parameter):
                        given.requires_grad_(present.requires_grad)
                        module._parameters[name] = given
                    else:
                        module._parameters[name] = Parameter(given, present.requires_grad)
                else:
                    module._buffers[name] = given.detach()
            _core.eval(*(present for _, _, present, _ in self.copies))
        for module, extra in self.extras:
            module.set_extra_state(extra)
        self.copies, self.extras = [], []


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
