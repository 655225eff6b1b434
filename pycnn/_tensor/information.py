"""What is asked about tensors rather than computed."""

from __future__ import annotations

import math
from typing import Any

from pycnn._core import Tensor
from pycnn._tensor.registry import both, everywhere, function, method


class layout:
    """How elements are kept; there is only `strided`."""

    def __repr__(self) -> str:
        return "pycnn.strided"


strided = layout()


@function
def is_storage(obj: Any) -> bool:
    """False: storages are not visible. Arguments as in PyTorch."""
    return False


@both
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers, any shape.

    Arguments as in PyTorch.
    """
    return input.dtype.is_signed


@both
def is_conj(input: Tensor) -> bool:
    """False: numbers are real. Arguments as in PyTorch."""
    return False


@both
def is_neg(input: Tensor) -> bool:
    """False: a negated tensor is no view. Arguments as in PyTorch."""
    return False


@both
def conj(input: Tensor) -> Tensor:
    """The tensor itself, of any shape: numbers are real.

    Arguments as in PyTorch.
    """
    return input


@everywhere
def conj_physical(input: Tensor) -> Tensor:
    """The tensor itself, of any shape: numbers are real.

    Arguments as in PyTorch.
    """
    return input


@both
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself, of any shape: numbers are real.

    Arguments as in PyTorch.
    """
    return input


@both
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself, of any shape.

    Arguments as in PyTorch.
    """
    return input


@method
def is_shared(self: Tensor) -> bool:
    """True: self, like every tensor, can be sent to another process."""
    return True


@method
def share_memory_(self: Tensor) -> Tensor:
    """self: every tensor, of any shape, can be sent to another process."""
    return self


def _no(self: Tensor) -> bool:
    return False


def _grad_fn(self: Tensor) -> Any:
    from pycnn.autograd.graph import grad_fn

    return grad_fn(self)


PROPERTIES: dict[str, Any] = {
    "grad_fn": property(_grad_fn, doc="The operator that made it, a `pycnn.autograd.graph.Node`, or None for leaves."),
    "is_cpu": property(lambda self: True, doc="True."),
    "real": property(lambda self: self, doc="self: numbers are real."),
    "layout": property(lambda self: strided, doc="pycnn.strided"),
    **{
        name: property(_no, doc="False.")
        for name in ("is_meta", "is_nested", "is_mps", "is_xla", "is_xpu", "is_maia", "is_mtia")
    },
    "H": property(lambda self: _matrix(self).t(), doc="A matrix, of shape (N, M), transposed. RuntimeError else."),
    "mH": property(lambda self: self.mT, doc="Matrices, of shape (..., N, M), transposed."),
}


def _matrix(tensor: Tensor) -> Tensor:
    if tensor.dim() not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {tensor.dim()}-D tensor.")
    return tensor


VALUES: dict[str, Any] = {
    "layout": layout, "strided": strided, "e": math.e, "pi": math.pi, "inf": math.inf, "nan": math.nan, "newaxis": None,
}  # fmt: skip
