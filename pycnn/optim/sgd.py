"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pycnn import _capture, _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad, no_grad
from pycnn.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964) in the form of Sutskever et al. (2013) as PyTorch writes it.

    For gradient g and parameter p: g += weight_decay * p; v = momentum * v + (1 - dampening) * g (v = g at first);
    g = g + momentum * v with Nesterov's, else v; p -= lr * g.

    Args:
        params: parameters or groups of them.
        lr: learning rate, per step.
        momentum: share of the velocity that is kept.
        dampening: share of the gradient that does not enter the velocity.
        weight_decay: factor of the L2 penalty.
        nesterov: look ahead along the velocity; needs momentum and no dampening.
        maximize: climb instead.
        foreach, fused: accepted; every step is one fused plan anyway.
        differentiable: must be False.

    Errors: ValueError for arguments out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if float(lr) < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        if differentiable:
            raise NotImplementedError("SGD: differentiable=True is not available")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        All updates are one plan, which writes over parameters and velocities only in its last, uninterruptible phase:
        after an exception or Ctrl-C every one of them is whole, old or new.
        """
        if _capture.state.guards is not None:
            _capture.state.guards.append(_capture.Guard(self._options, self._option_containers))
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for hook in list(self._step_pre_hooks.values()):
            hook(self, (closure,), {})
        changed: list[Tensor] = []
        with no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        changed += self._update(parameter, group)
            _core.eval(*changed)
        for hook in list(self._step_post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> list[Tensor]:
        """Records the parameter's and its velocity's next values; returns both."""
        gradient = -parameter.grad if group["maximize"] else parameter.grad.detach()
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        changed = [parameter]
        if group["momentum"] != 0:
            state = self.state[parameter]
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = state["momentum_buffer"] = gradient.clone()
            else:
                velocity.mul_(group["momentum"]).add_(gradient, alpha=1 - group["dampening"])
            changed.append(velocity)
            gradient = gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity
        parameter.sub_(gradient, alpha=group["lr"])
        return changed
