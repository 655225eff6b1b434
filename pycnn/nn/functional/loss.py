"""Losses: formulas per element, then the reduction "none", "mean" or "sum"."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], the mean weighted by the classes' weights.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...), floating.
        target: classes (), (N,) or (N, d1, ...), int64 in 0..C-1, or probabilities of the input's shape.
        weight: (C,) or None.
        ignore_index: class whose elements contribute nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: share of every target that is spread over all classes, in 0..1 (Szegedy et al. 2016).
        size_average, reduce: PyTorch's older spelling of `reduction`.

    Returns:
        Shape (), or target's (with classes) for "none"; the input's dtype.

    Errors: IndexError for a known class out of range; ValueError for batch sizes that differ or another `reduction`;
    RuntimeError for other shapes, dtypes or label_smoothing; NotImplementedError for an integer input.
    """
    return _core.cross_entropy(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities (C,), (N, C) or (N, C, d1, ...), the mean weighted by the classes.

    Arguments, result and errors as in `cross_entropy`, but for probabilities as targets and label_smoothing.
    """
    return _core.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """(input - target)^2, reduced ("mean", "sum" or "none").

    Shapes broadcast, dtypes are promoted to a floating one; gives shape (), or the broadcast one for "none".
    `size_average` and `reduce` are PyTorch's older spelling of `reduction`.
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction`, NotImplementedError for
    integers.
    """
    return _core.mse_loss(input, target, size_average, reduce, reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """|input - target|, reduced ("mean", "sum" or "none").

    Shapes and arguments as in `mse_loss`; integers only with "sum" and "none".
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction`.
    """
    return _core.l1_loss(input, target, size_average, reduce, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight * (target log(input) + (1 - target) log(1 - input)), logarithms not below -100, reduced.

    Args:
        input: probabilities in 0..1, any shape, floating.
        target: of the input's shape and dtype.
        weight: of a shape that broadcasts to the input's, or None.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        Shape (), or the input's for "none"; the input's dtype.

    Errors: ValueError for shapes that differ or another `reduction`; RuntimeError for dtypes that differ or known
    probabilities outside 0..1; NotImplementedError for integers.
    """
    return _core.binary_cross_entropy(input, target, weight, size_average, reduce, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), stable for large logits.

    Args:
        input: logits, any shape, floating.
        target: of the input's shape, floating.
        weight: of a shape that broadcasts with the input's, or None.
        size_average, reduce, reduction: as in `mse_loss`.
        pos_weight: multiplies the positive term; of a shape that broadcasts to the input's, or None.

    Returns:
        Shape (), or the input's for "none"; the promoted dtype.

    Errors: ValueError for shapes that differ or another `reduction`; RuntimeError for an integer target or a pos_weight
    that does not broadcast; NotImplementedError for an integer input.
    """
    return _core.binary_cross_entropy_with_logits(input, target, weight, size_average, reduce, reduction, pos_weight)
