"""Model definitions, by name in `MODELS`."""

from pycnn.models.lenet import LeNet5

MODELS = {"lenet5": LeNet5}

__all__ = ["MODELS", "LeNet5"]
