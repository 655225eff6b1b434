"""CUDA's switches."""

from __future__ import annotations

from pycnn import _core, cuda

__all__ = [
    "is_built",
    "matmul",
]


class _MatrixProducts:
    @property
    def allow_tf32(self) -> bool:
        """Whether float32 products and convolutions on GPUs may round their factors to TFloat32: False unless set."""
        return _core._get_allow_tf32()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        _core._set_allow_tf32(allowed)


matmul = _MatrixProducts()


def is_built() -> bool:
    """Whether the plug-in for GPUs is there and finds one."""
    return cuda.is_available()
