"""Functions of the package that PyTorch has beside nn.functional's: in other words, and with more results."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import FUNCTIONS, function


def _functional() -> Any:
    # The package's modules are loaded when they are first used.
    from pycnn.nn import functional

    return functional


@function
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """The input with `value` around it, of the shape that `pad` adds to (pairs from the last dimension on).

    Arguments and errors as in PyTorch.
    """
    return _core.pad(input, list(pad), "constant", value)


@function
def convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Tensor:  # fmt: skip
    """Any of nn.functional's convolutions and transposed convolutions, by the weight's shape.

    Arguments and errors as in them.
    """
    spatial = weight.dim() - 2
    if spatial not in (1, 2, 3):
        raise RuntimeError(f"convolution: weight should have 3 to 5 dimensions, got {weight.dim()}")
    F = _functional()
    if transposed:
        call = getattr(F, f"conv_transpose{spatial}d")
        return call(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return getattr(F, f"conv{spatial}d")(input, weight, bias, stride, padding, dilation, groups)


_INTERPOLATIONS, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


@function
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """nn.functional.grid_sample with numbers for the modes, in the order of its documentation.

    Arguments, shapes and errors as in it.
    """
    F = _functional()
    return F.grid_sample(input, grid, _INTERPOLATIONS[interpolation_mode], _PADDINGS[padding_mode], align_corners)


def _with_rank(name: str, rank: int) -> None:
    def sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
        if input.dim() != rank:
            raise RuntimeError(f"{name}: expected input of {rank} dimensions, got {input.dim()}")
        return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)

    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = f"""grid_sampler of an input of shape with {rank} dimensions.

    Arguments and errors as in it.
    """
    function(sampler)


_with_rank("grid_sampler_2d", 4)
_with_rank("grid_sampler_3d", 5)


@function
def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """nn.functional.embedding with the weight first; a negative padding_idx is none.

    Arguments, shapes and errors as in it.
    """
    row = None if padding_idx < 0 else padding_idx
    return _functional().embedding(indices, weight, row, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


@function
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scales the rows of input that indices name down to a norm of max_norm, in place; of any shape of two dimensions.

    Arguments and errors as in PyTorch.
    """
    with _core_no_grad():
        rows = _core.Tensor.unique(indices.reshape(-1))
        chosen = input.index_select(0, rows)
        return input.index_copy_(0, rows, FUNCTIONS["renorm"](chosen, norm_type, 0, max_norm))


def _core_no_grad() -> Any:
    from pycnn.autograd.grad_mode import no_grad

    return no_grad()


@function
def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """nn.functional.dropout, of input's shape.

    Arguments and errors as in it.
    """
    return _functional().dropout(input, p, train)


@function
def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """nn.functional.alpha_dropout, of input's shape.

    Arguments and errors as in it.
    """
    return _functional().alpha_dropout(input, p, train)


@function
def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """nn.functional.feature_alpha_dropout, of input's shape.

    Arguments and errors as in it.
    """
    return _functional().feature_alpha_dropout(input, p, train)


def _in_place(drop: Any) -> None:
    @functools.wraps(drop)
    def changed(input: Tensor, p: float, train: bool) -> Tensor:
        return input.copy_(drop(input, p, train))

    changed.__name__ = changed.__qualname__ = drop.__name__ + "_"
    changed.__doc__ = f"""{drop.__name__} in place, of any shape. Arguments and errors as in it."""
    FUNCTIONS[changed.__name__] = changed


for _drop in (dropout, alpha_dropout, _core.feature_dropout, feature_alpha_dropout):
    _in_place(_drop)


@function
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """{input with elements dropped and the others scaled up, which were kept}, of input's shape.

    Arguments as in PyTorch. Errors: RuntimeError for p outside [0, 1] in training.
    """
    if train is False or p == 0:
        return input.clone(), _core.ones(list(input.shape), dtype=_core.bool)
    if not 0 <= p <= 1:
        raise RuntimeError(f"native_dropout: dropout probability has to be between 0 and 1, but got {p}")
    kept = _core.bernoulli(_core.full(list(input.shape), 1 - p, dtype=_core.float32)).bool()
    return input * kept * (1 / (1 - p) if p < 1 else 0), kept


def _moments(grouped: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Means and reciprocal deviations along the last dimension."""
    return grouped.mean(-1), (grouped.var(-1, correction=0) + eps).rsqrt()


@function
def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """{nn.functional.layer_norm, the means, the reciprocal deviations}; the latter with sizes of 1.

    Arguments, shapes and errors as in it.
    """
    result = _functional().layer_norm(input, list(normalized_shape), weight, bias, eps)
    outer = input.dim() - len(normalized_shape)
    mean, scale = _moments(input.detach().flatten(outer), eps)
    shape = [*input.shape[:outer], *[1] * len(normalized_shape)]
    return result, mean.reshape(shape), scale.reshape(shape)


@function
def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """{nn.functional.group_norm, the means, the reciprocal deviations}; the latter of shape (N, group).

    Arguments and errors as in it.
    """
    result = _functional().group_norm(input, group, weight, bias, eps)
    return (result, *_moments(input.reshape(N, group, C // group * HxW), eps))


@function
def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """{nn.functional.batch_norm, the batch's means, its reciprocal deviations}; the latter of shape (C,), or empty
    without training.

    Arguments and errors as in it.
    """
    F = _functional()
    result = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return result, _core.empty(0, dtype=input.dtype), _core.empty(0, dtype=input.dtype)
    return (result, *_moments(input.detach().movedim(1, 0).flatten(1), eps))


@function
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norms over all dimensions but one, which are kept with size 1; -1: over all, of shape ().

    Arguments and errors as in PyTorch.
    """
    if dim == -1:
        return v.norm(pow)
    return v.norm(pow, [d for d in range(v.dim()) if d != dim % v.dim()], keepdim=True)
