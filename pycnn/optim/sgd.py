"""Gradient descent: SGD, its layer-wise scaled form LARS, and averaged SGD."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycnn.optim.optimizer import RuleOptimizer, check_implementation, check_not_negative, check_rate


def _check_momentum(lr: Any, momentum: float, dampening: float, weight_decay: Any, nesterov: bool) -> None:
    check_rate(lr)
    check_not_negative(momentum=momentum, weight_decay=weight_decay)
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("Nesterov momentum requires a momentum and zero dampening")


class SGD(RuleOptimizer):
    """Gradient descent with momentum (Polyak 1964) in the form of Sutskever et al. (2013) as PyTorch writes it.

    For gradient g and parameter p: g += weight_decay * p; v = momentum * v + (1 - dampening) * g (v = g at first);
    g = g + momentum * v with Nesterov's, else v; p -= lr * g.

    Args:
        params: parameters or groups of them.
        lr: learning rate, per step; a number or a tensor of one element.
        momentum: share of the velocity that is kept.
        dampening: share of the gradient that does not enter the velocity.
        weight_decay: factor of the L2 penalty.
        nesterov: look ahead along the velocity; needs momentum and no dampening.
        maximize: climb instead.
        foreach, fused: accepted; every step is one fused plan anyway.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "SGD"
    _absent = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        _check_momentum(lr, momentum, dampening, weight_decay, nesterov)
        check_implementation(foreach, differentiable, fused)
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


class LARS(RuleOptimizer):
    """SGD whose steps are in proportion to each parameter's norm (You et al. 2017), for large batches.

    The gradient g, after weight decay, is multiplied by trust_coefficient * |p| / (|g| + weight_decay * |p| + eps),
    with |g| before weight decay; by 1 if one of the norms is 0. Then as `SGD`. Not in PyTorch. Biases and the
    parameters of normalisation are usually given to another optimiser or a group with trust in the plain gradient.

    Args:
        params: parameters or groups of them.
        lr: the global learning rate.
        momentum, dampening, weight_decay, nesterov, maximize: as in `SGD`.
        trust_coefficient: share of its norm that a parameter moves by at lr 1.
        eps: added to the denominator.
        foreach, differentiable: as in `SGD`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "LARS"

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        momentum: float = 0.9,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        _check_momentum(lr, momentum, dampening, weight_decay, nesterov)
        check_not_negative(trust_coefficient=trust_coefficient, epsilon=eps)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)


class ASGD(RuleOptimizer):
    """SGD with a falling rate and the average of all parameters from step t0 on (Polyak and Juditsky 1992).

    p = (1 - lambd * eta) p - eta * g at step t, with eta = lr / (1 + lambd * lr * t)**alpha; the state's "ax" is the
    average, as its "mu" = 1 / max(1, t - t0) says.

    Args:
        params: parameters or groups of them.
        lr: the first learning rate.
        lambd: decay of parameters and rate.
        alpha: exponent of the rate's decay.
        t0: step from which on parameters are averaged.
        weight_decay: factor of the L2 penalty.
        maximize: climb instead.
        foreach, capturable: accepted, without effect.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "ASGD"
    _absent = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative(weight_decay=weight_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
