"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pycnn import _capture, _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad
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
        for group in self.param_groups:
            changed += self._record(group)
        _core.eval(changed)
        for hook in list(self._step_post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def _record(self, group: dict[str, Any]) -> list[Tensor]:
        """Records the next values of a group's parameters and velocities; returns all of them."""
        parameters = group["params"]
        velocities: list[Any] = [None] * len(parameters)
        if group["momentum"] != 0:
            state = self.state
            velocities = [state[p].get("momentum_buffer") if p in state else None for p in parameters]
        made = _core._sgd_step(
            parameters,
            velocities,
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            group["maximize"],
        )
        for i, velocity in made.items():
            self.state[parameters[i]]["momentum_buffer"] = velocities[i] = velocity
        return parameters + [velocity for velocity in velocities if velocity is not None]
