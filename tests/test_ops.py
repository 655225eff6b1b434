"""Boxes and the losses of pycnn.ops against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn import ops
from pycnn.autograd import gradcheck


def some_boxes(count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 10, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.5, 6, (count, 2))], 1)


def double(values: Any, requires_grad: bool = False) -> Any:
    return pycnn.tensor(values, dtype=pycnn.float64, requires_grad=requires_grad)


def pair_measures(a: Any, b: Any) -> tuple[float, float, float, float]:
    """IoU, generalized, distance and complete IoU of two boxes, from their definitions."""
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    union = sum(area) - sides[0] * sides[1]
    iou = sides[0] * sides[1] / union
    hull = [max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1)]
    generalized = iou - (hull[0] * hull[1] - union) / (hull[0] * hull[1])
    apart = sum(((a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2) ** 2 for i in (0, 1))
    distance = iou - apart / (hull[0] ** 2 + hull[1] ** 2)
    v = 4 / np.pi**2 * (np.arctan((a[2] - a[0]) / (a[3] - a[1])) - np.arctan((b[2] - b[0]) / (b[3] - b[1]))) ** 2
    return iou, generalized, distance, distance - v * v / (1 - iou + v)


def test_measures_of_boxes() -> None:
    a, b = some_boxes(6, 0), some_boxes(5, 1)
    expected = np.array([[pair_measures(x, y) for y in b] for x in a])
    functions = (ops.box_iou, ops.generalized_box_iou, ops.distance_box_iou, ops.complete_box_iou)
    for number, function in enumerate(functions):
        np.testing.assert_allclose(function(double(a), double(b)).numpy(), expected[..., number], atol=1e-6)
    assert (expected[..., 0] == 0).any() and (expected[..., 0] > 0).any()
    np.testing.assert_allclose(ops.box_area(double(a)).numpy(), (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))
    losses = (ops.generalized_box_iou_loss, ops.distance_box_iou_loss, ops.complete_box_iou_loss)
    for number, loss in enumerate(losses):
        found = loss(double(a[:5]), double(b), reduction="sum").item()
        assert found == pytest.approx(sum(1 - expected[i, i, number + 1] for i in range(5)), abs=1e-5)
    for loss in losses[:2]:  # the third holds a weight constant
        assert gradcheck(lambda x, y, f=loss: f(x, y), [double(a[:5], True), double(b, True)])


@pytest.mark.parametrize("source", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("target", ["xyxy", "xywh", "cxcywh"])
def test_formats_of_boxes(source: str, target: str) -> None:
    same = {"xyxy": [1.0, 2, 5, 8], "xywh": [1.0, 2, 4, 6], "cxcywh": [3.0, 5, 4, 6]}
    assert ops.box_convert(double([same[source]]), source, target).tolist() == [same[target]]
    with pytest.raises(ValueError, match="box_convert"):
        ops.box_convert(double([same[source]]), source, "yxyx")


def test_clipped_and_small_boxes() -> None:
    boxes = double([[-1, -2, 5, 6], [3, 1, 30, 40], [2, 2, 2.5, 9]])
    assert ops.clip_boxes_to_image(boxes, (10, 20)).tolist() == [[0, 0, 5, 6], [3, 1, 20, 10], [2, 2, 2.5, 9]]
    assert ops.remove_small_boxes(boxes, 1.0).tolist() == [0, 1]


def test_non_maximum_suppression() -> None:
    rng = np.random.default_rng(4)
    boxes, scores = some_boxes(60, 5), rng.permutation(60) / 60
    left, kept = list(np.argsort(-scores)), []
    while left:
        best = left.pop(0)
        kept.append(int(best))
        left = [i for i in left if pair_measures(boxes[best], boxes[i])[0] <= 0.3]
    assert ops.nms(double(boxes), double(scores), 0.3).tolist() == kept
    assert 1 < len(kept) < 60
    classes = rng.integers(0, 3, 60)
    found = ops.batched_nms(double(boxes), double(scores), pycnn.tensor(classes), 0.3).tolist()
    each = [i for c in range(3) for i in np.flatnonzero(classes == c)[
        ops.nms(double(boxes[classes == c]), double(scores[classes == c]), 0.3).numpy()]]  # fmt: skip
    assert sorted(found) == sorted(each)
    assert found == sorted(found, key=lambda i: -scores[i])
    assert ops.nms(double(np.zeros((0, 4))), double(np.zeros(0)), 0.5).tolist() == []
    with pytest.raises(RuntimeError, match="nms"):
        ops.nms(double(boxes), double(scores[:5]), 0.3)


def test_focal_losses() -> None:
    rng = np.random.default_rng(2)
    x, t = rng.standard_normal((3, 4)) * 3, rng.integers(0, 2, (3, 4)).astype(float)
    p = 1 / (1 + np.exp(-x))
    given = np.where(t == 1, p, 1 - p)
    expected = -np.where(t == 1, 0.25, 0.75) * (1 - given) ** 2 * np.log(given)
    np.testing.assert_allclose(ops.sigmoid_focal_loss(double(x), double(t)).numpy(), expected, rtol=1e-9)
    assert gradcheck(lambda x: ops.sigmoid_focal_loss(x, double(t), alpha=-1, gamma=1.5), [double(x, True)])
    labels = np.array([1, 0, 3])
    given = (np.exp(x) / np.exp(x).sum(1, keepdims=True))[range(3), labels]
    found = ops.softmax_focal_loss(double(x), pycnn.tensor(labels), weight=double([1, 2, 3, 4]), reduction="none")
    np.testing.assert_allclose(found.numpy(), -((1 - given) ** 2) * np.log(given) * (labels + 1), rtol=1e-9)
    assert gradcheck(lambda x: ops.softmax_focal_loss(x, pycnn.tensor(labels)), [double(x, True)])
    with pytest.raises(ValueError, match="reduction"):
        ops.sigmoid_focal_loss(double(x), double(t), reduction="average")


def test_dice_loss() -> None:
    p, t = np.array([[[0.9, 0.2], [0.4, 0.0]]]), np.array([[[1.0, 0.0], [0.0, 0.0]]])
    found = ops.dice_loss(double(p), double(t), smooth=0.5, reduction="none").numpy()
    expected = [1 - (2 * 0.9 + 0.5) / (0.85 + 1 + 0.5), 1 - 0.5 / (0.16 + 0.5)]
    np.testing.assert_allclose(found, [expected])
    assert ops.dice_loss(double(t), double(t)).item() == 0
    assert gradcheck(lambda p: ops.dice_loss(p, double(t)), [double(p, True)])
    with pytest.raises(ValueError, match="dice_loss"):
        ops.dice_loss(double(p), double(t[:, :1]))


def yolo_by_loops(predictions: Any, targets: Any, boxes: int) -> list[float]:
    """Equation 3 of Redmon et al. 2016, cell by cell."""
    images, cells = targets.shape[:2]
    losses = []
    for n in range(images):
        total = 0.0
        for cell in np.ndindex(cells, cells):
            found, wanted = predictions[n][cell], targets[n][cell]
            candidates = [found[5 * b : 5 * b + 5] for b in range(boxes)]
            if not wanted[4]:
                total += 0.5 * sum(c[4] ** 2 for c in candidates)
                continue

            def corners(x: float, y: float, w: float, h: float) -> list[float]:
                return [x / cells - w / 2, y / cells - h / 2, x / cells + w / 2, y / cells + h / 2]

            truth = corners(*wanted[:4])
            overlaps = [pair_measures(corners(c[0], c[1], c[2] ** 2, c[3] ** 2), truth)[0] for c in candidates]
            best = int(np.argmax(overlaps))
            for b, c in enumerate(candidates):
                if b != best:
                    total += 0.5 * c[4] ** 2
                    continue
                roots = (c[2] - wanted[2] ** 0.5) ** 2 + (c[3] - wanted[3] ** 0.5) ** 2
                total += 5 * ((c[0] - wanted[0]) ** 2 + (c[1] - wanted[1]) ** 2 + roots)
                total += (c[4] - overlaps[b]) ** 2
            total += ((found[5 * boxes :] - wanted[5:]) ** 2).sum()
        losses.append(total)
    return losses


def test_yolo_v1_loss() -> None:
    rng = np.random.default_rng(6)
    predictions, targets = rng.uniform(0.1, 0.9, (2, 3, 3, 13)), np.zeros((2, 3, 3, 8))
    for n, row, column, label in [(0, 0, 1, 2), (0, 2, 2, 0), (1, 1, 1, 1)]:
        targets[n, row, column, :4] = rng.uniform(0.2, 0.8, 4)
        targets[n, row, column, 4] = targets[n, row, column, 5 + label] = 1
    found = ops.yolo_v1_loss(double(predictions), double(targets), reduction="none").tolist()
    np.testing.assert_allclose(found, yolo_by_loops(predictions, targets, 2), rtol=1e-6)
    leaf = double(predictions, True)
    ops.yolo_v1_loss(leaf, double(targets)).backward()
    assert np.isfinite(leaf.grad.numpy()).all()
    with pytest.raises(ValueError, match="yolo_v1_loss"):
        ops.yolo_v1_loss(double(predictions), double(targets), num_boxes=3)


def test_end_point_error() -> None:
    flow, target = np.zeros((1, 2, 2, 2)), np.zeros((1, 2, 2, 2))
    flow[0, :, 0, 0], flow[0, :, 1, 1] = (3, 4), (6, 8)
    assert ops.end_point_error(double(flow), double(target), reduction="none").tolist() == [[[5, 0], [0, 10]]]
    assert ops.end_point_error(double(flow), double(target)).item() == 3.75
    valid = pycnn.tensor([[[1, 1], [1, 0]]])
    assert ops.end_point_error(double(flow), double(target), valid).item() == pytest.approx(5 / 3)
    leaf = double(flow, True)
    ops.end_point_error(leaf, double(target)).backward()
    assert np.isfinite(leaf.grad.numpy()).all()
    with pytest.raises(ValueError, match="end_point_error"):
        ops.end_point_error(double(flow), double(target[:, :1]))


def test_scale_invariant_log_loss() -> None:
    rng = np.random.default_rng(8)
    depth, y = rng.uniform(1, 9, (2, 3, 4)), rng.standard_normal((2, 3, 4))
    d = (y - np.log(depth)).reshape(2, -1)
    expected = (d**2).mean(1) - 0.5 * d.mean(1) ** 2
    np.testing.assert_allclose(
        ops.scale_invariant_log_loss(double(y), double(depth), reduction="none").numpy(), expected
    )
    moved = ops.scale_invariant_log_loss(double(y + 3), double(depth), lam=1.0).item()
    assert moved == pytest.approx(ops.scale_invariant_log_loss(double(y), double(depth), lam=1.0).item())
    depth[0, 0] = 0  # unknown
    d = (y - np.log(np.where(depth > 0, depth, 1)))[0, 1:]
    found = ops.scale_invariant_log_loss(double(y), double(depth), reduction="none")[0].item()
    assert found == pytest.approx((d**2).mean() - 0.5 * d.mean() ** 2)
    assert gradcheck(lambda y: ops.scale_invariant_log_loss(y, double(depth)), [double(y, True)])


def test_adversarial_losses() -> None:
    real, fake = np.array([0.3, -1.0]), np.array([-2.0, 0.7])
    d_real, d_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    found = ops.discriminator_loss(double(real), double(fake)).item()
    assert found == pytest.approx(-np.log(d_real).mean() - np.log(1 - d_fake).mean())
    assert ops.generator_loss(double(fake)).item() == pytest.approx(-np.log(d_fake).mean())
    assert ops.generator_loss(double(fake), "minimax").item() == pytest.approx(np.log(1 - d_fake).mean())
    with pytest.raises(ValueError, match="generator_loss"):
        ops.generator_loss(double(fake), "wasserstein")
