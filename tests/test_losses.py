"""Activations and losses beyond the operator table: errors, modules, extreme logits, second derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn
from pycnn.autograd import gradgradcheck

# Each is called with a package: the exceptions must be of one type.
BAD_CALLS: dict[str, Callable[[Any], Any]] = {
    "relu6 of bool": lambda p: p.nn.functional.relu6(p.tensor([True])),
    "hardtanh bounds": lambda p: p.nn.functional.hardtanh(p.ones(2), 1, -1),
    "hardtanh uint8": lambda p: p.nn.functional.hardtanh(p.ones(2, dtype=p.uint8)),
    "hardsigmoid integers": lambda p: p.nn.functional.hardsigmoid(p.tensor([1])),
    "hardswish integers": lambda p: p.nn.functional.hardswish(p.tensor([1])),
    "hardshrink integers": lambda p: p.nn.functional.hardshrink(p.tensor([1])),
    "softshrink integers": lambda p: p.nn.functional.softshrink(p.tensor([1])),
    "softshrink lambd": lambda p: p.nn.functional.softshrink(p.ones(2), -1.0),
    "tanhshrink of bool": lambda p: p.nn.functional.tanhshrink(p.tensor([True])),
    "threshold of bool": lambda p: p.nn.functional.threshold(p.tensor([True]), 0, 1),
    "selu integers": lambda p: p.nn.functional.selu(p.tensor([1])),
    "celu alpha": lambda p: p.nn.functional.celu(p.ones(2), 0.0),
    "mish integers": lambda p: p.nn.functional.mish(p.tensor([1])),
    "softsign of bool": lambda p: p.nn.functional.softsign(p.tensor([True])),
    "softmin integers": lambda p: p.nn.functional.softmin(p.tensor([1]), 0),
    "rrelu bounds": lambda p: p.nn.functional.rrelu(p.ones(2), 0.5, 0.1),
    "rrelu integers": lambda p: p.nn.functional.rrelu(p.tensor([1])),
    "prelu channels": lambda p: p.nn.functional.prelu(p.ones(2, 3), p.ones(2)),
    "prelu of a number": lambda p: p.nn.functional.prelu(p.tensor(1.0), p.ones(2)),
    "prelu rank": lambda p: p.nn.functional.prelu(p.ones(2, 3), p.ones(1, 3)),
    "prelu dtype": lambda p: p.nn.functional.prelu(p.ones(2, 3), p.ones(3, dtype=p.float64)),
    "glu odd": lambda p: p.nn.functional.glu(p.ones(3)),
    "glu of a number": lambda p: p.nn.functional.glu(p.tensor(1.0)),
    "glu dim": lambda p: p.nn.functional.glu(p.ones(4), 3),
    "gumbel_softmax integers": lambda p: p.nn.functional.gumbel_softmax(p.tensor([1])),
    "normalize integers": lambda p: p.nn.functional.normalize(p.tensor([[1]])),
    "cosine_similarity shapes": lambda p: p.nn.functional.cosine_similarity(p.ones(2, 3), p.ones(4)),
    "cosine_similarity integers": lambda p: p.nn.functional.cosine_similarity(p.tensor([[1]]), p.tensor([[1]])),
    "cosine_similarity dim": lambda p: p.nn.functional.cosine_similarity(p.ones(2), p.ones(2), dim=4),
    "pairwise_distance shapes": lambda p: p.nn.functional.pairwise_distance(p.ones(2, 3), p.ones(4)),
    "normalize of nothing": lambda p: p.nn.functional.normalize(p.ones(2, 0), p=float("inf")),
    "dropout1d rank": lambda p: p.nn.functional.dropout1d(p.ones(1, 2, 3, 4)),
    "dropout1d probability": lambda p: p.nn.functional.dropout1d(p.ones(3), 1.5),
    "Softmax2d rank": lambda p: p.nn.Softmax2d()(p.ones(2, 3)),
    "Hardtanh bounds": lambda p: p.nn.Hardtanh(2.0, 1.0),
    "in place on a leaf": lambda p: p.nn.functional.selu_(p.ones(2).requires_grad_()),
    "smooth_l1 beta": lambda p: p.nn.functional.smooth_l1_loss(p.ones(2), p.ones(2), beta=-1.0),
    "smooth_l1 integers": lambda p: p.nn.functional.smooth_l1_loss(p.tensor([1]), p.tensor([1])),
    "smooth_l1 shapes": lambda p: p.nn.functional.smooth_l1_loss(p.ones(2), p.ones(3)),
    "huber delta": lambda p: p.nn.functional.huber_loss(p.ones(2), p.ones(2), delta=0.0),
    "huber integers": lambda p: p.nn.functional.huber_loss(p.tensor([1]), p.tensor([1])),
    "huber integer input": lambda p: p.nn.functional.huber_loss(p.tensor([1]), p.ones(1)),
    "huber weight": lambda p: p.nn.functional.huber_loss(p.ones(2, 2), p.ones(2, 2), weight=p.ones(2)),
    "mse weight": lambda p: p.nn.functional.mse_loss(p.ones(2, 2), p.ones(2, 2), weight=p.ones(2)),
    "kl_div integers": lambda p: p.nn.functional.kl_div(p.ones(2), p.tensor([1, 1]), reduction="sum"),
    "kl_div reduction": lambda p: p.nn.functional.kl_div(p.ones(2), p.ones(2), reduction="average"),
    "poisson shapes": lambda p: p.nn.functional.poisson_nll_loss(p.ones(2), p.ones(3)),
    "gaussian negative": lambda p: p.nn.functional.gaussian_nll_loss(p.ones(2), p.ones(2), p.tensor([1.0, -1.0])),
    "gaussian negative, not yet known": lambda p: p.nn.functional.gaussian_nll_loss(
        p.ones(2), p.ones(2), p.ones(2) - 2
    ).item(),
    "bce beyond 1": lambda p: p.nn.functional.binary_cross_entropy(p.tensor([1.5]), p.ones(1)),
    "bce beyond 1, not yet known": lambda p: p.nn.functional.binary_cross_entropy(p.ones(3) * 1.5, p.ones(3)).item(),
    "bce of NaN": lambda p: p.nn.functional.binary_cross_entropy(p.ones(3) * float("nan"), p.ones(3)).item(),
    "bce target": lambda p: p.nn.functional.binary_cross_entropy(p.ones(1), p.tensor([-0.5])),
    "bce with logits weight": lambda p: p.nn.functional.binary_cross_entropy_with_logits(
        p.ones(2, 3), p.ones(2, 3), weight=p.ones(1, 2, 3)
    ),
    "soft_margin broadcast": lambda p: p.nn.functional.soft_margin_loss(p.ones(4), p.ones(3, 4)),
    "HuberLoss delta": lambda p: p.nn.HuberLoss(delta=1j),
    "gaussian negative number": lambda p: p.nn.functional.gaussian_nll_loss(p.ones(2), p.ones(2), -1.0),
    "gaussian shape": lambda p: p.nn.functional.gaussian_nll_loss(p.ones(3, 4), p.ones(3, 4), p.ones(3, 2)),
    "hinge integers": lambda p: p.nn.functional.hinge_embedding_loss(p.tensor([1]), p.tensor([1])),
    "soft_margin integers": lambda p: p.nn.functional.soft_margin_loss(p.tensor([1]), p.ones(1)),
    "multi_margin p": lambda p: p.nn.functional.multi_margin_loss(p.ones(2, 3), p.tensor([0, 1]), p=3),
    "multi_margin class": lambda p: p.nn.functional.multi_margin_loss(p.ones(2, 3), p.tensor([0, 3])),
    "multi_margin weight": lambda p: p.nn.functional.multi_margin_loss(
        p.ones(2, 3), p.tensor([0, 1]), weight=p.ones(2)
    ),
    "multi_margin weight rank": lambda p: p.nn.functional.multi_margin_loss(
        p.ones(2, 3), p.tensor([0, 1]), weight=p.ones(3, 1)
    ),
    "multi_margin constant weight": lambda p: p.nn.functional.multi_margin_loss(
        p.ones(2, 3), p.tensor([0, 1]), weight=p.ones(3).requires_grad_()
    ),
    "multi_margin rank": lambda p: p.nn.functional.multi_margin_loss(p.ones(1, 2, 3), p.tensor([0, 1])),
    "multi_margin target": lambda p: p.nn.functional.multi_margin_loss(p.ones(2, 3), p.ones(2)),
    "multi_margin integers": lambda p: p.nn.functional.multi_margin_loss(p.tensor([[1, 2]]), p.tensor([0])),
    "multilabel_margin class": lambda p: p.nn.functional.multilabel_margin_loss(p.ones(2), p.tensor([2, -1])),
    "multilabel_margin shape": lambda p: p.nn.functional.multilabel_margin_loss(p.ones(2, 3), p.tensor([[0, 1]])),
    "multilabel_soft_margin number": lambda p: p.nn.functional.multilabel_soft_margin_loss(
        p.tensor(1.0), p.tensor(1.0)
    ),
    "margin_ranking ranks": lambda p: p.nn.functional.margin_ranking_loss(p.ones(2, 3), p.ones(3), p.ones(2, 3)),
    "cosine_embedding ranks": lambda p: p.nn.functional.cosine_embedding_loss(p.ones(4), p.ones(4), p.tensor([1])),
    "cosine_embedding targets": lambda p: p.nn.functional.cosine_embedding_loss(
        p.ones(2, 3), p.ones(2, 3), p.ones(1, 2)
    ),
    "triplet margin": lambda p: p.nn.functional.triplet_margin_loss(p.ones(1, 2), p.ones(1, 2), p.ones(1, 2), margin=0),
    "triplet ranks": lambda p: p.nn.functional.triplet_margin_loss(p.ones(1, 2), p.ones(2), p.ones(1, 2)),
    "triplet distance margin": lambda p: p.nn.TripletMarginWithDistanceLoss(margin=-1.0),
    "MultiMarginLoss p": lambda p: p.nn.MultiMarginLoss(p=3),
    "ctc blank": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([[1, 2]]), [4], [2], blank=3),
    "ctc input length": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([[1, 2]]), [5], [2]),
    "ctc target length": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([[1, 2]]), [4], [3]),
    "ctc negative length": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([[1, 2]]), [-1], [2]),
    "ctc lengths": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([[1, 2]]), [4, 4], [2]),
    "ctc concatenated": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3), p.tensor([1, 2, 1]), [4], [2]),
    "ctc float lengths": lambda p: p.nn.functional.ctc_loss(
        p.zeros(4, 1, 3), p.tensor([[1, 2]]), p.tensor([4.0]), p.tensor([2])
    ),
    "ctc reduction": lambda p: p.nn.functional.ctc_loss(
        p.zeros(4, 1, 3), p.tensor([[1, 2]]), [4], [2], reduction="average"
    ),
    "ctc one sample": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 3), p.tensor([1, 2, 1]), [4], [2]),
    "ctc integers": lambda p: p.nn.functional.ctc_loss(p.zeros(4, 1, 3, dtype=p.int64), p.tensor([[1, 2]]), [4], [2]),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_raise_what_pytorch_raises(name: str) -> None:
    pytorch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        BAD_CALLS[name](pytorch)
    with pytest.raises(type(theirs.value)) as ours:
        BAD_CALLS[name](pycnn)
    assert type(ours.value) is type(theirs.value)


MODULES: dict[str, tuple[Callable[[Any], Any], list[tuple[int, ...]]]] = {
    **{
        name: (lambda n, name=name: getattr(n, name)(), [(2, 4, 3)])
        for name in (
            "ReLU6", "Hardtanh", "Hardsigmoid", "Hardswish", "SELU", "Mish", "CELU", "Hardshrink", "Softshrink",
            "Tanhshrink", "Softsign", "PReLU", "Softmax2d",
        )
    },
    "CELU options": (lambda n: n.CELU(0.5, inplace=False), [(2, 4)]),
    "Hardtanh options": (lambda n: n.Hardtanh(-0.3, 0.4), [(2, 4)]),
    "Threshold": (lambda n: n.Threshold(0.1, 20), [(2, 4)]),
    "PReLU channels": (lambda n: n.PReLU(4, init=0.1), [(2, 4, 3)]),
    "RReLU": (lambda n: n.RReLU(0.1, 0.3).eval(), [(2, 4)]),
    "GLU": (lambda n: n.GLU(1), [(2, 4)]),
    "Softmin": (lambda n: n.Softmin(1), [(2, 4)]),
    "Hardshrink option": (lambda n: n.Hardshrink(0.2), [(2, 4)]),
    "ReLU6 in place": (lambda n: n.ReLU6(inplace=True), [(2, 4)]),
    "CosineSimilarity": (lambda n: n.CosineSimilarity(dim=0), [(2, 4), (2, 4)]),
    "PairwiseDistance": (lambda n: n.PairwiseDistance(1.0, keepdim=True), [(2, 4), (2, 4)]),
    "SmoothL1Loss": (lambda n: n.SmoothL1Loss(beta=0.5), [(2, 4), (2, 4)]),
    "HuberLoss": (lambda n: n.HuberLoss("sum", 0.5), [(2, 4), (2, 4)]),
    "KLDivLoss": (lambda n: n.KLDivLoss(reduction="batchmean", log_target=True), [(2, 4), (2, 4)]),
    "PoissonNLLLoss": (lambda n: n.PoissonNLLLoss(full=True), [(2, 4), (2, 4)]),
    "GaussianNLLLoss": (lambda n: (lambda x, y: n.GaussianNLLLoss(full=True)(x, y, 0.5)), [(2, 4), (2, 4)]),
    "HingeEmbeddingLoss": (lambda n: n.HingeEmbeddingLoss(0.4), [(2, 4), (2, 4)]),
    "SoftMarginLoss": (lambda n: n.SoftMarginLoss(size_average=False), [(2, 4), (2, 4)]),
    "MultiLabelSoftMarginLoss": (lambda n: n.MultiLabelSoftMarginLoss(reduction="none"), [(2, 4), (2, 4)]),
    "MarginRankingLoss": (lambda n: n.MarginRankingLoss(0.2), [(2, 4), (2, 4), (2, 4)]),
    "TripletMarginLoss": (lambda n: n.TripletMarginLoss(swap=True), [(2, 4), (2, 4), (2, 4)]),
    "TripletMarginWithDistanceLoss": (
        lambda n: n.TripletMarginWithDistanceLoss(distance_function=n.PairwiseDistance(), margin=2.0),
        [(2, 4), (2, 4), (2, 4)],
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:size_average and reduce")
@pytest.mark.parametrize("name", MODULES)
def test_modules_equal_pytorchs(name: str) -> None:
    pytorch = pytest.importorskip("torch", reason="PyTorch is not installed")
    build, shapes = MODULES[name]
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    ours, theirs = build(nn), build(pytorch.nn)
    found, wanted = (m(*(p.tensor(a) for a in arrays)) for m, p in ((ours, pycnn), (theirs, pytorch)))
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=2e-6, atol=1e-6)
    if isinstance(ours, nn.Module):
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())


def test_modules_of_classes() -> None:
    pytorch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    weight = np.array([1, 2, 0.5, 1.5], np.float32)
    labels, several, signs = [0, 3, 1], [[3, 0, -1, 1], [1, -1, 0, 0], [0, 1, 2, 3]], [1, -1, 1]
    losses = [
        lambda p: p.nn.MultiMarginLoss(2, 0.7, p.tensor(weight))(p.tensor(x), p.tensor(labels)),
        lambda p: p.nn.MultiLabelMarginLoss()(p.tensor(x), p.tensor(several)),
        lambda p: p.nn.CosineEmbeddingLoss(0.1)(p.tensor(x), p.tensor(x[::-1].copy()), p.tensor(signs)),
        lambda p: p.nn.CTCLoss(blank=2)(
            p.tensor(x)[:, None].log_softmax(2), p.tensor([[1, 3]]), p.tensor([3]), p.tensor([2])
        ),
        lambda p: p.nn.CTCLoss()(p.tensor(x).log_softmax(1), p.tensor([1, 3]), p.tensor(3), p.tensor(2)),
    ]
    for loss in losses:
        np.testing.assert_allclose(loss(pycnn).item(), loss(pytorch).item(), rtol=3e-6)


def test_extreme_logits_stay_finite() -> None:
    x = pycnn.tensor([-200.0, -90.0, 0.0, 90.0, 200.0], requires_grad=True)
    ones = pycnn.ones(5)
    for loss in (
        F.soft_margin_loss(x, ones),
        F.multilabel_soft_margin_loss(x, ones),
        F.binary_cross_entropy_with_logits(x, ones),
        F.cross_entropy(x[None], pycnn.tensor([0])),
        F.mish(x).sum(),
        F.selu(x).sum(),
        F.celu(x).sum(),
        F.glu(pycnn.cat((x, x))).sum(),
        pycnn.ops.sigmoid_focal_loss(x, ones, reduction="mean"),
        pycnn.ops.generator_loss(x),
        pycnn.ops.discriminator_loss(x, x),
    ):
        assert np.isfinite(loss.item())
        (gradient,) = pycnn.autograd.grad(loss, x, retain_graph=True)
        assert np.isfinite(gradient.numpy()).all(), loss
    # log(1 + e^200) is 200 in float32
    assert F.soft_margin_loss(pycnn.tensor([200.0]), pycnn.tensor([-1.0])).item() == 200


def test_ctc_of_long_sequences() -> None:
    """The probability of one path among 3^200 is far below the smallest double."""
    logits = pycnn.zeros(200, 2, 3, requires_grad=True)
    targets = pycnn.tensor([[1, 2] * 50, [1] * 100])
    loss = F.ctc_loss(logits.log_softmax(2), targets, [200, 199], [100, 100], reduction="none")
    # 199 frames for 100 times the same label: a blank between any two, one path
    assert loss[1].item() == pytest.approx(199 * np.log(3), rel=1e-5)
    loss.sum().backward()
    assert np.isfinite(logits.grad.numpy()).all()
    assert float(logits.grad[199, 1].abs().max()) == 0  # behind its length


def test_infinite_ctc_losses() -> None:
    logits = pycnn.zeros(2, 1, 3, requires_grad=True)
    call = lambda **k: F.ctc_loss(logits.log_softmax(2), pycnn.tensor([[1, 1]]), [2], [2], **k)  # noqa: E731
    assert call().item() == np.inf
    loss = call(zero_infinity=True)
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().sum().item() == 0


SMOOTH: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "mish": (F.mish, [(2, 3)]),
    "selu": (F.selu, [(2, 3)]),
    "celu": (lambda x: F.celu(x, 0.5), [(2, 3)]),
    "softsign": (F.softsign, [(2, 3)]),
    "tanhshrink": (F.tanhshrink, [(2, 3)]),
    "hardswish": (F.hardswish, [(2, 3)]),
    "glu": (F.glu, [(2, 4)]),
    "prelu": (F.prelu, [(2, 3), (3,)]),
    "normalize": (F.normalize, [(2, 3)]),
    "cosine_similarity": (F.cosine_similarity, [(2, 3), (2, 3)]),
    "smooth_l1_loss": (F.smooth_l1_loss, [(2, 3), (2, 3)]),
    "huber_loss": (F.huber_loss, [(2, 3), (2, 3)]),
    "kl_div": (lambda x, y: F.kl_div(x, y, log_target=True, reduction="sum"), [(2, 3), (2, 3)]),
    "poisson_nll_loss": (F.poisson_nll_loss, [(2, 3), (2, 3)]),
    "gaussian_nll_loss": (lambda x, y, v: F.gaussian_nll_loss(x, y, v * v + 1), [(2, 3), (2, 3), (2, 3)]),
    "soft_margin_loss": (F.soft_margin_loss, [(2, 3), (2, 3)]),
    "multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, [(2, 3), (2, 3)]),
    "cosine_embedding_loss": (
        lambda x, y: F.cosine_embedding_loss(x, y, pycnn.tensor([1, 1])), [(2, 3), (2, 3)]),
    "triplet_margin_loss": (lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=9.0), [(2, 3), (2, 3), (2, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives(name: str) -> None:
    function, shapes = SMOOTH[name]
    rng = np.random.default_rng(5)
    draw = [np.where(v < 0, v - 0.2, v + 0.2) for v in (rng.standard_normal(shape) for shape in shapes)]
    assert gradgradcheck(function, [pycnn.tensor(v, dtype=pycnn.float64, requires_grad=True) for v in draw])


def test_in_place_forms_change_their_operand() -> None:
    values = [-4.0, -0.2, 0.3, 8.0]
    for change, same in [
        (F.hardtanh_, F.hardtanh), (F.selu_, F.selu), (F.celu_, F.celu), (F.elu_, F.elu), (F.relu_, F.relu),
        (F.leaky_relu_, F.leaky_relu), (lambda x: F.threshold_(x, 0.1, 7.0), lambda x: F.threshold(x, 0.1, 7.0)),
        (lambda x: F.relu6(x, inplace=True), F.relu6), (lambda x: F.mish(x, inplace=True), F.mish),
        (lambda x: F.hardswish(x, True), F.hardswish), (F.rrelu_, F.rrelu),
    ]:  # fmt: skip
        x = pycnn.tensor(values)
        assert change(x) is x
        assert x.tolist() == same(pycnn.tensor(values)).tolist()


def test_rrelu_draws_slopes_between_its_bounds() -> None:
    x = -pycnn.ones(20000)
    slopes = -F.rrelu(x, 0.1, 0.5, training=True)
    assert 0.1 <= slopes.min().item() < 0.101 and 0.499 < slopes.max().item() < 0.5
    assert slopes.mean().item() == pytest.approx(0.3, abs=0.005)
    assert F.rrelu(-x, training=True).tolist() == (-x).tolist()


def test_gumbel_softmax_draws_classes_with_their_probabilities() -> None:
    p = np.array([0.2, 0.5, 0.3])
    logits = pycnn.tensor(np.log(p), dtype=pycnn.float32).expand(20000, 3)
    hard = F.gumbel_softmax(logits, hard=True)
    np.testing.assert_allclose(hard.sum(1).numpy(), 1, atol=1e-6)
    np.testing.assert_allclose(hard.mean(0).numpy(), p, atol=0.02)
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(1).numpy(), 1, atol=1e-5)


def test_warnings() -> None:
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmin"):
        F.softmin(pycnn.ones(2, 3))
    with pytest.warns(UserWarning, match="batchmean"):
        F.kl_div(pycnn.zeros(2), pycnn.ones(2))
    with pytest.warns(FutureWarning, match="NLLLoss2d"):
        nn.NLLLoss2d()
    with pytest.warns(FutureWarning, match="min_value"):
        assert nn.Hardtanh(min_value=-3.0).min_val == -3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.kl_div(pycnn.zeros(2), pycnn.ones(2), reduction="batchmean")
