"""Helpers over parameters and their gradients."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after the other: (total,)."""
    return _core.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Sets the parameters from a vector that `parameters_to_vector` could have made. Errors: TypeError."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected pycnn.Tensor, but got: {type(vec).__name__}")
    start = 0
    with no_grad():
        for parameter in parameters:
            count = parameter.numel()
            parameter.data = vec[start : start + count].reshape(tuple(parameter.shape)).to(parameter.dtype)
            start += count


def _listed(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of all tensors together, 0-d; 0 of none.

    Args:
        tensors: usually gradients.
        norm_type: 2 for the Euclidean norm, float("inf") for the largest absolute element.
        error_if_nonfinite: raise RuntimeError if it is NaN or infinite, which must compute it.
        foreach: accepted; it is one plan anyway.
    """
    listed, order = _listed(tensors), float(norm_type)
    if not listed:
        return _core.tensor(0.0)
    total = _core.stack([tensor.norm(order) for tensor in listed]).norm(order)
    if error_if_nonfinite and not total.isfinite().item():
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiplies all gradients by min(1, max_norm / (total_norm + 1e-6)).

    Args:
        parameters: those without gradient are skipped.
        max_norm: the largest norm allowed.
        total_norm: what `get_total_norm` gave.
        foreach: accepted, without effect.
    """
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for gradient in _gradients(_listed(parameters)):
        gradient.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients down such that their joint norm is at most `max_norm`; gives the norm before.

    Args:
        parameters: those without gradient are skipped; a generator that gives none warns.
        max_norm: the largest norm allowed.
        norm_type: 2 for the Euclidean norm, float("inf") for the largest absolute element.
        error_if_nonfinite: raise RuntimeError if the norm is NaN or infinite, which must compute it.
        foreach: accepted; it is one plan anyway.
    """
    listed = _listed(parameters)
    if not listed and isinstance(parameters, types.GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", UserWarning, stacklevel=2)
    total = get_total_norm(_gradients(listed), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(listed, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters: Any, *arguments: Any, **keywords: Any) -> Tensor:
    """`clip_grad_norm_`, by the name it had once; warns."""
    warnings.warn(
        "`nn.utils.clip_grad_norm` is now deprecated in favor of `nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, *arguments, **keywords)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limits every element of every gradient to [-clip_value, clip_value]. `foreach` is accepted, without effect."""
    limit = float(clip_value)
    for gradient in _gradients(_listed(parameters)):
        gradient.clamp_(-limit, limit)
