"""Optimisers and learning-rate schedules."""

from pycnn.optim import lr_scheduler
from pycnn.optim.optimizer import Optimizer
from pycnn.optim.sgd import SGD

__all__ = ["SGD", "Optimizer", "lr_scheduler"]
