"""Weight normalisation (Salimans and Kingma 2016) by a hook: the older form of `parametrizations.weight_norm`."""

from __future__ import annotations

import warnings
from typing import Any

from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


def norm_except(weight: Tensor, dim: int) -> Tensor:
    """The norm over all dimensions but `dim`, which are kept with size 1; -1: over all, 0-d."""
    if dim == -1:
        return weight.norm(2)
    others = [d for d in range(weight.dim()) if d != dim % weight.dim()]
    return weight.norm(2, others, True) if others else weight.abs()


def scaled_to(length: Tensor, direction: Tensor, dim: int) -> Tensor:
    """length * direction / |direction|."""
    return direction * (length / norm_except(direction, dim))


class WeightNorm:
    """The hook that computes the weight before each call."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Tensor:
        """The weight from its length and direction."""
        return scaled_to(getattr(module, self.name + "_g"), getattr(module, self.name + "_v"), self.dim)

    def remove(self, module: Module) -> None:
        """Makes the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module)
        for name in (self.name, self.name + "_g", self.name + "_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replaces the parameter `name` by its length `name_g` and direction `name_v`; warns that it is deprecated.

    Args:
        module: what holds the parameter.
        name: its name.
        dim: one length per index along this dimension; None for one length in all.

    Returns:
        The module.

    Errors: RuntimeError if the same parameter already is normalised.
    """
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    with no_grad():
        length = norm_except(weight, hook.dim)
    module.register_parameter(name + "_g", Parameter(length))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes the weight an ordinary parameter again; returns the module. ValueError if it is not normalised."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
