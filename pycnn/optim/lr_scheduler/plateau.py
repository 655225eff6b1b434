"""Schedules that look at a measured value."""

from __future__ import annotations

import math
import warnings
from typing import Any

from pycnn.optim.lr_scheduler.base import EPOCH_WARNING, LRScheduler, check_optimizer, set_rate, values
from pycnn.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rates by `factor` when a value has not become better for more than `patience` steps.

    Args:
        optimizer: whose groups it changes.
        mode: "min" or "max": what better is.
        factor: below 1.
        patience: steps without improvement that are borne.
        threshold: the least improvement that counts,
        threshold_mode: as a share of the best value ("rel") or as it is ("abs").
        cooldown: steps after a reduction in which nothing is counted.
        min_lr: the smallest rate, or one per group.
        eps: smaller reductions are left out.

    Errors: ValueError for a factor of 1 or more, unknown modes, another number of rates than groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        check_optimizer(optimizer)
        count = len(optimizer.param_groups)
        listed = isinstance(min_lr, (list, tuple))
        if listed and len(min_lr) != count:
            raise ValueError(f"expected {count} min_lrs, got {len(min_lr)}")
        self.factor = factor
        self.optimizer = optimizer
        self.default_min_lr = None if listed else min_lr
        self.min_lrs: list[float] = list(min_lr) if listed else [min_lr] * count
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = values(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self._reset()

    def _reset(self) -> None:
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether nothing is counted now."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Looks at the value of this epoch: a number or a tensor of one element."""
        current = float(metrics)
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = values(self.optimizer)

    def _is_better(self, value: float, best: float) -> bool:
        if self.mode == "min":
            return value < (best * (1.0 - self.threshold) if self.threshold_mode == "rel" else best - self.threshold)
        return value > (best * (self.threshold + 1.0) if self.threshold_mode == "rel" else best + self.threshold)

    def _reduce_lr(self) -> None:
        count = len(self.optimizer.param_groups)
        if count != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"The number of param groups in the `optimizer` ({count}) differs from when `ReduceLROnPlateau` "
                    f"was initialized ({len(self.min_lrs)}), usually due to a new param group being added to the "
                    "optimizer. Please modify the `min_lrs` field to match the length of the `optimizer` param groups."
                )
            self.min_lrs = [self.default_min_lr] * count
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_rate(group, new)


class HalveOnIncrease(LRScheduler):
    """Halves the step when the objective does not fall: the simplest step-size rule of gradient descent.

    Each objective is compared with the one before, not with the best. Not in PyTorch; there
    `ReduceLROnPlateau(factor=0.5, patience=0, threshold=0)` compares with the best.

    Args:
        optimizer: whose groups it changes.
        factor: what the rates are multiplied by, between 0 and 1.
        min_lr: the smallest rate.

    Errors: ValueError for a factor that is not between 0 and 1.
    """

    def __init__(self, optimizer: Optimizer, factor: float = 0.5, min_lr: float = 0.0) -> None:
        check_optimizer(optimizer)
        if not 0 < factor < 1:
            raise ValueError(f"HalveOnIncrease: expected a factor between 0 and 1, got {factor}")
        self.optimizer = optimizer
        self.factor = factor
        self.min_lr = min_lr
        self.last_epoch = 0
        self.last_objective = math.inf
        self._last_lr = values(optimizer)

    def step(self, objective: Any) -> None:  # type: ignore[override]
        """Takes the objective after the optimiser's step (or epoch); NaN counts as not falling."""
        current = float(objective)
        self.last_epoch += 1
        if not current < self.last_objective:
            for group in self.optimizer.param_groups:
                rate = float(group["lr"])
                set_rate(group, min(rate, max(rate * self.factor, self.min_lr)))
        self.last_objective = current
        self._last_lr = values(self.optimizer)
