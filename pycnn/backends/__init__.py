"""Switches of other libraries' kernels that scripts set in passing. None of them changes a result here."""

from pycnn.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
