"""Helpers over parameters."""

from __future__ import annotations

from collections.abc import Iterable

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of the parameters, one after the other: (total,)."""
    return _core.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Sets the parameters from a vector that `parameters_to_vector` could have made."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected pycnn.Tensor, but got: {type(vec).__name__}")
    start = 0
    with no_grad():
        for parameter in parameters:
            count = parameter.numel()
            parameter.copy_(vec[start : start + count].reshape(tuple(parameter.shape)))
            start += count


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Scales all gradients down such that their joint norm is at most `max_norm`; gives the norm before.

    Args:
        parameters: those without gradient are skipped.
        max_norm: the largest norm allowed.
        norm_type: 2 for the Euclidean norm, float("inf") for the largest absolute element.
    """
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [parameter.grad for parameter in listed if parameter.grad is not None]
    if not gradients:
        return _core.tensor(0.0)
    with no_grad():
        if norm_type == float("inf"):
            total = _core.stack([gradient.abs().max() for gradient in gradients]).max()
        else:
            total = sum(gradient.abs().pow(norm_type).sum() for gradient in gradients) ** (1.0 / norm_type)
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limits every element of every gradient to [-clip_value, clip_value]."""
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with no_grad():
        for parameter in listed:
            if parameter.grad is not None:
                parameter.grad.clamp_(-clip_value, clip_value)
