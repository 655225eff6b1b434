"""Weight and spectral normalisation as parametrisations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.module import Module
from pycnn.nn.utils import parametrize
from pycnn.nn.utils.spectral_norm import as_matrix, normalized
from pycnn.nn.utils.weight_norm import norm_except, scaled_to

__all__ = ["spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return scaled_to(weight_g, weight_v, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Makes a weight g v / |v|: length (`original0`) and direction (`original1`) apart (Salimans and Kingma 2016).

    Args:
        module: what holds the weight.
        name: its name.
        dim: one length per index along this dimension; None for one length in all.

    Returns:
        The module. State dicts made with the older `nn.utils.weight_norm` load.

    Errors: ValueError if there is no such weight.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_older(self: Any, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)  # type: ignore[index, attr-defined]

    module.register_load_state_dict_pre_hook(from_older)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        rank = weight.dim()
        if not -rank <= dim < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{rank}, {rank - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % rank
        self.eps = eps
        if rank > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            rows, columns = matrix.shape
            self.register_buffer("_u", normalized(matrix.new_empty(rows).normal_(0, 1), eps))
            self.register_buffer("_v", normalized(matrix.new_empty(columns).normal_(0, 1), eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        u, v = self._u, self._v
        for _ in range(n_power_iterations):
            u = normalized(matrix.mv(v), self.eps)
            v = normalized(matrix.t().mv(u), self.eps)
        self._u.copy_(u)
        self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return normalized(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divides a weight by its largest singular value, found by power iterations in training (Miyato et al. 2018).

    Args:
        module: what holds the weight.
        name: its name.
        n_power_iterations: iterations whenever the weight is read in training.
        eps: the least norm to divide by.
        dim: the outputs' dimension: by default 1 for transposed convolutions, else 0.

    Returns:
        The module.

    Errors: ValueError if there is no such weight, or for no iterations; IndexError for `dim`.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
