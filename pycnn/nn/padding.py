"""Padding over 1, 2 and 3 dimensions."""

from __future__ import annotations

from typing import Any

from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn.module import Module


class _Pad(Module):
    """`padding` is an integer for all sides or (left, right, top, bottom, front, back), negative ones crop."""

    _dimensions: int
    _mode: str
    _value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        sides = 2 * self._dimensions
        self.padding = (padding,) * sides if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode, self._value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_Pad):
    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = self._value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads the last dimension with `value`; see `functional.pad`."""

    _dimensions = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads the last two dimensions with `value`; see `functional.pad`."""

    _dimensions = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads the last three dimensions with `value`; see `functional.pad`."""

    _dimensions = 3


class ZeroPad1d(_Pad):
    """Zeros around the sides of (N, C, L); see `functional.pad`."""

    _dimensions = 1
    _mode = "constant"


class ZeroPad2d(_Pad):
    """Zeros around the sides of (N, C, H, W); see `functional.pad`."""

    _dimensions = 2
    _mode = "constant"


class ZeroPad3d(_Pad):
    """Zeros around the sides of (N, C, D, H, W); see `functional.pad`."""

    _dimensions = 3
    _mode = "constant"


class ReflectionPad1d(_Pad):
    """The elements beside the border, mirrored, around the sides of (N, C, L); see `functional.pad`."""

    _dimensions = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """The elements beside the border, mirrored, around the sides of (N, C, H, W); see `functional.pad`."""

    _dimensions = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """The elements beside the border, mirrored, around the sides of (N, C, D, H, W); see `functional.pad`."""

    _dimensions = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """The elements at the border, repeated, around the sides of (N, C, L); see `functional.pad`."""

    _dimensions = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """The elements at the border, repeated, around the sides of (N, C, H, W); see `functional.pad`."""

    _dimensions = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """The elements at the border, repeated, around the sides of (N, C, D, H, W); see `functional.pad`."""

    _dimensions = 3
    _mode = "replicate"


class _CircularPadNd(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        ranks = (self._dimensions + 1, self._dimensions + 2)
        if input.dim() not in ranks:
            raise ValueError(f"expected {ranks[0]}D or {ranks[1]}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """The elements of the other side around the sides of (N, C, L); see `functional.pad`."""

    _dimensions = 1


class CircularPad2d(_CircularPadNd):
    """The elements of the other side around the sides of (N, C, H, W); see `functional.pad`."""

    _dimensions = 2


class CircularPad3d(_CircularPadNd):
    """The elements of the other side around the sides of (N, C, D, H, W); see `functional.pad`."""

    _dimensions = 3
