"""Optimisers with a rate per element: Adagrad, Adadelta, RMSprop, Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycnn import _core
from pycnn.optim.optimizer import RuleOptimizer, _scalar_dtype, check_implementation, check_not_negative, check_rate

_COMMON = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}


class Adagrad(RuleOptimizer):
    """Rates that fall with the sum of all squared gradients (Duchi et al. 2011).

    For gradient g and parameter p at step t: g += weight_decay * p; s += g²;
    p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps).

    Args:
        params: parameters or groups of them.
        lr: learning rate; a number or a tensor of one element.
        lr_decay: how fast the common rate falls.
        weight_decay: factor of the L2 penalty.
        initial_accumulator_value: s at the start.
        eps: added to the denominator.
        foreach, fused: accepted; every step is one fused plan anyway.
        maximize: climb instead.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Adagrad"
    _absent = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_rate(lr)
        check_not_negative(
            lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value,
            epsilon=eps,
        )  # fmt: skip
        check_implementation(foreach, differentiable, fused)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {
                    "step": _core.zeros((), dtype=_scalar_dtype()),
                    "sum": _core.full_like(parameter.detach(), initial_accumulator_value),
                }

    def share_memory(self) -> None:
        """Does nothing: state that another process changes is not seen here."""


class Adadelta(RuleOptimizer):
    """Rates by the ratio of past steps to past gradients (Zeiler 2012).

    v = rho * v + (1 - rho) * g²; d = sqrt(u + eps) / sqrt(v + eps) * g; u = rho * u + (1 - rho) * d²; p -= lr * d.

    Args:
        params: parameters or groups of them.
        lr: factor of the steps; a number or a tensor of one element.
        rho: share that the running means keep.
        eps: added under the roots.
        weight_decay: factor of the L2 penalty.
        foreach, capturable: accepted, without effect.
        maximize: climb instead.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Adadelta"
    _absent = _COMMON

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative(epsilon=eps, weight_decay=weight_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)


class RMSprop(RuleOptimizer):
    """Gradients over their running root mean square (Tieleman and Hinton 2012), `centered` as Graves (2013) has it.

    v = alpha * v + (1 - alpha) * g², less the square of g's running mean if centered; d = g / (sqrt(v) + eps);
    with momentum b = momentum * b + d in its place; p -= lr * d.

    Args:
        params: parameters or groups of them.
        lr: learning rate; a number or a tensor of one element.
        alpha: share that the running mean keeps.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty.
        momentum: share of the velocity that is kept.
        centered: divide by the deviation instead of the root mean square.
        capturable, foreach: accepted, without effect.
        maximize: climb instead.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "RMSprop"
    _absent = {**_COMMON, "momentum": 0, "centered": False}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        check_not_negative(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)


class Rprop(RuleOptimizer):
    """Steps of their own per element, by the gradient's sign alone (Riedmiller and Braun 1993).

    A step grows by etas[1] while the sign stays, shrinks by etas[0] and is left out once when it turns.

    Args:
        params: parameters or groups of them.
        lr: the first step of every element; a number or a tensor of one element.
        etas: factors of shrinking and growing, in 0..1 and above 1.
        step_sizes: the smallest and largest step.
        capturable, foreach: accepted, without effect.
        maximize: climb instead.
        differentiable: accepted; with True, steps raise NotImplementedError.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Rprop"
    _absent = _COMMON

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)
