"""Modules made without initial values, and layouts of convolution weights."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from pycnn._device import as_device
from pycnn.nn import init
from pycnn.nn.module import Module

M = TypeVar("M", bound=Module)


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """A module of this class and arguments whose parameters are not initialised.

    Errors: RuntimeError for what is no module class or takes no `device`.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    as_device(kwargs.get("device"))
    with init.skipped():
        return module_cls(*args, **kwargs)


def convert_conv2d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module: weights lie as the kernels like them anyway."""
    return module


def convert_conv3d_weight_memory_format(module: M, memory_format: Any) -> M:
    """The module: weights lie as the kernels like them anyway."""
    return module
