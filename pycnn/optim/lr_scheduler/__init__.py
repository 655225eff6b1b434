"""Schedules of the learning rate, with PyTorch's recurrences, so that the values are the same bits."""

from pycnn.optim.lr_scheduler.base import LRScheduler
from pycnn.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from pycnn.optim.lr_scheduler.cyclic import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from pycnn.optim.lr_scheduler.decay import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from pycnn.optim.lr_scheduler.plateau import HalveOnIncrease, ReduceLROnPlateau

#: The name it had in PyTorch before 2.0.
_LRScheduler = LRScheduler

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "HalveOnIncrease", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR",
    "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
