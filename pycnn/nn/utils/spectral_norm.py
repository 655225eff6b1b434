"""Spectral normalisation (Miyato et al. 2018) by a hook: the older form, `parametrizations.spectral_norm` the newer."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """(size of dim, all others)."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.dim()) if d != dim))
    return weight.reshape((weight.shape[0], -1))


def normalized(vector: Tensor, eps: float) -> Tensor:
    """vector / max(|vector|, eps)."""
    return vector / vector.norm(2).clamp(min=eps)


class SpectralNorm:
    """The hook that computes the weight before each call."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        self.name = name
        self.dim = dim
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight divided by its largest singular value, after some power iterations if asked."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with no_grad():
                fixed, left, right = matrix.detach(), u, v
                for _ in range(self.n_power_iterations):
                    right = normalized(fixed.t().mv(left), self.eps)
                    left = normalized(fixed.mv(right), self.eps)
                u.copy_(left)
                v.copy_(right)
        return weight / u.clone().dot(matrix.mv(v.clone()))

    def remove(self, module: Module) -> None:
        """Makes the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Replaces the parameter `name` by `name_orig`, divided by its largest singular value before each call.

    Args:
        module: what holds the parameter.
        name: its name.
        n_power_iterations: iterations per call in training.
        eps: the least norm to divide by.
        dim: the outputs' dimension: by default 1 for transposed convolutions, else 0.

    Returns:
        The module.

    Errors: ValueError for no iterations, RuntimeError if the same parameter already is normalised.
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    for other in module._forward_pre_hooks.values():
        if isinstance(other, SpectralNorm) and other.name == name:
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with no_grad():
        rows, columns = as_matrix(weight.detach(), dim).shape
        u = normalized(weight.new_empty(rows).normal_(0, 1), eps)
        v = normalized(weight.new_empty(columns).normal_(0, 1), eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Makes the weight an ordinary parameter again; returns the module. ValueError if it is not normalised."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
