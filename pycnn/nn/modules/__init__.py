"""PyTorch's paths of layers, such as `nn.modules.batchnorm._BatchNorm`: the modules of `pycnn.nn` under its names."""

import importlib
import sys

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
for _name, _place in _PLACES.items():
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"pycnn.nn.{_place}")
globals().update({name: value for name, value in vars(sys.modules["pycnn.nn"]).items() if isinstance(value, type)})
