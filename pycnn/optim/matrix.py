"""Optimisers that treat a parameter as a matrix: Adafactor and Muon. Tensor operations, recorded as one plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad, no_grad
from pycnn.optim.optimizer import Optimizer, _scalar_dtype

#: Distance from 1 to the next number.
_EPSILON = {_core.float64: 2.0**-52, _core.float32: 2.0**-23, _core.float16: 2.0**-10, _core.bfloat16: 2.0**-7}


def _check_rate(lr: Any) -> None:
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Learning rate should be >= 0 but is: {lr}")


class _TensorOptimizer(Optimizer):
    """Updates one parameter after the other."""

    def _update(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        raise NotImplementedError

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; gives the closure's value, which is computed first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(group, parameter, parameter.grad, self.state[parameter])
        return loss


def _rate(group: dict[str, Any]) -> Any:
    lr = group["lr"]
    return lr.reshape(()) if isinstance(lr, Tensor) else lr


class Adafactor(_TensorOptimizer):
    """Adam's second moments in the memory of a row and a column (Shazeer and Stern 2018), as PyTorch writes it.

    With w = t**beta2_decay at step t: row and column means of g² move by w towards those of this gradient, and
    v = row column / mean(row) (a vector keeps v itself); u = g / sqrt(max(v, eps1²));
    p -= max(eps2, rms(p)) * min(lr, 1 / sqrt(t)) * u / max(1, rms(u) / d).

    Args:
        params: parameters or groups of them.
        lr: the largest relative step; a number or a tensor of one element.
        beta2_decay: exponent of the means' decay, at most 0.
        eps: least root of v (None: the dtype's epsilon), least rms of a parameter.
        d: larger steps u are clipped to this rms; at least 1.
        weight_decay: p shrinks by 1 - lr * weight_decay first.
        foreach: accepted, without effect.
        maximize: climb instead.

    Errors: ValueError for arguments out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        _check_rate(lr)
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        gradient = -gradient if group["maximize"] else gradient
        shape = list(parameter.shape)
        if not state:
            state["step"] = _core.zeros((), dtype=_scalar_dtype())
            if gradient.dim() > 1:
                state["row_var"] = _core.zeros([*shape[:-1], 1], dtype=gradient.dtype)
                state["col_var"] = _core.zeros([*shape[:-2], 1, shape[-1]], dtype=gradient.dtype)
            else:
                state["variance"] = _core.zeros_like(gradient)
        state["step"] += 1
        step = state["step"].to(_core.float64)
        least, least_size = group["eps"]
        least = _EPSILON[parameter.dtype] if least is None else least
        root_count = parameter.numel() ** 0.5
        size = (parameter.norm().to(_core.float64) / root_count).clamp(min=least_size)
        rate = size * (step**-0.5).clamp(max=_rate(group))
        if group["weight_decay"] != 0:
            parameter.mul_(1 - _rate(group) * group["weight_decay"])
        weight = step ** group["beta2_decay"]
        if gradient.dim() > 1:
            row = self._mean(state, "row_var", gradient, -1, weight)
            column = self._mean(state, "col_var", gradient, -2, weight)
            variance = row @ column / row.mean(-2, keepdim=True).clamp(min=least)
        else:
            variance = state["variance"] + weight * (gradient * gradient - state["variance"])
            state["variance"].copy_(variance)
        update = variance.clamp(min=least * least).rsqrt() * gradient
        excess = (update.norm().to(_core.float64) / (root_count * group["d"])).clamp(min=1.0)
        parameter.sub_(update * (rate / excess))

    @staticmethod
    def _mean(state: dict[str, Any], name: str, gradient: Tensor, dim: int, weight: Tensor) -> Tensor:
        new = gradient.norm(2, dim=dim, keepdim=True).square() / gradient.size(dim)
        mean: Tensor = state[name] + weight * (new - state[name])
        state[name].copy_(mean)
        return mean


class Muon(_TensorOptimizer):
    """Momentum whose matrix is made nearly orthogonal (Jordan et al. 2024): for the weights of hidden linear layers.

    m += (1 - momentum) (g - m); u = the orthogonal factor of m (Nesterov: of g + momentum (m - g)) by ns_steps
    Newton-Schulz iterations in bfloat16; p *= 1 - lr * weight_decay; p -= adjusted lr * u.

    Args:
        params: 2-D parameters or groups of them.
        lr: learning rate.
        weight_decay: as in `AdamW`.
        momentum: share of the mean that is kept.
        nesterov: look ahead.
        ns_coefficients: three coefficients of the iteration.
        eps: least norm of the matrix.
        ns_steps: iterations, below 100.
        adjust_lr_fn: "original" (or None): lr * sqrt(max(1, rows / columns)); "match_rms_adamw": lr * 0.2 *
            sqrt(max(rows, columns)), for rates that were tuned for AdamW.

    Errors: ValueError for arguments out of range and parameters that are no matrices.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        _check_rate(lr)
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {parameter.shape}"
                    )

    def _update(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor, state: dict[str, Any]) -> None:
        mean = state.setdefault("momentum_buffer", _core.zeros_like(gradient))
        mean.lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(mean, group["momentum"]) if group["nesterov"] else mean
        rows, columns = parameter.shape
        ratio = math.sqrt(max(1, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        update = _orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parameter.mul_(1 - _rate(group) * group["weight_decay"])
        parameter.sub_(update.to(parameter.dtype) * (_rate(group) * ratio))


def _orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Singular values brought near 1 by a quintic iteration: x = a x + (b x xᵀ + c (x xᵀ)²) x.

    Of bfloat16 numbers, with each of the three terms rounded once, as PyTorch's addmm does.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]

    def rounded(value: Tensor) -> Tensor:
        return value.to(_core.bfloat16).to(_core.float32)

    x = rounded(matrix.t() if tall else matrix)
    x = rounded(x / rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = rounded(x @ x.t())
        x = rounded(a * x + rounded(b * gram + c * (gram @ gram)) @ x)
    return x.t() if tall else x
