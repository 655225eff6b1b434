"""Linear layers and layers that only reshape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device
from pycnn.nn import functional as F
from pycnn.nn import init
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter


def uninitialized(shape: tuple[int, ...], device: Any, dtype: Any) -> Parameter:
    """A parameter whose values `reset_parameters` will set."""
    device = as_device(device)
    negative = [size for size in shape if size < 0]
    if negative:
        raise RuntimeError(
            f"a parameter of shape {shape}: Trying to create tensor with negative dimension {negative[0]}"
        )
    on_cpu = (device or _core._get_creation_device()).type == "cpu"
    if init.is_skipped() and on_cpu and dtype is None and _core.get_default_dtype() == _core.float32:
        virtual = np.empty(shape, np.float32)  # the operating system gives it no memory until somebody writes
        virtual.setflags(write=False)
        return Parameter(_core.from_numpy(virtual))
    return Parameter(_core.empty(shape, dtype=dtype, device=device))


def draw_from_fan_in(weight: Parameter, bias: Parameter | None) -> None:
    """Draws both uniformly from +-1/sqrt(fan_in), PyTorch's rule for linear layers and convolutions."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init._calculate_fan_in_and_fan_out(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        init.uniform_(bias, -bound, bound)


class Identity(Module):
    """Gives its input, of any shape; takes and forgets any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """input @ weight.T + bias: (..., in_features) to (..., out_features).

    Weight and bias are drawn uniformly from +-1/sqrt(in_features), PyTorch's rule.

    Args:
        in_features, out_features: I and O.
        bias: whether there is a bias (O,).
        device, dtype: of the parameters `weight` (O, I) and `bias`.

    Errors: those of `functional.linear`.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = uninitialized((out_features, in_features), device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", uninitialized((out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        draw_from_fan_in(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """input1 @ weight[o] @ input2 + bias[o]: (..., I1) and (..., I2) to (..., O).

    Weight and bias are drawn uniformly from +-1/sqrt(in1_features).

    Args:
        in1_features, in2_features, out_features: I1, I2 and O.
        bias: whether there is a bias (O,).
        device, dtype: of the parameters `weight` (O, I1, I2) and `bias`.

    Errors: ValueError for in1_features <= 0; those of `functional.bilinear`.
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = uninitialized((out_features, in1_features, in2_features), device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", uninitialized((out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Module):
    """Makes dimensions start_dim..end_dim one: (N, C, H, W) to (N, C*H*W) by default."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Makes dimension `dim` several, of sizes `unflattened_size` (one may be -1)."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int):
            raise TypeError("unflattened_size must be given with an integer dim; named dimensions are not supported")
        for position, size in enumerate(unflattened_size):
            if not hasattr(size, "__index__"):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(size).__name__} at pos {position}"
                )
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        if not -input.dim() <= self.dim < input.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-input.dim()}, {input.dim() - 1}], "
                f"but got {self.dim})"
            )
        dim = self.dim % input.dim()
        shape = tuple(input.shape)
        return input.reshape((*shape[:dim], *self.unflattened_size, *shape[dim + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
