"""What needs an order: the k largest, medians, quantiles, distinct elements, places in sorted boundaries."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor
from pycnn._tensor.registry import both, function, normalized

_TYPES: dict[str, Any] = {
    name: collections.namedtuple(name, ("values", "indices"))
    for name in ("topk", "kthvalue", "median", "nanmedian", "mode")
}


def _finished(name: str, values: Tensor, indices: Tensor, d: int, keepdim: bool) -> Any:
    if not keepdim and values.dim() > 0:
        values, indices = values.squeeze(d), indices.squeeze(d)
    return _TYPES[name](values, indices)


def _refuse_bool(name: str, input: Tensor) -> None:
    if input.dtype is _core.bool:
        raise NotImplementedError(f"{name}: not implemented for 'Bool'")


@both
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (smallest) elements along dim in order, and where they are.

    Arguments, shapes and errors as in PyTorch.
    """
    if input.dtype is _core.bool:
        raise RuntimeError("Sort currently does not support bool dtype on CPU: topk")
    values, indices = _core._topk(input, k, dim, largest)
    return _TYPES["topk"](values, indices)


@both
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along dim, counted from 1, and where it is.

    Arguments, shapes and errors as in PyTorch.
    """
    _refuse_bool("kthvalue", input)
    values, indices = _core._kthvalue(input, k, dim, keepdim)
    return _TYPES["kthvalue"](values, indices)


def _middle(name: str, input: Tensor, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    _refuse_bool(name, input)
    if dim is None:
        if input.numel() == 0:
            if input.is_floating_point():
                return _core.full([], float("nan"), dtype=input.dtype)
            raise RuntimeError(f"{name}() operation does not have an identity for empty input")
        return _middle(name, input.reshape(-1), 0, False, skip_nan).values
    d = normalized(dim, input.dim())
    size = input.shape[d] if input.dim() else 1
    if size == 0:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    if input.dim() == 0:
        return _TYPES[name](input.clone(), _core.zeros([], dtype=_core.int64))
    if not skip_nan:
        indices = _core._kthvalue(input.detach(), (size - 1) // 2 + 1, d, True)[1]
        if input.is_floating_point():
            missing = input.detach().isnan()
            indices = _core.where(missing.any(d, True), missing.long().argmax(d, True), indices)
        return _finished(name, input.gather(d, indices), indices, d, keepdim)
    order = _core.argsort(input, d, False, True)
    missing = input.detach().isnan().sum(d, keepdim=True)
    indices = order.gather(d, _core.clamp_min((size - 1 - missing) // 2, 0))
    return _finished(name, input.gather(d, indices), indices, d, keepdim)


@both
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle elements (along dim: and where it is); NaN if there is one.

    Arguments, shapes and errors as in PyTorch.
    """
    return _middle("median", input, dim, keepdim, False)


@both
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of what is not NaN.

    Arguments, shapes and errors as in `median`.
    """
    return _middle("nanmedian", input, dim, keepdim, True)


@both
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along dim, the smallest of several, and its last place.

    Arguments, shapes and errors as in PyTorch.
    """
    d = normalized(dim, input.dim())
    if input.dim() == 0:
        return _TYPES["mode"](input.clone(), _core.zeros([], dtype=_core.int64))
    size = input.shape[d]
    if size == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    order = _core.argsort(input, d, False, True)
    values = input.detach().gather(d, order).movedim(d, -1)
    places = _core.arange(size)
    begins = _core.cat([_core.ones([*values.shape[:-1], 1], dtype=_core.bool), values[..., 1:] != values[..., :-1]], -1)
    runs = places - _core.cummax(_core.where(begins, places, 0), -1)[0]
    best = runs.argmax(-1, keepdim=True).movedim(-1, d)
    indices = order.gather(d, best)
    return _finished("mode", input.gather(d, indices), indices, d, keepdim)


@both
def msort(input: Tensor) -> Tensor:
    """The elements in ascending order along dimension 0, of input's shape: see `sort`.

    Arguments and errors as in PyTorch.
    """
    return _core.sort(input, 0, False, True)[0]


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    if not input.is_floating_point() or input.dtype in (_core.float16, _core.bfloat16):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if isinstance(q, Tensor):
        if q.dim() > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    kinds = ("linear", "lower", "higher", "midpoint", "nearest")
    if interpolation not in kinds:
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
                           f"{interpolation}")  # fmt: skip
    wanted = q if isinstance(q, Tensor) else _core.tensor(q, dtype=input.dtype, device=input.device)
    if not bool(((wanted >= 0) & (wanted <= 1)).all()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    d = None if dim is None else normalized(dim, input.dim())
    source = input.reshape(-1) if d is None else (input if input.dim() else input.reshape(1)).movedim(d, -1)
    values = _core.sort(source, -1, False, True)[0]
    flat = wanted.reshape(-1)
    last: Any = values.shape[-1] - 1
    missing = values.detach().isnan().sum(-1, keepdim=True)
    if name == "nanquantile":
        last = _core.clamp_min(last - missing, 0)
    ranks = flat * last  # (…, number of quantiles)
    ranks = ranks.expand([*values.shape[:-1], flat.numel()])
    if name == "quantile":
        ranks = _core.where(missing > 0, values.shape[-1] - 1.0, ranks)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.long()
    result = values.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        share = 0.5 if interpolation == "midpoint" else ranks - below
        result = result.lerp(values.gather(-1, ranks.ceil().long()), share)
    result = result.movedim(-1, 0)
    if keepdim:
        kept = [1] * input.dim() if d is None else [1 if i == d else s for i, s in enumerate(input.shape)]
        result = result.reshape([flat.numel(), *kept])
    return result.reshape(result.shape[1:]) if wanted.dim() == 0 else result


@both
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Tensor:  # fmt: skip
    """The q-quantiles, a first dimension if q is a vector.

    Arguments, shapes and errors as in PyTorch.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@both
def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Tensor:  # fmt: skip
    """The q-quantiles of what is not NaN.

    Arguments, shapes and errors as in `quantile`.
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _distinct(input: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Slices along d in lexicographic order without repetitions, each one's place there, how many of each."""
    source = input.detach()
    array = (source.float() if source.dtype is _core.bfloat16 else source).cpu().numpy()
    found, inverse, counts = np.unique(array, axis=d, return_inverse=True, return_counts=True)
    return (
        _core.tensor(np.ascontiguousarray(found)).to(source.dtype),
        _core.tensor(inverse.reshape(-1)),
        _core.tensor(counts),
    )


def _together(parts: list[Tensor]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)


@both
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order (along dim: slices), where each element went, how many of each.

    Arguments, shapes and errors as in PyTorch.
    """
    if dim is not None:
        if input.numel() == 0 and any(n == 0 for i, n in enumerate(input.shape) if i != normalized(dim, input.dim())):
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
        found, inverse, counts = _distinct(input, normalized(dim, input.dim()))
    else:
        flat = input.detach().reshape(-1)
        values, order = _core.sort(flat, 0, False, True)
        found, runs, counts = _runs(values, 0)
        inverse = _core.zeros_like(runs).scatter(0, order, runs).reshape(input.shape)
    parts = [found, *([inverse] if return_inverse else []), *([counts] if return_counts else [])]
    return _together(parts)


def _runs(input: Tensor, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Without slices along d that equal the one before; each one's place there; how long the runs were."""
    size = input.shape[d]
    if size == 0:
        empty = _core.zeros(0, dtype=_core.int64)
        return input.clone(), empty, empty
    changed = input.narrow(d, 1, size - 1) != input.narrow(d, 0, size - 1)
    changed = changed.movedim(d, 0).flatten(1).any(1) if changed.dim() > 1 else changed
    begins = _core.cat([_core.ones(1, dtype=_core.bool), changed])
    starts = begins.nonzero().reshape(-1)
    counts = _core.cat([starts[1:], _core.tensor([size])]) - starts
    return input.index_select(d, starts), begins.cumsum(0) - 1, counts


@both
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The first of every run of equal elements (along dim: slices), where each element went, how long the runs
    were.

    Arguments, shapes and errors as in PyTorch.
    """
    source, d = (input.detach().reshape(-1), 0) if dim is None else (input.detach(), normalized(dim, input.dim()))
    found, inverse, counts = _runs(source, d)
    if dim is None:
        inverse = inverse.reshape(input.shape)
    return _together([found, *([inverse] if return_inverse else []), *([counts] if return_counts else [])])


@function
def searchsorted(
    sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Where to insert elements into the last dimension of a sorted sequence, as int64 (or int32) of input's
    shape.

    Arguments and errors as in PyTorch.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while "
                           "right was True")  # fmt: skip
    values = input if isinstance(input, Tensor) else _core.tensor(input)
    boundaries = sorted_sequence.detach()
    if sorter is not None:
        boundaries = boundaries.gather(-1, sorter)
    places = _core._searchsorted(boundaries, values, right or side == "right")
    return places.to(_core.int32) if out_int32 else places


@function
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Which bucket between sorted boundaries, a vector, each element lies in, of input's shape.

    Arguments and errors as in `searchsorted`.
    """
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@both
def argwhere(input: Tensor) -> Tensor:
    """The places of elements that are not zero, of shape (count, input.dim()).

    Arguments and errors as in PyTorch.
    """
    return _core.nonzero(input)
