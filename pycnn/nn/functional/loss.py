"""Losses: formulas per element, then the reduction "none", "mean" or "sum"."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
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
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2, reduced ("mean", "sum" or "none").

    Shapes broadcast, dtypes are promoted to a floating one; gives shape (), or the broadcast one for "none".
    `size_average` and `reduce` are PyTorch's older spelling of `reduction`; `weight`, of the input's shape, multiplies.
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction` or a weight of another
    shape, NotImplementedError for integers.
    """
    return _core.mse_loss(input, target, size_average, reduce, reduction, weight)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, reduced ("mean", "sum" or "none").

    Shapes and arguments as in `mse_loss`; integers only with "sum" and "none".
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction` or a weight of another
    shape.
    """
    return _core.l1_loss(input, target, size_average, reduce, reduction, weight)


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


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2, reduced (Girshick 2015).

    Shapes and other arguments as in `mse_loss`; beta 0 gives `l1_loss`.
    Errors: RuntimeError for a negative beta or shapes that do not broadcast, ValueError for another `reduction`,
    NotImplementedError for integers.
    """
    return _core.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where d = |input - target| is below delta, else delta * (d - delta / 2), reduced (Huber 1964).

    Shapes and other arguments as in `mse_loss`; the result has the input's dtype.
    Errors: RuntimeError for delta not above 0, an integer input or shapes that do not broadcast, ValueError for another
    `reduction` or a weight of another shape, NotImplementedError if both are integers.
    """
    return _core.huber_loss(input, target, reduction, delta, weight)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target * (log(target) - input) for log-probabilities `input`, reduced; the divergence of Kullback and Leibler.

    Args:
        input: log-probabilities, any shape, floating.
        target: probabilities, or their logarithms with log_target; a shape that broadcasts.
        reduction: as in `mse_loss`, or "batchmean", the sum divided by input.size(0), which is the mathematical mean.
        size_average, reduce: as in `mse_loss`.
        log_target: whether target holds logarithms.

    Errors: RuntimeError for integers or shapes that do not broadcast, ValueError for another `reduction`.
    """
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    return _core.kl_div(input, target, size_average, reduce, reduction, log_target)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(input) - target * input, or input - target * log(input + eps) without log_input, reduced.

    Shapes, size_average, reduce and reduction as in `mse_loss`.
    full: add Stirling's approximation of log(target!), target log target - target + log(2 pi target) / 2, above 1.
    Errors: RuntimeError for shapes that do not broadcast, ValueError for another `reduction`.
    """
    return _core.poisson_nll_loss(input, target, log_input, full, size_average, eps, reduce, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, reduced (Nix and Weigend 1994).

    Args:
        input: means, any shape, floating.
        target: a shape that broadcasts.
        var: variances of the input's shape, or with one dimension of size 1, or without the last, or one number. They
            count as at least eps, without effect on the gradient.
        full: add log(2 pi) / 2.
        eps: the smallest variance.
        reduction: as in `mse_loss`.

    Errors: ValueError for negative variances (if their values are known), a var of another shape or another
    `reduction`; RuntimeError for shapes that do not broadcast or integer variances.
    """
    if not isinstance(var, Tensor) and var < 0:
        raise ValueError(f"gaussian_nll_loss: var has negative entry/entries: {var}")
    return _core.gaussian_nll_loss(input, target, var, full, eps, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1, reduced.

    input: distances, any shape. Shapes and other arguments as in `mse_loss`.
    Errors: RuntimeError for shapes that do not broadcast or the mean of integers, ValueError for another `reduction`.
    """
    return _core.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target * input)) for targets -1 and 1, without overflow, reduced.

    Shapes and arguments as in `mse_loss`; the result has the input's dtype.
    Errors: RuntimeError for an integer input or shapes that do not broadcast, ValueError for another `reduction`.
    """
    return _core.soft_margin_loss(input, target, size_average, reduce, reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """The sum over labels j and other classes i of max(0, 1 - input[j] + input[i]), divided by C, reduced.

    input: scores (N, C) or (C,), floating. target: int64 of that shape, a row's labels followed by -1.
    size_average, reduce, reduction: as in `mse_loss`; "none" gives (N,) or ().
    Errors: RuntimeError for other shapes, dtypes or labels out of range, ValueError for another `reduction`,
    NotImplementedError for integer scores.
    """
    return _core.multilabel_margin_loss(input, target, size_average, reduce, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the binary cross-entropy of sigmoid(input), reduced.

    input: logits (..., C), floating. target: of a shape that broadcasts. weight: (C,) or None.
    size_average, reduce, reduction: as in `mse_loss`; "none" gives (...).
    Errors: RuntimeError for shapes that do not broadcast, IndexError without dimensions, ValueError for another
    `reduction`, NotImplementedError for integer logits.
    """
    return _core.multilabel_soft_margin_loss(input, target, weight, size_average, reduce, reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum over other classes i of max(0, margin - input[target] + input[i])^p, divided by C, reduced.

    input: scores (N, C) or (C,), floating. target: classes (N,) or (), int64. p: 1 or 2. weight: (C,) or None.
    size_average, reduce, reduction: as in `mse_loss`; "none" gives the target's shape. Source: Crammer, Singer 2001.
    Errors: ValueError for another p or `reduction`; RuntimeError for other shapes, dtypes or a class out of range;
    NotImplementedError for integer scores.
    """
    return _core.multi_margin_loss(input, target, p, margin, weight, size_average, reduce, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin), reduced: target 1 ranks input1 higher, -1 input2.

    Shapes that broadcast, with equal numbers of dimensions. Other arguments as in `mse_loss`.
    Errors: RuntimeError for other shapes, ValueError for another `reduction`.
    """
    return _core.margin_ranking_loss(input1, input2, target, margin, size_average, reduce, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cosine(input1, input2) where target is 1, max(0, cosine - margin) where it is -1, reduced.

    input1, input2: (N, D) with target (N,), or (D,) with target (). Other arguments as in `mse_loss`.
    Errors: RuntimeError for other shapes, ValueError for another `reduction`.
    """
    return _core.cosine_embedding_loss(input1, input2, target, margin, size_average, reduce, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin) in the p-norm, reduced (Balntas et al. 2016).

    anchor, positive, negative: (N, D) or (D,), shapes that broadcast; "none" gives (N,) or ().
    eps: added to every difference. swap: |positive - negative| counts instead where it is smaller.
    margin: above 0. size_average, reduce, reduction: as in `mse_loss`.
    Errors: ValueError for margin not above 0 or another `reduction`; RuntimeError for other shapes; IndexError without
    dimensions.
    """
    return _core.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, size_average, reduce, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` of any distance: a function of two tensors, `pairwise_distance` if None.

    anchor, positive, negative: (N, ...), of equal numbers of dimensions; "none" gives what distance_function does.
    margin, swap, reduction: as in `triplet_margin_loss`.
    Errors: ValueError for margin not above 0 or another `reduction`; RuntimeError for other shapes; IndexError without
    dimensions.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin must be greater than 0, got {margin}")
    ranks = anchor.dim(), positive.dim(), negative.dim()
    if len(set(ranks)) > 1:
        raise RuntimeError(
            "triplet_margin_with_distance_loss: The anchor, positive, and negative tensors are expected to have the "
            f"same number of dimensions, but got: anchor {ranks[0]}D, positive {ranks[1]}D, and negative {ranks[2]}D"
        )
    distance = _core.pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _core.minimum(far, distance(positive, negative))
    loss = (margin + near - far).clamp(min=0)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of all alignments that spell the targets (Graves et al. 2006).

    Args:
        log_probs: (T, N, C) or (T, C), float32 or float64, the result of log_softmax over the classes.
        targets: classes without blanks, (N, S), or all of them one after the other. Evaluated.
        input_lengths, target_lengths: (N,) integers, how many frames and classes count. Evaluated.
        blank: the class that spells nothing.
        reduction: "mean" (each loss divided by its target's length first), "sum" or "none", which gives (N,) or ().
        zero_infinity: losses without any alignment, which are infinite, become 0, with gradient 0.

    The gradient is that of the logits behind a log_softmax, as PyTorch's; it has no derivative.

    Errors: RuntimeError for lengths, shapes or a blank that do not fit, IndexError for a class out of range, ValueError
    for another `reduction`, NotImplementedError for other dtypes.
    """
    return _core.ctc_loss(
        log_probs,
        targets,
        _lengths("input_lengths", input_lengths),
        _lengths("target_lengths", target_lengths),
        blank,
        reduction,
        zero_infinity,
    )


def _lengths(name: str, lengths: Tensor | Sequence[int]) -> list[int]:
    if not isinstance(lengths, Tensor):
        return list(lengths)
    if lengths.is_floating_point():
        raise RuntimeError(f"ctc_loss: {name} must be integral, got {lengths.dtype}")
    return [int(length) for length in lengths.reshape(-1).tolist()]


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """`cross_entropy` of `linear`'s outputs.

    Args:
        input: features (N, I) or (I,), floating.
        linear_weight: (C, I), or (C, d_1, ..., I) for targets with further dimensions.
        target: classes (N, d_1, ...) or probabilities (N, C, d_1, ...); without N for one sample.
        linear_bias: (C, d_1, ...) or None.
        weight, reduction, label_smoothing: as in `cross_entropy`.
        ignore_index: as in `cross_entropy`, -100 if None; only with classes.
        options: accepted and ignored: PyTorch's choice of chunks, which save memory.

    Errors: RuntimeError for shapes that do not fit or an ignore_index with probabilities; those of `cross_entropy`.
    """
    if input.dim() not in (1, 2) or linear_weight.dim() < 2 or input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(
            f"linear_cross_entropy: expected input (N, I) or (I,) and linear_weight (C, ..., I), got "
            f"{tuple(input.shape)} and {tuple(linear_weight.shape)}"
        )
    outputs = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != outputs:
        raise RuntimeError(
            f"linear_cross_entropy: expected linear_bias of shape {outputs}, got {tuple(linear_bias.shape)}"
        )
    if len(outputs) > 1 and input.dim() == 1:
        raise RuntimeError(f"linear_cross_entropy: expected a batch for linear_weight {tuple(linear_weight.shape)}")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = _core.linear(input, linear_weight.reshape(-1, linear_weight.shape[-1]), bias)
    logits = logits.reshape(*input.shape[:-1], *outputs)
    if ignore_index is not None and target.shape == logits.shape:
        raise RuntimeError("linear_cross_entropy: ignore_index cannot be specified when target contains probabilities")
    return cross_entropy(
        logits,
        target,
        weight=weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
