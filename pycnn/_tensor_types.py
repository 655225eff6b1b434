"""Names of tensor types from before there were dtypes (`FloatTensor`, ...), and what dtypes can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor

_PREFIXES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip


class _TensorTypeMeta(type):
    dtype: Any

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        """Tensor of this type: of given values (a sequence, an array), or of a given shape and no particular values."""
        if keywords:
            raise TypeError(f"new() got an unexpected keyword argument '{next(iter(keywords))}'")
        if len(args) == 1 and isinstance(args[0], Tensor):
            if args[0].dtype != cls.dtype:
                raise TypeError(f"expected a tensor of dtype {cls.dtype} (got {args[0].dtype})")
            return args[0].detach()
        if len(args) == 1 and isinstance(args[0], _core.Size):
            return _core.empty(args[0], dtype=cls.dtype)
        if len(args) == 1 and isinstance(args[0], (Sequence, np.ndarray)):
            return _core.tensor(args[0], dtype=cls.dtype)
        return _core.empty(args, dtype=cls.dtype)


def _tensor_type(name: str, dtype: Any) -> _TensorTypeMeta:
    docs = f"Tensors of dtype {dtype}: `{name}([1, 2])` holds values, `{name}(2, 3)` only has a shape."
    return _TensorTypeMeta(name, (), {"dtype": dtype, "__doc__": docs, "__module__": "pycnn"})


TENSOR_TYPES: dict[str, Any] = {
    f"{prefix}Tensor": _tensor_type(f"{prefix}Tensor", getattr(_core, name)) for name, prefix in _PREFIXES.items()
}


def name_of(dtype: Any) -> str:
    """The name of the type of tensors of a dtype, such as "pycnn.FloatTensor"."""
    return f"pycnn.{_PREFIXES[str(dtype).rpartition('.')[2]]}Tensor"


def dtype_of(kind: Any) -> Any:
    """The dtype that a dtype, a tensor type or its name stands for. Errors: ValueError, TypeError for others."""
    if isinstance(kind, str):
        found = TENSOR_TYPES.get(kind.rpartition(".")[2])
        if found is None:
            raise ValueError(f"invalid type: '{kind}'")
        return found.dtype
    dtype = kind.dtype if isinstance(kind, _TensorTypeMeta) else kind
    if not isinstance(dtype, _core.dtype):
        raise TypeError(f"dtype must be a type, str, or dtype object, not {type(kind).__name__}")
    return dtype


def typename(obj: Any, /) -> str:
    """The name of an object's type: "pycnn.FloatTensor" for a tensor, with its module for others."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__qualname__ if kind.__module__ in ("builtins", None) else f"{kind.__module__}.{kind.__qualname__}"


def set_default_tensor_type(t: Any, /) -> None:
    """Sets the default dtype by a tensor type or its name. TypeError unless it is a floating one."""
    dtype = dtype_of(t)
    if not dtype.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _core.set_default_dtype(dtype)


class finfo:
    """The limits of a floating dtype, as Python floats.

    Args:
        type: the dtype; the default one if left out.

    Errors: TypeError for other dtypes.
    """

    _MANTISSAS = {
        "float64": (64, 52, 1023),
        "float32": (32, 23, 127),
        "float16": (16, 10, 15),
        "bfloat16": (16, 7, 127),
    }

    def __init__(self, type: Any = None) -> None:
        dtype = _core.get_default_dtype() if type is None else type
        if not isinstance(dtype, _core.dtype) or not dtype.is_floating_point:
            raise TypeError(f"finfo() requires a floating point input type. Use iinfo to handle '{dtype}'")
        self.dtype = str(dtype).rpartition(".")[2]
        self.bits, digits, exponent = self._MANTISSAS[self.dtype]
        self.eps = 2.0**-digits
        self.max = (2.0 - self.eps) * 2.0**exponent
        self.min = -self.max
        self.smallest_normal = self.tiny = 2.0 ** (1 - exponent)
        self.resolution = 10.0 ** -int(digits * np.log10(2.0))

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype.

    Args:
        type: the dtype.

    Errors: TypeError for other dtypes.
    """

    def __init__(self, type: Any) -> None:
        name = str(type).rpartition(".")[2]
        if not isinstance(type, _core.dtype) or type.is_floating_point or name == "bool":
            raise TypeError(f"iinfo() requires an integer input type. Use finfo to handle '{type}'")
        self.dtype = name
        self.bits = 8 * type.itemsize
        self.min = 0 if name.startswith("u") else -(2 ** (self.bits - 1))
        self.max = 2 ** (self.bits if name.startswith("u") else self.bits - 1) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
