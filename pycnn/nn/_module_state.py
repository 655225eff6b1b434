"""What a module keeps, and its saved form: `state_dict` and `load_state_dict`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.parameter import Parameter

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

    def get_extra_state(self) -> Any:
        """What a subclass wants in its `state_dict()` besides tensors; goes together with `set_extra_state`."""
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called.")

    def set_extra_state(self, state: Any) -> None:
        """Takes what `get_extra_state` gave."""
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called.")

    def _has_extra_state(self) -> bool:
        return type(self).get_extra_state is not ModuleState.get_extra_state

    def _local_state(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name, detached unless `keep_vars`; in order of registration."""
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        for name, tensor in self._local_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_extra_state():
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copies values into parameters and buffers, cast to their dtypes.

        Everything is checked first: after an error no tensor has changed.

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
        missing: list[str] = []
        errors: list[str] = []
        known: set[str] = set()
        copies: list[tuple[ModuleState, str, Tensor, Tensor]] = []
        extras: list[tuple[ModuleState, Any]] = []
        for path, module in self.named_modules(remove_duplicate=False):  # type: ignore[attr-defined]
            prefix = f"{path}." if path else ""
            for name, present in module._local_state():
                key = prefix + name
                known.add(key)
                if key not in state_dict:
                    missing.append(key)
                    continue
                given = state_dict[key]
                if not isinstance(given, Tensor):
                    errors.append(
                        f'While copying the parameter named "{key}", expected pycnn.Tensor from checkpoint '
                        f"but received {type(given)}"
                    )
                elif tuple(given.shape) != tuple(present.shape):
                    errors.append(
                        f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                        f"the shape in current model is {present.shape}."
                    )
                else:
                    copies.append((module, name, present, given))
            if module._has_extra_state():
                key = prefix + _EXTRA_STATE
                known.add(key)
                if key in state_dict:
                    extras.append((module, state_dict[key]))
                else:
                    missing.append(key)
        unexpected = [key for key in state_dict if key not in known]
        if strict:
            if unexpected:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
            if missing:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            raise RuntimeError(
                "Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors))
            )
        with no_grad():
            for module, name, present, given in copies:
                if not assign:
                    present.copy_(given)
                elif name in module._parameters:
                    module._parameters[name] = Parameter(given, present.requires_grad)
                else:
                    module._buffers[name] = given.detach()
            _core.eval(*(present for _, _, present, _ in copies))
        for module, extra in extras:
            module.set_extra_state(extra)
        return _IncompatibleKeys(missing, unexpected)


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
