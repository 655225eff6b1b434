"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from pycnn.optim.lr_scheduler.base import LRScheduler, set_rate, values
from pycnn.optim.lr_scheduler.plateau import HalveOnIncrease, ReduceLROnPlateau
from pycnn.optim.optimizer import Optimizer


class _CombinedScheduler(LRScheduler):
    _unsaved = ("optimizer", "_schedulers")
    _schedulers: Sequence[Any]

    def _take(self, optimizer: Optimizer | None, schedulers: Sequence[Any], expected: str) -> None:
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} expects at least one scheduler{expected}, but got no scheduler.")
        own = optimizer or schedulers[0].optimizer
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise TypeError(f"{name} at index {i} should have `optimizer` as its attribute.")
            if isinstance(scheduler, (HalveOnIncrease, ReduceLROnPlateau)):
                raise ValueError(
                    f"{name} does not support `{type(scheduler).__name__}` scheduler as it requires additional kwargs "
                    f"to be specified when calling `step`, but got one at index {i} in the given schedulers sequence."
                )
            if scheduler.optimizer is not own:
                raise ValueError(
                    f"{name} expects all schedulers to belong to the same optimizer, but got scheduler "
                    f"{type(scheduler).__name__} at index {i} that has another one."
                )
        self._schedulers = schedulers
        self.optimizer = own

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser, with the parts' states as "_schedulers"."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_CombinedScheduler):
    """One schedule after the other.

    Args:
        optimizer: that of all of them.
        schedulers: in their order.
        milestones: the steps at which the second and later ones begin.
        last_epoch: steps already made, less 1.

    Errors: ValueError for schedules of other optimisers, of a plateau, for another number of milestones; TypeError for
        what is no schedule.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Any], milestones: list[int], last_epoch: int = -1
    ) -> None:
        self._take(optimizer, schedulers, "")
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # All of them have taken their first step; only that of the first shall count.
        for group in optimizer.param_groups:
            set_rate(group, group["initial_lr"])
        self.recursive_undo()
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched: Any = None) -> None:
        """Takes one step back in all schedules that this one is made of."""
        sched = self if sched is None else sched
        if hasattr(sched, "_schedulers"):
            for part in sched._schedulers:
                self.recursive_undo(part)
        elif hasattr(sched, "last_epoch"):
            sched.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]
        """Goes on by one."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_CombinedScheduler):
    """All schedules at once, each going on from the rate that the one before it set.

    Args:
        schedulers: in their order.
        optimizer: that of all of them.

    Errors: as `SequentialLR`.
    """

    def __init__(self, schedulers: Sequence[Any], optimizer: Optimizer | None = None) -> None:
        self._take(optimizer, schedulers, " to be chained")
        self._last_lr = values(self.optimizer)

    def step(self) -> None:  # type: ignore[override]
        """Goes on by one."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = values(self.optimizer)
