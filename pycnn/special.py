"""torch.special: special functions, those of the package under their names there among them."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._core import digamma as digamma
from pycnn._core import digamma as psi
from pycnn._core import erf as erf
from pycnn._core import erfc as erfc
from pycnn._core import erfinv as erfinv
from pycnn._core import exp2 as exp2
from pycnn._core import expm1 as expm1
from pycnn._core import lgamma as gammaln
from pycnn._core import log1p as log1p
from pycnn._core import logsumexp as logsumexp
from pycnn._core import polygamma as polygamma
from pycnn._core import sigmoid as expit
from pycnn._core import sinc as sinc
from pycnn._core import xlogy as xlogy
from pycnn._core import zeta as zeta
from pycnn._tensor.pointwise import logit as logit
from pycnn._tensor.pointwise import mvlgamma as multigammaln
from pycnn._tensor.pointwise import round as round
from pycnn._tensor.special import entr as entr
from pycnn._tensor.special import erfcx as erfcx
from pycnn._tensor.special import i0 as i0
from pycnn._tensor.special import i0e as i0e
from pycnn._tensor.special import i1 as i1
from pycnn._tensor.special import i1e as i1e
from pycnn._tensor.special import igamma as gammainc
from pycnn._tensor.special import igammac as gammaincc
from pycnn._tensor.special import log_ndtr as log_ndtr
from pycnn._tensor.special import ndtr as ndtr
from pycnn._tensor.special import ndtri as ndtri
from pycnn._tensor.special import xlog1py as xlog1py

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """exp(input), divided by its sum along dim; input is converted to dtype first."""
    return _core.softmax(input, dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """log(softmax(input)) along dim; input is converted to dtype first."""
    return _core.log_softmax(input, dim, dtype)
