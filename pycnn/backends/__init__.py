"""Switches of other libraries' kernels that scripts set in passing. None of them changes a result here."""

from pycnn.backends import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
