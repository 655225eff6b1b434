"""Losses of detection, segmentation, optical flow, depth estimation and adversarial training."""

from __future__ import annotations

import pycnn
import pycnn.nn.functional as F
from pycnn._core import Tensor
from pycnn.ops import boxes


def _reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return loss.mean() if loss.numel() > 0 else 0.0 * loss.sum()
    if reduction == "sum":
        return loss.sum()
    raise ValueError(f"{name}: invalid value for 'reduction': {reduction!r}; supported are 'none', 'mean', 'sum'")


# -- segmentation and classification ---------------------------------------------------------------------------------


def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2, reduction: str = "none"
) -> Tensor:
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability given to the truth (Lin et al. 2017).

    inputs: logits, any shape. targets: 0 or 1, of that shape, floating.
    alpha: weight of the positives, 1 - alpha of the others; negative for none.
    reduction: "none", "mean" or "sum".
    Errors: ValueError for another reduction or shapes that differ.
    """
    p = pycnn.sigmoid(inputs)
    entropy = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    miss = 1 - (p * targets + (1 - p) * (1 - targets))
    loss = entropy * miss**gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced("sigmoid_focal_loss", loss, reduction)


def softmax_focal_loss(
    inputs: Tensor, targets: Tensor, gamma: float = 2, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy times (1 - p_t)^gamma, p_t the probability given to the true class (Lin et al. 2017).

    inputs: logits (N, C, ...). targets: classes (N, ...), int64. weight: (C,) or None.
    reduction: "none" (the targets' shape), "mean" or "sum".
    Errors: as functional.cross_entropy; ValueError for another reduction.
    """
    entropy = F.cross_entropy(inputs, targets, reduction="none")
    loss = entropy * (-pycnn.expm1(-entropy)) ** gamma
    if weight is not None:
        loss = loss * pycnn.index_select(weight, 0, targets.reshape(-1)).reshape(targets.shape)
    return _reduced("softmax_focal_loss", loss, reduction)


def dice_loss(inputs: Tensor, targets: Tensor, smooth: float = 1.0, reduction: str = "mean") -> Tensor:
    """1 - (2 Σ p t + smooth) / (Σ p² + Σ t² + smooth) over the pixels of every channel (Milletari et al. 2016).

    inputs: probabilities (N, C, ...). targets: probabilities or 0 and 1, of that shape.
    smooth: makes an empty prediction of an empty target right.
    reduction: "none" (N, C), "mean" or "sum".
    Errors: ValueError for shapes that differ or another reduction.
    """
    if inputs.shape != targets.shape or inputs.dim() < 2:
        raise ValueError(
            f"dice_loss: expected two tensors of one shape (N, C, ...), got {tuple(inputs.shape)} and "
            f"{tuple(targets.shape)}"
        )
    p, t = inputs.flatten(1 if inputs.dim() == 2 else 2), targets.flatten(1 if inputs.dim() == 2 else 2)
    if inputs.dim() == 2:
        p, t = p[:, :, None], t[:, :, None]
    t = t.to(p.dtype)
    both = (p * t).sum(-1)
    loss = 1 - (2 * both + smooth) / ((p * p).sum(-1) + (t * t).sum(-1) + smooth)
    return _reduced("dice_loss", loss, reduction)


# -- detection ---------------------------------------------------------------------------------------------------------


def generalized_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - generalized IoU of boxes (..., 4) with their counterparts (Rezatofighi et al. 2019).

    reduction: "none" (...), "mean" or "sum". Errors: ValueError for another reduction.
    """
    return _reduced("generalized_box_iou_loss", 1 - boxes.generalized_iou(boxes1, boxes2, eps), reduction)


def distance_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - distance IoU of boxes (..., 4) with their counterparts (Zheng et al. 2020).

    reduction: "none" (...), "mean" or "sum". Errors: ValueError for another reduction.
    """
    return _reduced("distance_box_iou_loss", 1 - boxes.distance_iou(boxes1, boxes2, eps), reduction)


def complete_box_iou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - complete IoU of boxes (..., 4) with their counterparts (Zheng et al. 2020).

    reduction: "none" (...), "mean" or "sum". Errors: ValueError for another reduction.
    """
    return _reduced("complete_box_iou_loss", 1 - boxes.complete_iou(boxes1, boxes2, eps), reduction)


def yolo_v1_loss(
    predictions: Tensor,
    targets: Tensor,
    num_boxes: int = 2,
    lambda_coord: float = 5.0,
    lambda_noobj: float = 0.5,
    reduction: str = "mean",
) -> Tensor:
    """The sum of squared errors of Redmon et al. 2016, equation 3, per image.

    Args:
        predictions: (N, S, S, 5 B + C): B boxes of a cell as (x, y, sqrt(w), sqrt(h), confidence), then the classes.
            The centre is relative to the cell, width and height to the image.
        targets: (N, S, S, 5 + C): (x, y, w, h) and whether there is an object, then the class as 0 and 1.
        num_boxes: B.
        lambda_coord, lambda_noobj: weights of the boxes, and of the confidences of boxes without object.
        reduction: "none" (N,), "mean" or "sum".

    Of a cell's boxes the one with the highest IoU answers for the object; its confidence shall be that IoU.

    Errors: ValueError for other shapes or another reduction.
    """
    classes = targets.shape[-1] - 5
    expected = (*targets.shape[:-1], 5 * num_boxes + classes)
    if targets.dim() != 4 or classes < 0 or tuple(predictions.shape) != expected:
        raise ValueError(
            f"yolo_v1_loss: expected predictions (N, S, S, 5 * {num_boxes} + C) and targets (N, S, S, 5 + C), got "
            f"{tuple(predictions.shape)} and {tuple(targets.shape)}"
        )
    cells = targets.shape[1]
    found = predictions[..., : 5 * num_boxes].unflatten(-1, (num_boxes, 5))
    centre, root, confidence = found[..., 0:2], found[..., 2:4], found[..., 4]
    wanted = targets[..., None, 0:4]
    is_object = targets[..., 4:5]

    def corners(xy: Tensor, sides: Tensor) -> Tensor:
        return pycnn.cat((xy / cells - sides / 2, xy / cells + sides / 2), dim=-1)

    with pycnn.no_grad():
        truth = corners(wanted[..., 0:2], wanted[..., 2:4])
        iou = boxes.overlap(corners(centre, root * root), truth, eps=1e-9).iou
        best = F.one_hot(iou.argmax(-1), num_boxes).to(predictions.dtype)
        answers = best * is_object
    place = ((centre - wanted[..., 0:2]) ** 2).sum(-1) + ((root - wanted[..., 2:4] ** 0.5) ** 2).sum(-1)
    loss = (
        lambda_coord * answers * place
        + answers * (confidence - iou) ** 2
        + lambda_noobj * (1 - answers) * confidence**2
    ).sum(-1)
    errors = ((predictions[..., 5 * num_boxes :] - targets[..., 5:]) ** 2).sum(-1)
    return _reduced("yolo_v1_loss", (loss + is_object[..., 0] * errors).sum((1, 2)), reduction)


# -- optical flow and depth --------------------------------------------------------------------------------------------


def end_point_error(flow: Tensor, target: Tensor, valid: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """The length of the difference of flow vectors (Dosovitskiy et al. 2015), in pixels.

    flow, target: (N, 2, H, W). valid: (N, H, W), 0 where the target is unknown, or None; such pixels count 0 and do
    not enter the mean. reduction: "none" (N, H, W), "mean" or "sum".
    Errors: ValueError for other shapes or another reduction.
    """
    if flow.shape != target.shape or flow.dim() != 4 or flow.shape[1] != 2:
        raise ValueError(
            f"end_point_error: expected two flows (N, 2, H, W), got {tuple(flow.shape)} and {tuple(target.shape)}"
        )
    error = pycnn.norm(flow - target, 2, 1)
    if valid is None:
        return _reduced("end_point_error", error, reduction)
    known = valid != 0
    error = pycnn.where(known, error, pycnn.zeros_like(error))
    if reduction == "mean":
        return error.sum() / known.sum().clamp(min=1)
    return _reduced("end_point_error", error, reduction)


def scale_invariant_log_loss(
    log_depth: Tensor, depth: Tensor, lam: float = 0.5, valid: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """mean d² - lam · (mean d)² per image, d = log_depth - log(depth) (Eigen et al. 2014, equation 4).

    log_depth: predicted logarithms (N, ...). depth: true depths of that shape, positive where they count.
    lam: 0 for the squared error of logarithms, 1 for full invariance to scale.
    valid: of that shape, 0 where the depth is unknown, or None for depth > 0.
    reduction: "none" (N,), "mean" or "sum".
    Errors: ValueError for shapes that differ or another reduction.
    """
    if log_depth.shape != depth.shape or depth.dim() < 1:
        raise ValueError(
            f"scale_invariant_log_loss: expected two tensors of one shape (N, ...), got {tuple(log_depth.shape)} and "
            f"{tuple(depth.shape)}"
        )
    known = (depth > 0) if valid is None else (valid != 0)
    truth = pycnn.log(pycnn.where(known, depth, pycnn.ones_like(depth)))
    d = pycnn.where(known, log_depth - truth, pycnn.zeros_like(log_depth)).reshape(depth.shape[0], -1)
    count = known.reshape(depth.shape[0], -1).sum(1).clamp(min=1).to(d.dtype)
    loss = (d * d).sum(1) / count - lam * (d.sum(1) / count) ** 2
    return _reduced("scale_invariant_log_loss", loss, reduction)


# -- adversarial training ----------------------------------------------------------------------------------------------


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-mean log D(real) - mean log(1 - D(fake)), D = sigmoid of logits of any shape (Goodfellow et al. 2014)."""
    return -F.logsigmoid(real_logits).mean() - F.logsigmoid(-fake_logits).mean()


def generator_loss(fake_logits: Tensor, kind: str = "non_saturating") -> Tensor:
    """The generator's side of `discriminator_loss` for logits of any shape (Goodfellow et al. 2014).

    kind: "minimax", mean log(1 - D(fake)), or "non_saturating", -mean log D(fake), with gradients where D is sure.
    Errors: ValueError for another kind.
    """
    if kind == "minimax":
        return F.logsigmoid(-fake_logits).mean()
    if kind == "non_saturating":
        return -F.logsigmoid(fake_logits).mean()
    raise ValueError(f"generator_loss: expected kind 'minimax' or 'non_saturating', got {kind!r}")
