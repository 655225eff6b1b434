"""Wrappers that spread a model over devices: there is one, which computes on all its cores by itself."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn._paths import add_paths
from pycnn.nn.module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


class DataParallel(Module):
    """Calls `module`, with tensors of any shape; its parameters are found under "module." in state dicts.

    Args:
        module: what is called.
        device_ids, output_device, dim: accepted; without GPUs they have no meaning.
    """

    def __init__(self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Tensor:
        return self.module(*inputs, **kwargs)  # type: ignore[no-any-return]


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """Calls `module`, with tensors of any shape.

    Args:
        module: what is called.
        inputs: a tuple of arguments, or the only one.
        device_ids, output_device, dim: accepted; without GPUs they have no meaning.
        module_kwargs: arguments by name.
    """
    arguments = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*arguments, **(module_kwargs or {}))  # type: ignore[no-any-return]


class DistributedDataParallel(Module):
    """Trains together with other processes, of which there are none here.

    Errors: ValueError when it is made, as in PyTorch without a process group.
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call init_process_group: "
            "pycnn trains in one process"
        )


add_paths(__name__, dict.fromkeys(("data_parallel", "distributed"), "nn.parallel"))
