"""Rows of the operator table: activations, distances and losses, each with its formula in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from case import (
    Case,
    Input,
    apart,
    constant,
    distinct,
    integers,
    normal,
    permuted,
    positive,
    probabilities,
    strided,
    unit,
    values,
)
from scipy import special

CASES: list[Case] = []


def add(name: str, function: str | Callable[..., Any], *inputs: Input | None, oracle: Any, random: bool = False,
        float32_tolerance: float = 2e-6, **keywords: Any) -> None:  # fmt: skip
    CASES.append(Case(name, function, inputs, keywords, oracle, random, float32_tolerance))


def reduced(losses: Any, reduction: str = "mean") -> Any:
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def off_kinks(*shape: int) -> Input:
    """Both sides of every kink of the activations (0, 0.2, 0.5, 0.7, 1, 3, 6), none of them nearer than 0.04."""
    points = np.array([-7.1, -3.4, -2.3, -1.2, -0.8, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 0.8, 1.4, 2.6, 3.3, 5.2, 6.4])
    return Input(lambda rng: rng.choice(points, shape) + rng.uniform(-0.04, 0.04, shape))


# -- activations -------------------------------------------------------------------------------------------------------


def hardsigmoid(p: Any, x: Any) -> Any:
    """By its formula in PyTorch, whose own gradient of doubles holds 1/6 in single precision."""
    f = p.nn.functional
    return f.hardsigmoid(x) if p.__name__ == "pycnn" else f.relu6(x + 3) / 6


_SCALE, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
for name, keywords, formula in [
    ("relu6", {}, lambda x: np.clip(x, 0, 6)),
    ("hardtanh", {}, lambda x: np.clip(x, -1, 1)),
    ("hardtanh", {"min_val": -0.2, "max_val": 0.7}, lambda x, min_val, max_val: np.clip(x, min_val, max_val)),
    ("hardswish", {}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ("hardshrink", {}, lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    ("hardshrink", {"lambd": 0.7}, lambda x, lambd: np.where(np.abs(x) > lambd, x, 0)),
    ("softshrink", {}, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    ("softshrink", {"lambd": 0.2}, lambda x, lambd: np.sign(x) * np.maximum(np.abs(x) - lambd, 0)),
    ("tanhshrink", {}, lambda x: x - np.tanh(x)),
    ("threshold", {"threshold": 0.5, "value": -2.5}, lambda x, threshold, value: np.where(x > threshold, x, value)),
    ("selu", {}, lambda x: _SCALE * np.where(x > 0, x, _ALPHA * np.expm1(x))),
    ("celu", {}, lambda x: np.where(x > 0, x, np.expm1(x))),
    ("celu", {"alpha": 0.5}, lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x / alpha))),
    ("mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("softsign", {}, lambda x: x / (1 + np.abs(x))),
    ("rrelu", {}, lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2)),
    ("softmin", {"dim": 1}, lambda x, dim: special.softmax(-x, dim)),
    ("softmin", {"dim": -1}, lambda x, dim: special.softmax(-x, dim)),
]:  # fmt: skip
    suffix = "".join(f" {k} {v}" for k, v in keywords.items())
    for kind, spec in (("", off_kinks(3, 4, 5)), (" permuted", permuted(off_kinks(4, 3)))):
        # what is left of tanhshrink near 0 is a small difference
        tolerance = 5e-6 if name == "tanhshrink" else 2e-6
        add(f"{name}{suffix}{kind}", f"F.{name}", spec, oracle=formula, float32_tolerance=tolerance, **keywords)
add("hardsigmoid", hardsigmoid, off_kinks(3, 4, 5), oracle=lambda p, x: np.clip(x + 3, 0, 6) / 6)
add("hardtanh integers", "F.hardtanh", integers(-9, 9, 3, 4), oracle=lambda x, **k: np.clip(x, -3, 4), min_val=-3,
    max_val=4)  # fmt: skip
add("threshold integers", "F.threshold", integers(-9, 9, 12), oracle=lambda x, **k: np.where(x > 2, x, -1),
    threshold=2, value=-1)  # fmt: skip
add("rrelu training", "F.rrelu", apart(5, 6), oracle=None, random=True, training=True, lower=0.1, upper=0.9)
add("gumbel_softmax", "F.gumbel_softmax", normal(4, 5), oracle=None, random=True, tau=0.7, dim=1)


def prelu(x: Any, w: Any) -> Any:
    return np.where(x > 0, x, x * (w.reshape(-1, *[1] * (x.ndim - 2)) if w.size > 1 else w.reshape(())))


for note, x, slopes in [
    ("one slope", apart(2, 3, 4), (1,)),
    ("slopes", apart(2, 3, 4), (3,)),
    ("slopes of images", permuted(apart(2, 3, 2, 3)), (3,)),
    ("0-d slope", apart(4), ()),
    ("of a number", apart(), (1,)),
]:
    add(f"prelu {note}", "F.prelu", x, normal(*slopes), oracle=prelu)
for shape, dim in [((3, 4), -1), ((4, 3, 2), 0), ((2, 6, 3, 2), 1)]:
    add(f"glu {shape} {dim}", "F.glu", normal(*shape), dim=dim,
        oracle=lambda x, dim: (lambda a, b: a * special.expit(b))(*np.split(x, 2, dim)))  # fmt: skip

# -- distances ---------------------------------------------------------------------------------------------------------

for p, dim in [(2.0, 1), (1.0, 0), (3.0, -1), (2.0, (1, 2))]:
    add(f"normalize {p} {dim}", "F.normalize", apart(3, 4, 5), p=p, dim=dim, oracle=lambda x, p, dim:
        x / np.maximum((np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p), 1e-12))  # fmt: skip
add("normalize with a large eps", "F.normalize", normal(3, 4) , eps=9.0,
    oracle=lambda x, eps: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), eps))  # fmt: skip


add("normalize -1", "F.normalize", apart(3, 4, 5), p=-1.0, float32_tolerance=1e-5, oracle=lambda x, p:
    x * (1 / np.abs(x)).sum(1, keepdims=True))  # fmt: skip
add("normalize -inf", "F.normalize", positive(3, 5), p=float("-inf"),
    oracle=lambda x, p: x / np.abs(x).min(1, keepdims=True))  # fmt: skip


def cosine(x: Any, y: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    lengths = [np.maximum(np.sqrt((v * v).sum(dim, keepdims=True)), eps) for v in np.broadcast_arrays(x, y)]
    return (x / lengths[0] * (y / lengths[1])).sum(dim)


def distance(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return (np.abs(x - y + eps) ** p).sum(-1, keepdims=keepdim) ** (1 / p)


for x, y, dim in [
    (normal(3, 4), normal(3, 4), 1),
    (normal(2, 3, 4), normal(2, 1, 4), 0),
    (normal(3, 1, 4), normal(5, 4), -1),
]:
    add(f"cosine_similarity {dim} {len(CASES)}", "F.cosine_similarity", x, y, dim=dim, oracle=cosine,
        float32_tolerance=5e-6)  # fmt: skip
add("cosine_similarity with a large eps", "F.cosine_similarity", normal(3, 4), normal(3, 4),
    eps=1e-3, oracle=cosine, float32_tolerance=5e-6)  # fmt: skip
for p, keepdim in [(2.0, False), (1.0, True), (3.0, False)]:
    add(f"pairwise_distance {p}", "F.pairwise_distance", normal(3, 4), normal(4), p=p, keepdim=keepdim,
        oracle=distance, float32_tolerance=1e-5)  # fmt: skip
add("pairwise_distance of vectors", "F.pairwise_distance", normal(4), normal(4), oracle=distance)

# -- losses of an element ----------------------------------------------------------------------------------------------


def huber(x: Any, y: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    d = np.abs(x - y)
    return reduced(np.where(d < delta, d * d / 2, delta * (d - delta / 2)), reduction)


def smooth_l1(x: Any, y: Any, beta: float = 1.0, reduction: str = "mean") -> Any:
    d = np.abs(x - y)
    return reduced(np.where(d < beta, d * d / (2 * max(beta, 1e-300)), d - beta / 2), reduction)


def poisson(x: Any, y: Any, log_input: bool = True, full: bool = False, reduction: str = "mean") -> Any:
    losses = np.exp(x) - y * x if log_input else x - y * np.log(x + 1e-8)
    if full:
        losses = losses + np.where(y > 1, y * np.log(y) - y + np.log(2 * np.pi * y) / 2, 0)
    return reduced(losses, reduction)


def gaussian(x: Any, y: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> Any:
    var = np.maximum(var if var.ndim == x.ndim else var[..., None], eps)
    return reduced((np.log(var) + (x - y) ** 2 / var + full * np.log(2 * np.pi)) / 2, reduction)


def kl(x: Any, y: Any, log_target: bool = False, reduction: str = "mean") -> Any:
    losses = np.exp(y) * (y - x) if log_target else special.xlogy(y, y) - y * x
    return losses.sum() / len(x) if reduction == "batchmean" else reduced(losses, reduction)


def hinge(x: Any, y: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    return reduced(np.where(y == 1, x, np.maximum(0, margin - x)), reduction)


def signs(*shape: int) -> Input:
    return Input(lambda rng: rng.choice([-1.0, 1.0], shape), gradient=False)


for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction}
    for beta in (1.0, 0.3, 0.0):
        add(f"smooth_l1_loss {beta} {reduction}", "F.smooth_l1_loss", normal(4, 5), normal(4, 5), beta=beta,
            oracle=smooth_l1, **r)  # fmt: skip
    for delta in (1.0, 0.4):
        add(f"huber_loss {delta} {reduction}", "F.huber_loss", normal(4, 5), normal(4, 5), delta=delta, oracle=huber,
            **r)  # fmt: skip
    for log_input, full in product((True, False), repeat=2):
        add(f"poisson_nll_loss {log_input} {full} {reduction}", "F.poisson_nll_loss", positive(4, 5), positive(4, 5),
            log_input=log_input, full=full, oracle=poisson, float32_tolerance=1e-5, **r)  # fmt: skip
    for note, var in [("each", (4, 5)), ("rows", (4,)), ("column", (4, 1))]:
        add(f"gaussian_nll_loss {note} {reduction}", "F.gaussian_nll_loss", normal(4, 5), normal(4, 5), positive(*var),
            full=note == "rows", oracle=gaussian, float32_tolerance=1e-5, **r)  # fmt: skip
    add(f"hinge_embedding_loss {reduction}", "F.hinge_embedding_loss", apart(4, 5), signs(4, 5), margin=1.0,
        oracle=hinge, **r)  # fmt: skip
    add(f"soft_margin_loss {reduction}", "F.soft_margin_loss", normal(4, 5), constant(normal(4, 5)), **r,
        oracle=lambda x, y, reduction: reduced(np.log1p(np.exp(-y * x)), reduction))  # fmt: skip
    add(f"mse_loss weights {reduction}", lambda p, x, y, w, reduction: p.nn.functional.mse_loss(
        x, y, reduction=reduction, weight=w), normal(4, 5), normal(4, 5), positive(4, 5), **r,
        oracle=lambda p, x, y, w, reduction: reduced(w * (x - y) ** 2 / (w.mean() if reduction == "mean" else 1),
                                                     reduction))  # fmt: skip
for reduction in ("batchmean", "sum", "none"):
    r = {"reduction": reduction}
    add(f"kl_div {reduction}", "F.kl_div", normal(4, 5), probabilities(4, 5), oracle=kl, **r)
    add(f"kl_div log_target {reduction}", "F.kl_div", normal(4, 5), normal(4, 5), log_target=True, oracle=kl, **r)
add("kl_div of zeros", "F.kl_div", normal(2, 3), values([0, 1, 0], [0.5, 0, 0.5], dtype="float64"), oracle=kl,
    reduction="none")  # fmt: skip
add("gaussian_nll_loss below eps", "F.gaussian_nll_loss", normal(3, 4), normal(3, 4), constant(unit(3, 4)), eps=0.5,
    oracle=gaussian, float32_tolerance=1e-5)  # fmt: skip


def linear_cross_entropy(p: Any, x: Any, w: Any, b: Any, y: Any, **keywords: Any) -> Any:
    return p.nn.functional.linear_cross_entropy(x, w, y, linear_bias=b, **keywords)


def linear_losses(_: Any, x: Any, w: Any, b: Any, y: Any, reduction: str = "mean") -> Any:
    logits = np.tensordot(x, w, (-1, -1)) + b
    return reduced(-np.take_along_axis(special.log_softmax(logits, 1), y[:, None], 1)[:, 0], reduction)


for reduction in ("mean", "none"):
    add(f"linear_cross_entropy {reduction}", linear_cross_entropy, normal(4, 3), normal(5, 3), normal(5),
        integers(0, 5, 4), oracle=linear_losses, reduction=reduction, float32_tolerance=1e-5)  # fmt: skip
add("linear_cross_entropy of several outputs", linear_cross_entropy, normal(4, 3), normal(5, 2, 3), normal(5, 2),
    integers(0, 5, 4, 2), oracle=linear_losses, float32_tolerance=1e-5)  # fmt: skip

# -- losses with margins -----------------------------------------------------------------------------------------------


def multi_margin(x: Any, y: Any, w: Any = None, p: int = 1, margin: float = 1.0, reduction: str = "mean") -> Any:
    rows, labels = np.atleast_2d(x), np.atleast_1d(y)
    losses = []
    for row, label in zip(rows, labels, strict=True):
        others = [max(0.0, margin - row[label] + s) ** p for i, s in enumerate(row) if i != label]
        losses.append(sum(others) * (1 if w is None else w[label]) / len(row))
    return reduced(np.array(losses).reshape(y.shape), reduction)


def multilabel_margin(x: Any, y: Any, reduction: str = "mean") -> Any:
    losses = []
    for row, given in zip(np.atleast_2d(x), np.atleast_2d(y), strict=True):
        labels = []
        for label in given:
            if label < 0:
                break
            labels.append(label)
        others = [i for i in range(len(row)) if i not in labels]
        losses.append(sum(max(0.0, 1 - row[j] + row[i]) for j in labels for i in others) / len(row))
    return reduced(np.array(losses).reshape(y.shape[:-1]), reduction)


def multilabel_soft_margin(x: Any, y: Any, w: Any = 1.0, reduction: str = "mean") -> Any:
    losses = -w * (y * np.log(special.expit(x)) + (1 - y) * np.log(special.expit(-x)))
    return reduced(losses.mean(-1), reduction)


def cosine_embedding(x: Any, y: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    lengths = [(v * v).sum(-1) + 1e-12 for v in (x, y)]
    similarity = (x * y).sum(-1) / np.sqrt(lengths[0] * lengths[1])
    return reduced(np.where(target == 1, 1 - similarity, np.maximum(0, similarity - margin)), reduction)


def triplet(a: Any, p: Any, n: Any, swap: bool = False, norm: float = 2.0, reduction: str = "mean") -> Any:
    far = np.minimum(distance(a, n, norm), distance(p, n, norm)) if swap else distance(a, n, norm)
    return reduced(np.maximum(0, 1 + distance(a, p, norm) - far), reduction)


def multi_margin_weights(package: Any, x: Any, y: Any, w: Any, **keywords: Any) -> Any:
    return package.nn.functional.multi_margin_loss(x, y, weight=w, **keywords)


for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction}
    for p, margin in [(1, 1.0), (2, 0.7)]:
        add(f"multi_margin_loss {p} {reduction}", "F.multi_margin_loss", normal(6, 5), integers(0, 5, 6), p=p,
            margin=margin, oracle=multi_margin, **r)  # fmt: skip
        add(f"multi_margin_loss weights {p} {reduction}", multi_margin_weights, normal(6, 5), integers(0, 5, 6),
            constant(positive(5)), p=p, margin=margin, oracle=lambda _, x, y, w, **k: multi_margin(x, y, w, **k),
            **r)  # fmt: skip
    add(f"multi_margin_loss one sample {reduction}", "F.multi_margin_loss", normal(5), integers(0, 5),
        oracle=multi_margin, **r)  # fmt: skip
    labels = values([3, 0, -1, 1], [-1, 2, 0, 1], [0, 1, 2, 3], [2, -1, -1, -1])
    add(f"multilabel_margin_loss {reduction}", "F.multilabel_margin_loss", normal(4, 4), labels,
        oracle=multilabel_margin, **r)  # fmt: skip
    add(f"multilabel_margin_loss one sample {reduction}", "F.multilabel_margin_loss", normal(4), values(1, 3, -1, 0),
        oracle=multilabel_margin, **r)  # fmt: skip
    add(f"multilabel_soft_margin_loss {reduction}", "F.multilabel_soft_margin_loss", normal(4, 5), unit(4, 5),
        oracle=multilabel_soft_margin, **r)  # fmt: skip
    add(f"multilabel_soft_margin_loss weights {reduction}", "F.multilabel_soft_margin_loss", normal(4, 5), unit(4, 5),
        constant(positive(5)), oracle=multilabel_soft_margin, **r)  # fmt: skip
    add(f"margin_ranking_loss {reduction}", "F.margin_ranking_loss", distinct(4, 5), constant(distinct(4, 5)),
        signs(4, 5), margin=0.25, **r, oracle=lambda x, y, t, margin, reduction:
        reduced(np.maximum(0, -t * (x - y) + margin), reduction))  # fmt: skip
    add(f"cosine_embedding_loss {reduction}", "F.cosine_embedding_loss", normal(6, 5), normal(6, 5), signs(6),
        margin=0.1, oracle=cosine_embedding, float32_tolerance=1e-5, **r)  # fmt: skip
    add(f"cosine_embedding_loss one pair {reduction}", "F.cosine_embedding_loss", normal(5), normal(5), signs(),
        oracle=cosine_embedding, float32_tolerance=1e-5, **r)  # fmt: skip
    for swap in (False, True):
        add(f"triplet_margin_loss {swap} {reduction}", "F.triplet_margin_loss", normal(6, 5), normal(6, 5),
            normal(6, 5), swap=swap, oracle=triplet, float32_tolerance=1e-5, **r)  # fmt: skip
        add(f"triplet_margin_with_distance_loss {swap} {reduction}", "F.triplet_margin_with_distance_loss",
            normal(6, 5), normal(6, 5), strided(normal(6, 5)), swap=swap, oracle=triplet, float32_tolerance=1e-5,
            **r)  # fmt: skip
add("triplet_margin_loss 1-norm", "F.triplet_margin_loss", normal(6, 5), normal(6, 5), normal(6, 5), p=1,
    oracle=lambda a, b, c, p: triplet(a, b, c, norm=p), float32_tolerance=1e-5)  # fmt: skip
add("triplet_margin_loss of vectors", "F.triplet_margin_loss", normal(5), normal(5), normal(5), oracle=triplet,
    float32_tolerance=1e-5)  # fmt: skip

# -- connectionist temporal classification -----------------------------------------------------------------------------


def ctc(p: Any, logits: Any, targets: Any, lengths: Any, sizes: Any, **keywords: Any) -> Any:
    f = p.nn.functional
    return f.ctc_loss(f.log_softmax(logits, -1), targets, lengths, sizes, **keywords)


def spelled(path: tuple[int, ...], blank: int) -> list[int]:
    """Repetitions merged, blanks dropped."""
    return [c for i, c in enumerate(path) if c != blank and (i == 0 or path[i - 1] != c)]


def ctc_by_enumeration(_: Any, logits: Any, targets: Any, lengths: Any, sizes: Any, blank: int = 0,
                       reduction: str = "mean", zero_infinity: bool = False) -> Any:  # fmt: skip
    """The sum over every path of classes that spells the target."""
    alone = logits.ndim == 2
    logits = logits[:, None] if alone else logits
    log_p = special.log_softmax(logits, -1)
    begins = np.cumsum([0, *sizes])
    losses = []
    for n, (length, size) in enumerate(zip(np.atleast_1d(lengths), np.atleast_1d(sizes), strict=True)):
        row = targets if targets.ndim == 1 else targets[n]
        target = list(row[begins[n] : begins[n] + size] if targets.ndim == 1 and not alone else row[:size])
        paths = (path for path in product(range(logits.shape[2]), repeat=int(length)) if spelled(path, blank) == target)
        total = sum(np.exp(sum(log_p[t, n, c] for t, c in enumerate(path))) for path in paths)
        losses.append(-np.log(total) if total > 0 else np.inf)
    result = np.array(losses)
    if zero_infinity:
        result = np.where(np.isinf(result), 0, result)
    if reduction == "mean":
        return np.mean(result / np.maximum(sizes, 1))
    return result[0] if alone and reduction == "none" else reduced(result, reduction)


for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction, "float32_tolerance": 1e-5}
    padded = values([1, 2, 0], [3, 3, 0], [2, 0, 0])
    add(f"ctc_loss {reduction}", ctc, normal(5, 3, 4), padded, values(5, 4, 3), values(2, 2, 1),
        oracle=ctc_by_enumeration, **r)  # fmt: skip
    add(f"ctc_loss concatenated {reduction}", ctc, normal(5, 3, 4), values(1, 2, 3, 3, 2), values(5, 5, 4),
        values(2, 2, 1), oracle=ctc_by_enumeration, **r)  # fmt: skip
    add(f"ctc_loss zero_infinity {reduction}", ctc, normal(5, 3, 4), padded, values(1, 2, 3), values(2, 2, 0),
        oracle=ctc_by_enumeration, zero_infinity=True, **r)  # fmt: skip
    add(f"ctc_loss of one sequence {reduction}", ctc, normal(4, 3), values(2, 2), values(4), values(2),
        oracle=ctc_by_enumeration, blank=1, **r)  # fmt: skip
