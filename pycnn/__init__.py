"""pycnn: convolutional networks on a lazily evaluated operator graph, with PyTorch's names.

`import pycnn as torch` is meant to work: tensors, functions and dtypes come from the compiled core `pycnn._core`;
submodules (`nn`, `optim`, `utils`, ...) are loaded when they are first used.
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
import sys as _sys
from typing import Any as _Any

__version__ = "0.1.0"


def _import_core() -> _Any:
    """The compiled core: beside this file, or (run from a clone without a build) in an installed pycnn."""
    try:
        return _importlib.import_module("pycnn._core")
    except ModuleNotFoundError as error:
        if error.name != "pycnn._core":
            raise
    here = _os.path.realpath(__path__[0])
    for entry in _sys.path:
        installed = _os.path.join(entry or _os.curdir, "pycnn")
        if _os.path.realpath(installed) != here and _os.path.isdir(installed):
            __path__.append(installed)
            try:
                return _importlib.import_module("pycnn._core")
            except ModuleNotFoundError:
                __path__.remove(installed)
    raise ImportError(
        f"pycnn's compiled core is missing beside {here} and no installed pycnn was found. Build and install it with "
        "`pip install .` in the repository (it needs a C++20 compiler), or leave the repository's folder if it is "
        "already installed for another Python."
    )


_import_core()
from pycnn import _core  # noqa: E402

# Tensor, every function and every dtype of the core are names of this package, but for what only its modules use.
_INTERNAL = {
    "apply_function",
    "backward",
    "eval",
    "grad",
    "gradcheck",
    "info",
    "load_safetensors",
    "save_safetensors",
    "set_inference_mode",
}
globals().update(
    {name: value for name, value in vars(_core).items() if not name.startswith("_") and name not in _INTERNAL}
)

from pycnn._tensor import install as _install_tensor_functions  # noqa: E402

_install_tensor_functions(globals())

from pycnn._capture import capture as capture  # noqa: E402
from pycnn._device import get_default_device as get_default_device  # noqa: E402
from pycnn._device import set_default_device as set_default_device  # noqa: E402
from pycnn._settings import are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled  # noqa: E402
from pycnn._settings import compile as compile  # noqa: E402
from pycnn._settings import get_float32_matmul_precision as get_float32_matmul_precision  # noqa: E402
from pycnn._settings import get_num_interop_threads as get_num_interop_threads  # noqa: E402
from pycnn._settings import is_warn_always_enabled as is_warn_always_enabled  # noqa: E402
from pycnn._settings import set_float32_matmul_precision as set_float32_matmul_precision  # noqa: E402
from pycnn._settings import set_flush_denormal as set_flush_denormal  # noqa: E402
from pycnn._settings import set_num_interop_threads as set_num_interop_threads  # noqa: E402
from pycnn._settings import set_printoptions as set_printoptions  # noqa: E402
from pycnn._settings import set_warn_always as set_warn_always  # noqa: E402
from pycnn._settings import use_deterministic_algorithms as use_deterministic_algorithms  # noqa: E402
from pycnn._summary import summary as summary  # noqa: E402
from pycnn._tensor_types import TENSOR_TYPES as _TENSOR_TYPES  # noqa: E402
from pycnn._tensor_types import finfo as finfo  # noqa: E402
from pycnn._tensor_types import iinfo as iinfo  # noqa: E402
from pycnn._tensor_types import set_default_tensor_type as set_default_tensor_type  # noqa: E402
from pycnn._tensor_types import typename as typename  # noqa: E402
from pycnn.amp import autocast as autocast  # noqa: E402
from pycnn.autograd.anomaly_mode import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled  # noqa: E402
from pycnn.autograd.anomaly_mode import is_anomaly_enabled as is_anomaly_enabled  # noqa: E402
from pycnn.autograd.anomaly_mode import set_detect_anomaly as _set_detect_anomaly  # noqa: E402
from pycnn.autograd.grad_mode import enable_grad as enable_grad  # noqa: E402
from pycnn.autograd.grad_mode import inference_mode as inference_mode  # noqa: E402
from pycnn.autograd.grad_mode import no_grad as no_grad  # noqa: E402
from pycnn.autograd.grad_mode import set_grad_enabled as set_grad_enabled  # noqa: E402
from pycnn.random import Generator as Generator  # noqa: E402
from pycnn.random import default_generator as default_generator  # noqa: E402
from pycnn.random import get_rng_state as get_rng_state  # noqa: E402
from pycnn.random import initial_seed as initial_seed  # noqa: E402
from pycnn.random import manual_seed as manual_seed  # noqa: E402
from pycnn.random import seed as seed  # noqa: E402
from pycnn.random import set_rng_state as set_rng_state  # noqa: E402
from pycnn.serialization import load as load  # noqa: E402
from pycnn.serialization import save as save  # noqa: E402

globals().update(_TENSOR_TYPES)

_SUBMODULES = (
    "accelerator",
    "amp",
    "autograd",
    "backends",
    "cli",
    "compiler",
    "cuda",
    "datasets",
    "distributed",
    "func",
    "hub",
    "jit",
    "linalg",
    "models",
    "multiprocessing",
    "nn",
    "ops",
    "optim",
    "plan",
    "profiler",
    "random",
    "serialization",
    "testing",
    "special",
    "training",
    "types",
    "utils",
    "version",
    "xpu",
)


def eval(*tensors: _Any) -> None:
    """Computes the tensors now, in one plan. Without it they are computed when somebody looks at them."""
    _core.eval(*tensors)


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switches anomaly mode: see `autograd.set_detect_anomaly`."""
    _set_detect_anomaly(mode, check_nan)


# Functions of nn.functional that are names of PyTorch's package, too.
_FUNCTIONAL = (
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "bilinear", "celu", "celu_", "channel_shuffle",
    "conv_tbc", "cosine_similarity", "group_norm", "hardshrink", "layer_norm", "max_pool1d", "max_pool2d",
    "max_pool3d", "native_channel_shuffle", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle",
    "prelu", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold", "threshold_",
)  # fmt: skip


def __getattr__(name: str) -> _Any:
    if name in _SUBMODULES:
        return _importlib.import_module(f"pycnn.{name}")
    if name == "vmap":
        return _importlib.import_module("pycnn.func").vmap
    if name in _FUNCTIONAL:
        functional = _importlib.import_module("pycnn.nn.functional")
        if hasattr(functional, name):
            return getattr(functional, name)
    raise AttributeError(f"module 'pycnn' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_FUNCTIONAL})
