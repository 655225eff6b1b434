"""Optimisers and learning-rate schedules."""

from pycnn._paths import add_paths
from pycnn.optim import lr_scheduler, swa_utils
from pycnn.optim.adam import Adam, Adamax, AdamW, Lion, NAdam, RAdam, SparseAdam
from pycnn.optim.adaptive import Adadelta, Adagrad, RMSprop, Rprop
from pycnn.optim.lbfgs import LBFGS
from pycnn.optim.matrix import Adafactor, Muon
from pycnn.optim.optimizer import Optimizer
from pycnn.optim.sgd import ASGD, LARS, SGD

__all__ = [
    "ASGD", "LARS", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Muon",
    "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam",
    "lr_scheduler", "swa_utils",
]  # fmt: skip

add_paths(
    __name__,
    {
        **dict.fromkeys(("adamax", "adamw", "nadam", "radam"), "optim.adam"),
        **dict.fromkeys(("adadelta", "adagrad", "rmsprop", "rprop"), "optim.adaptive"),
        "asgd": "optim.sgd",
    },
)
