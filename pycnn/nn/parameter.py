"""Tensors that a module owns: parameters, which an optimiser changes, and buffers, which only the module changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device


def _own_value(data: Tensor | None, requires_grad: bool) -> Tensor:
    """The value of `data`, computed now, under a handle of its own: neither graph nor later changes are shared."""
    if data is not None and not isinstance(data, Tensor):
        raise TypeError(f"Parameter and Buffer hold a Tensor, got {type(data).__name__}")
    value = _core.empty((0,)) if data is None else data
    _core.eval(value)
    return Tensor._make_subclass(Tensor, value, requires_grad)


class Parameter(Tensor):
    """A leaf tensor that `Module` registers on assignment and hands out through `parameters()`.

    Args:
        data: the initial value; any shape, any dtype (a floating one if it requires grad).
        requires_grad: whether `backward()` fills `.grad`.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__(_own_value(data, requires_grad))

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that `Module` registers as a buffer on assignment: part of its state, but not optimised.

    Args:
        data: the initial value; any shape and dtype.
        persistent: whether `state_dict()` contains it.
    """

    persistent: bool

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        super().__init__(_own_value(data, False))
        self.persistent = persistent


class _Uninitialized(Tensor):
    """What parameters and buffers without a shape share. They are replaced by ordinary tensors in `materialize`."""

    _becomes: type[Tensor] = Tensor

    def __init__(self, requires_grad: bool, device: Any, dtype: Any) -> None:
        empty = _core.empty((0,), dtype=dtype, device=as_device(device))
        Tensor.__init__(self, _own_value(empty, requires_grad))

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Gives it a shape, zeros, and the class of an ordinary parameter or buffer."""
        device = self.device if device is None else as_device(device)
        value = _core.empty(tuple(shape), dtype=self.dtype if dtype is None else dtype, device=device)
        _core.eval(value)
        self.data = value
        self.__class__ = self._becomes  # type: ignore[assignment]

    @property
    def shape(self) -> Any:
        """Not there yet. Errors: RuntimeError, always."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def share_memory_(self) -> Any:
        """Nothing to share yet. Errors: RuntimeError, always."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, None, self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (type(self), (self.requires_grad, None, self.dtype))


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(self: _Uninitialized, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"Attempted to use an uninitialized parameter in Tensor.{name}. This error happens when you are using a "
            "`LazyModule` or explicitly manipulating `pycnn.nn.parameter.UninitializedParameter` objects. When using "
            "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )

    return refuse


# What needs no value stays: conversions, and what Python and modules ask of any tensor.
_ALLOWED = {
    "bfloat16", "char", "copy_", "cpu", "cuda", "double", "float", "get_device", "half", "int", "is_complex",
    "is_floating_point", "long", "short", "size", "to",
    "__class__", "__class_getitem__", "__dir__", "__format__", "__getattribute__", "__getstate__", "__hash__",
    "__init__", "__init_subclass__", "__new__", "__setstate__", "__str__", "__subclasshook__",
}  # fmt: skip
for _name, _value in vars(Tensor).items():
    if callable(_value) and not (_name in _ALLOWED or _name in vars(_Uninitialized) or _name.startswith("_make")):
        setattr(_Uninitialized, _name, _refusing(_name))


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet: what lazy layers have before their first input.

    Args:
        requires_grad: whether `backward()` will fill `.grad`.
        device, dtype: of the parameter that it becomes.

    Errors: RuntimeError for its shape; ValueError where a function is called with it.
    """

    _becomes = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        _Uninitialized.__init__(self, requires_grad, device, dtype)


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape is not known yet: what lazy layers have before their first input.

    Args:
        requires_grad: as for a tensor.
        device, dtype: of the buffer that it becomes.
        persistent: whether `state_dict()` contains it.
    """

    _becomes = Buffer
    persistent: bool

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        _Uninitialized.__init__(self, requires_grad, device, dtype)
        self.persistent = persistent


def is_lazy(param: Any) -> bool:
    """Whether it is an UninitializedParameter or UninitializedBuffer."""
    return isinstance(param, _Uninitialized)
