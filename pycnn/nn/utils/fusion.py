"""Batch normalisation folded into the layer before it, for inference."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import no_grad
from pycnn.nn.parameter import Parameter

Layer = TypeVar("Layer", bound=Any)


def _scale_and_bias(
    bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, bn_weight: Tensor | None, bn_bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What the normalisation multiplies the layer's weight with, and the bias of both together."""
    scale = _core.rsqrt(variance + eps)
    if bn_weight is not None:
        scale = scale * bn_weight
    shift = (-mean if bias is None else bias - mean) * scale
    return scale, shift if bn_bias is None else shift + bn_bias


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does what a convolution and a normalisation (in evaluation) do.

    Args:
        conv_w: (O, I, k...), or (I, O, k...) with `transpose`.
        conv_b: (O,) or None.
        bn_rm, bn_rv: running mean and variance, (O,).
        bn_eps: the normalisation's eps.
        bn_w, bn_b: its weight and bias, (O,) or None.
        transpose: whether it is a transposed convolution.

    Returns:
        weight and bias, of the convolution's dtypes.
    """
    with no_grad():
        scale, bias = _scale_and_bias(conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
        ones = [1] * (conv_w.dim() - 2)
        weight = conv_w * scale.reshape([1, -1, *ones] if transpose else [-1, 1, *ones])
        bias_like = conv_w if conv_b is None else conv_b
        return (
            Parameter(weight.to(conv_w.dtype), conv_w.requires_grad),
            Parameter(bias.to(bias_like.dtype), conv_b is not None and conv_b.requires_grad),
        )


def fuse_conv_bn_eval(conv: Layer, bn: Any, transpose: bool = False) -> Layer:
    """A convolution that does what `conv` and then `bn` do in evaluation mode.

    Args:
        conv, bn: both in evaluation mode; they stay as they are.
        transpose: whether `conv` is a transposed convolution.

    Errors: AssertionError in training mode or without running statistics.
    """
    _check_mode(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight (O, I) and bias (O,) of the linear layer that does what a linear layer and a normalisation do.

    Args: as in `fuse_conv_bn_weights`.
    """
    with no_grad():
        scale, bias = _scale_and_bias(linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
        weight = linear_w * scale.unsqueeze(-1)
        bias_like = linear_w if linear_b is None else linear_b
        return (
            Parameter(weight.to(linear_w.dtype), linear_w.requires_grad),
            Parameter(bias.to(bias_like.dtype), linear_b is not None and linear_b.requires_grad),
        )


def fuse_linear_bn_eval(linear: Layer, bn: Any) -> Layer:
    """A linear layer that does what `linear` and then `bn` do in evaluation mode.

    Args: both in evaluation mode; they stay as they are.

    Errors: AssertionError in training mode, without running statistics, or if sizes differ.
    """
    _check_mode(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, "
            f"got linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        linear.weight, linear.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def _check_mode(layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
