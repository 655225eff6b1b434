"""Adam and its kin: steps from running means of the gradient and of its magnitude."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad
from pycnn.optim.optimizer import (
    Optimizer,
    RuleOptimizer,
    check_betas,
    check_implementation,
    check_not_negative,
    check_rate,
)


def _check(lr: Any, betas: Any, eps: float, weight_decay: float) -> None:
    check_rate(lr)
    check_not_negative(epsilon=eps)
    check_betas(betas)
    check_not_negative(weight_decay=weight_decay)


class Adam(RuleOptimizer):
    """Adam (Kingma and Ba 2015); with `amsgrad` the form of Reddi et al. (2018).

    For gradient g and parameter p at step t: g += weight_decay * p; m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g²; p -= lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps).

    Args:
        params: parameters or groups of them.
        lr: learning rate, per step; a number or a tensor of one element.
        betas: shares that the running means of g and g² keep; two numbers, or two tensors of one element.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty.
        amsgrad: divide by the largest v so far.
        foreach, capturable, fused: accepted; every step is one fused plan anyway.
        maximize: climb instead.
        differentiable: accepted; with True, steps raise NotImplementedError.
        decoupled_weight_decay: shrink p by 1 - lr * weight_decay instead of adding to g, as `AdamW`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Adam"
    _absent = {  # noqa: RUF012
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        _check(lr, betas, eps, weight_decay)
        if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, Tensor)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i in (0, 1):
            if not isinstance(betas[i], Tensor):
                continue
            if foreach and not capturable:
                raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            if betas[i].numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
        check_implementation(foreach, differentiable, fused)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p *= 1 - lr * weight_decay, then as `Adam`.

    Args: those of `Adam`, with another weight_decay and without decoupled_weight_decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


class Adamax(RuleOptimizer):
    """Adam by the largest magnitude (Kingma and Ba 2015, section 7.1).

    m as in `Adam`; u = max(beta2 * u, |g| + eps); p -= lr / (1 - beta1**t) * m / u.

    Args: params, lr, betas, eps, weight_decay, foreach, maximize, differentiable and capturable as in `Adam`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Adamax"
    _absent = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)


class NAdam(RuleOptimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    With mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2) and M_t the product of mu_1 … mu_t, and m, v as in `Adam`:
    p -= lr * ((1 - mu_t) / (1 - M_t) * g + mu_(t+1) / (1 - M_(t+1)) * m) / (sqrt(v / (1 - beta2**t)) + eps).

    Args:
        momentum_decay: how fast the momentum grows.
        params, lr, betas, eps, weight_decay, decoupled_weight_decay, foreach, maximize, capturable, differentiable:
            as in `Adam`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "NAdam"
    _absent = {  # noqa: RUF012
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        check_not_negative(momentum_decay=momentum_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)


class RAdam(RuleOptimizer):
    """Adam that adapts only once its variance is tractable (Liu et al. 2020).

    With rho = 2 / (1 - beta2) - 1 and r = rho - 2 t beta2**t / (1 - beta2**t): where r > 5, Adam's step times
    sqrt((r - 4) (r - 2) rho / ((rho - 4) (rho - 2) r)), else p -= lr * m / (1 - beta1**t).

    Args: params, lr, betas, eps, weight_decay, decoupled_weight_decay, foreach, maximize, capturable and
        differentiable as in `Adam`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "RAdam"
    _absent = NAdam._absent

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check(lr, betas, eps, weight_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)


class SparseAdam(Optimizer):
    """Adam for sparse gradients, of which there are none here: with dense ones its steps raise, as PyTorch's do.

    Args:
        params, betas, eps, maximize: as for `Adam`.
        lr: learning rate, above 0.

    Errors: ValueError for arguments out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Calls the closure and gives its value back. RuntimeError if a parameter has a gradient: it is dense."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if any(parameter.grad is not None for group in self.param_groups for parameter in group["params"]):
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        return loss


class Lion(RuleOptimizer):
    """Steps of equal size by the sign of a running mean (Chen et al. 2023). Not in PyTorch.

    p *= 1 - lr * weight_decay; p -= lr * sign(beta1 * m + (1 - beta1) * g); m = beta2 * m + (1 - beta2) * g.

    Args:
        betas: shares of the mean in the step, and of the mean that is kept.
        weight_decay: decoupled, as in `AdamW`.
        params, lr, maximize, foreach, differentiable: as in `Adam`.

    Errors: ValueError for arguments out of range.
    """

    _rule = "Lion"

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        _check(lr, betas, 0, weight_decay)
        check_implementation(foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)
