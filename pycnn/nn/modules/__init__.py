"""PyTorch's paths of layers, such as `nn.modules.batchnorm._BatchNorm`: the modules of `pycnn.nn` under its names."""

import sys as _sys

from pycnn._paths import add_paths
from pycnn.nn.modules import utils as utils

#: PyTorch's module: the one of `pycnn.nn` that has its layers.
_PLACES = {
    "adaptive": "adaptive",
    "activation": "activation",
    "batchnorm": "normalization",
    "channelshuffle": "resampling",
    "container": "container",
    "conv": "conv",
    "distance": "activation",
    "dropout": "dropout",
    "flatten": "linear",
    "fold": "resampling",
    "instancenorm": "normalization",
    "lazy": "lazy",
    "linear": "linear",
    "loss": "loss",
    "module": "module",
    "normalization": "normalization",
    "padding": "padding",
    "pixelshuffle": "resampling",
    "pooling": "pooling",
    "rnn": "rnn",
    "sparse": "sparse",
    "transformer": "transformer",
    "upsampling": "resampling",
}
add_paths(__name__, {name: f"nn.{place}" for name, place in _PLACES.items()})
globals().update(
    {
        name: value
        for name, value in vars(_sys.modules["pycnn.nn"]).items()
        if isinstance(value, type) and value.__module__.startswith("pycnn.")
    }
)
