"""Schedules of the learning rate, with PyTorch's recurrences, so that the values are the same bits."""

from __future__ import annotations

import math
from typing import Any

from pycnn.optim.optimizer import Optimizer


class LRScheduler:
    """Sets every group's "lr" at construction and at each `step()`.

    Args:
        optimizer: whose groups it changes.
        last_epoch: steps already made; -1 starts anew, anything else needs "initial_lr" in every group.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    f"last_epoch >= 0"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._step_count = 0
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """The next learning rate of every group, from the present ones."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group since the last step."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Goes on by one, after the optimiser's steps of an epoch (or batch)."""
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            rates = self._get_closed_form_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def _get_closed_form_lr(self) -> list[float]:
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """Multiplies the learning rate by `gamma` after every `step_size` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factor = 1.0 if self.last_epoch == 0 or self.last_epoch % self.step_size != 0 else self.gamma
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _get_closed_form_lr(self) -> list[float]:
        return [rate * self.gamma ** (self.last_epoch // self.step_size) for rate in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2 at step t (Loshchilov and Hutter 2017, without restarts).

    Args:
        optimizer: whose groups it changes.
        T_max: steps from the largest to the smallest rate.
        eta_min: the smallest rate.
        last_epoch: as in `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, T_max: float, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step, period, low = self.last_epoch, self.T_max, self.eta_min
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if step == 0:
            return rates
        if self._step_count == 1:
            return self._get_closed_form_lr()
        if (step - 1 - period) % (2 * period) == 0:
            return [
                rate + (base - low) * (1 - math.cos(math.pi / period)) / 2
                for base, rate in zip(self.base_lrs, rates, strict=True)
            ]
        now, before = 1 + math.cos(math.pi * step / period), 1 + math.cos(math.pi * (step - 1) / period)
        return [now / before * (rate - low) + low for rate in rates]

    def _get_closed_form_lr(self) -> list[float]:
        return [
            self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
            for base in self.base_lrs
        ]
