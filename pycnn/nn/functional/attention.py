"""Attention: weighted means of values, the weights from products of queries and keys (Vaswani et al. 2017)."""

from __future__ import annotations

import math
import warnings
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs

_INFINITY = float("inf")


def causal_mask(rows: int, columns: int) -> Tensor:
    """(rows, columns), bool: True where column <= row."""
    return _core.arange(columns).unsqueeze(0) <= _core.arange(rows).unsqueeze(1)


@on_device_of_inputs
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value.

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, V).
        attn_mask: broadcastable to (..., L, S): bool (True takes part) or numbers that are added. A query that may
            look nowhere gets 0.
        dropout_p: the probability with which weights are dropped, also outside of training.
        is_causal: position i looks at positions 0..i; not together with `attn_mask`.
        scale: by default 1 / sqrt(E).
        enable_gqa: key and value have fewer heads (dimension -3), each shared by as many neighbouring query heads.

    Returns:
        (..., L, V), of the query's dtype.

    Errors: RuntimeError for dtypes, shapes, or a mask with `is_causal`.
    """
    for name, operand in (("query", query), ("key", key), ("value", value)):
        if operand.dim() < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but "
                f"{name} is {operand.dim()}-dimensional"
            )
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to have the same dtype, but got "
            f"query.dtype: {query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
        )
    if not query.is_floating_point():
        raise RuntimeError(f"scaled_dot_product_attention: not implemented for {query.dtype}")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if attn_mask is not None:
        if is_causal:
            raise RuntimeError("scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
        if attn_mask.dtype != _core.bool and attn_mask.dtype != query.dtype:
            raise RuntimeError(
                "scaled_dot_product_attention: Expected attn_mask dtype to be bool or to match query dtype, but got "
                f"attn_mask.dtype: {attn_mask.dtype} and query.dtype: {query.dtype} instead."
            )
    if enable_gqa:
        key, value = (_shared_heads(query, operand) for operand in (key, value))
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None and query.shape[-1] else (scale or 0.0)
    scores = (query * factor) @ key.transpose(-2, -1)
    open_to: Tensor | None = None  # which keys a query may look at
    if is_causal:
        scores = _core.where(causal_mask(query.shape[-2], key.shape[-2]), scores, -_INFINITY)
    elif attn_mask is not None:
        if attn_mask.dtype == _core.bool:
            open_to = attn_mask
            scores = _core.where(attn_mask, scores, -_INFINITY)
        else:
            open_to = attn_mask.detach() != -_INFINITY
            scores = scores + attn_mask
    if open_to is None:
        weights = _core.softmax(scores, -1)
    else:
        anywhere = open_to.any(-1, True)
        weights = _core.softmax(_core.where(anywhere, scores, 0.0), -1)
        weights = _core.where(anywhere, weights, 0.0)
    if dropout_p > 0:
        weights = _core.dropout(weights, dropout_p, True)
    return weights @ value


def _shared_heads(query: Tensor, operand: Tensor) -> Tensor:
    if query.dim() < 3 or operand.dim() < 3 or operand.shape[-3] == 0 or query.shape[-3] % operand.shape[-3]:
        raise RuntimeError(
            "scaled_dot_product_attention: Number of heads in key and value must divide the number of heads in query, "
            f"got shapes {tuple(query.shape)} and {tuple(operand.shape)}"
        )
    count = query.shape[-3] // operand.shape[-3]
    if count == 1:
        return operand
    *leading, heads, length, width = operand.shape
    shared = operand.unsqueeze(-3).expand((*leading, heads, count, length, width))
    return shared.reshape((*leading, heads * count, length, width))


@on_device_of_inputs
def additive_mask(mask: Tensor | None, name: str, dtype: Any) -> Tensor | None:
    """A mask as numbers to add: bool ones are -inf where True. RuntimeError for other dtypes."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype != _core.bool:
        raise RuntimeError(f"only bool and floating types of {name} are supported")
    return _core.zeros(tuple(mask.shape), dtype=dtype).masked_fill(mask, -_INFINITY)


def warn_of_mixed_masks(first: tuple[str, Tensor | None], second: tuple[str, Tensor | None]) -> None:
    """Warns if both masks are given and their dtypes differ."""
    if first[1] is not None and second[1] is not None and first[1].dtype != second[1].dtype:
        warnings.warn(
            f"Support for mismatched {first[0]} and {second[0]} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )


def _check_shapes(
    query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None, heads: int
) -> bool:
    """Whether there is a batch dimension. AssertionError for ranks that do not fit."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    rank = query.dim()
    kind = "batched (3-D)" if rank == 3 else "unbatched (2-D)"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
            "instead"
        )
    if rank == 2 and attn_mask is not None and attn_mask.dim() == 3:
        expected = (heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}")
    return rank == 3


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values from one weight (3E, E); one product where they have the same source."""
    width = query.shape[-1]
    if query is key and key is value:
        q, k, v = _core.linear(query, weight, bias).chunk(3, -1)
        return q, k, v
    if key is value:
        of_query, of_others = weight.split([width, 2 * width])
        biases = (None, None) if bias is None else bias.split([width, 2 * width])
        k, v = _core.linear(key, of_others, biases[1]).chunk(2, -1)
        return _core.linear(query, of_query, biases[0]), k, v
    parts = weight.chunk(3)
    three = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (_core.linear(x, w, b) for x, w, b in zip((query, key, value), parts, three, strict=True))
    return q, k, v


@on_device_of_inputs
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads with its projections: what `nn.MultiheadAttention` calls.

    Args:
        query: (L, N, E) or (L, E).
        key, value: (S, N, E) or (S, E); other widths with separate weights.
        embed_dim_to_check: E.
        num_heads: heads H; each sees E / H features.
        in_proj_weight, in_proj_bias: (3E, E) and (3E,), of queries, keys and values.
        bias_k, bias_v: (1, 1, E), one more key and value, or None.
        add_zero_attn: one more key and value of zeros.
        dropout_p: the probability with which weights are dropped in training.
        out_proj_weight, out_proj_bias: (E, E) and (E,).
        training: whether dropout drops.
        key_padding_mask: (N, S) or (S,), keys to ignore (True, or -inf).
        need_weights: whether the weights are returned too.
        attn_mask: (L, S) or (N * H, L, S), where not to look (True), or numbers that are added.
        use_separate_proj_weight: use `q_proj_weight` (E, E), `k_proj_weight` (E, kdim), `v_proj_weight` (E, vdim).
        static_k, static_v: (N * H, S, E / H), in place of the projected keys and values.
        average_attn_weights: return the mean of the heads' weights.
        is_causal: a hint that `attn_mask` is the causal one.

    Returns:
        The output, like `query`, and the weights (N, L, S), (N, H, L, S) without averaging, or None.

    Errors: AssertionError and RuntimeError for shapes that do not fit, as in PyTorch.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        alike = query is key, key is value
        query = query.unsqueeze(1)
        key = query if alike[0] else key.unsqueeze(1)
        value = key if alike[1] else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, width = query.shape
    source = key.shape[0]
    warn_of_mixed_masks(("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask))
    key_padding_mask = additive_mask(key_padding_mask, "key_padding_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        is_causal = False
        attn_mask = additive_mask(attn_mask, "attn_mask", query.dtype)
    if width != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    head = width // num_heads
    if head * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if tuple(key.shape[:2]) != tuple(value.shape[:2]):
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        for name, weight in (("q", q_proj_weight), ("k", k_proj_weight), ("v", v_proj_weight)):
            if weight is None:
                raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
        three = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        q = _core.linear(query, q_proj_weight, three[0])  # type: ignore[arg-type]
        k = _core.linear(key, k_proj_weight, three[1])  # type: ignore[arg-type]
        v = _core.linear(value, v_proj_weight, three[2])  # type: ignore[arg-type]
    else:
        if tuple(key.shape) != tuple(value.shape):
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    attn_mask = _mask_of_heads(attn_mask, length, source, batch * num_heads)
    extra = 0
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key." if static_k is not None else
                                 "bias cannot be added to static value.")  # fmt: skip
        k = _core.cat([k, bias_k.expand(1, batch, width)])
        v = _core.cat([v, bias_v.expand(1, batch, width)])
        extra += 1
    elif bias_k is not None or bias_v is not None:
        raise AssertionError(
            "bias_k is set but bias_v is None" if bias_v is None else "bias_v is set but bias_k is None"
        )
    q = _heads(q, num_heads)
    k = _heads(k, num_heads) if static_k is None else _static("static_k", static_k, batch, num_heads, head)
    v = _heads(v, num_heads) if static_v is None else _static("static_v", static_v, batch, num_heads, head)
    if add_zero_attn:
        zeros = _core.zeros((batch, num_heads, 1, head), dtype=k.dtype)
        k, v = _core.cat([k, zeros], 2), _core.cat([v, zeros], 2)
        extra += 1
    source = k.shape[2]
    if extra:
        attn_mask = None if attn_mask is None else _core.pad(attn_mask, (0, extra))
        key_padding_mask = None if key_padding_mask is None else _core.pad(key_padding_mask, (0, extra))
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, source):
            raise AssertionError(
                f"Expected key_padded_mask.shape to be ({batch}, {source}), but got {tuple(key_padding_mask.shape)}"
            )
        padding = key_padding_mask.reshape((batch, 1, 1, source))
        attn_mask = padding if attn_mask is None else _by_head(attn_mask, batch, num_heads) + padding
    elif attn_mask is not None:
        attn_mask = _by_head(attn_mask, batch, num_heads)
    if not training:
        dropout_p = 0.0
    weights: Tensor | None = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head)) @ k.transpose(-2, -1)
        weights = _core.softmax(scores if attn_mask is None else scores + attn_mask, -1)
        if dropout_p > 0:
            weights = _core.dropout(weights, dropout_p, True)
        mixed = weights @ v
        if average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            weights = weights.squeeze(0)
    else:
        mixed = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    mixed = mixed.permute(2, 0, 1, 3).reshape((length, batch, width))
    output = _core.linear(mixed, out_proj_weight, out_proj_bias)
    return output if batched else output.squeeze(1), weights


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(S, N, E) as (N, H, S, E / H)."""
    length, batch, width = projected.shape
    return projected.reshape((length, batch, heads, width // heads)).permute(1, 2, 0, 3)


def _static(name: str, given: Tensor, batch: int, heads: int, head: int) -> Tensor:
    if given.shape[0] != batch * heads:
        raise AssertionError(f"expecting {name}.size(0) of {batch * heads}, but got {given.shape[0]}")
    if given.shape[2] != head:
        raise AssertionError(f"expecting {name}.size(2) of {head}, but got {given.shape[2]}")
    return given.reshape((batch, heads, given.shape[1], head))


def _mask_of_heads(mask: Tensor | None, length: int, source: int, chains: int) -> Tensor | None:
    if mask is None:
        return None
    expected = (length, source) if mask.dim() == 2 else (chains, length, source)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {tuple(mask.shape)}, but should be {expected}."
        )
    return mask


def _by_head(mask: Tensor, batch: int, heads: int) -> Tensor:
    """(L, S) as it is, (N * H, L, S) as (N, H, L, S)."""
    return mask if mask.dim() == 2 else mask.reshape((batch, heads, *mask.shape[1:]))
