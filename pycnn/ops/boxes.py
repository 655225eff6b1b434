"""Boxes (x1, y1, x2, y2) with 0 <= x1 < x2 and 0 <= y1 < y2, after torchvision.ops."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import pycnn
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs


class Overlap(NamedTuple):
    """What the measures of two sets of boxes are made of, elementwise on shapes that broadcast."""

    iou: Tensor
    union: Tensor
    hull_sides: tuple[Tensor, Tensor]  #: width and height of the smallest box around both


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    x1, y1, x2, y2 = _widened(boxes).unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes (..., 4) in another format: "xyxy" (corners), "xywh" (corner, size) or "cxcywh" (centre, size).

    Errors: ValueError for another format.
    """
    for given in (in_fmt, out_fmt):
        if given not in ("xyxy", "xywh", "cxcywh"):
            raise ValueError(f"box_convert: unsupported format {given!r}; expected 'xyxy', 'xywh' or 'cxcywh'")
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = boxes.unbind(-1)
    if in_fmt == "xywh":
        a, b, c, d = a, b, a + c, b + d
    elif in_fmt == "cxcywh":
        a, b, c, d = a - 0.5 * c, b - 0.5 * d, a + 0.5 * c, b + 0.5 * d
    if out_fmt == "xywh":
        c, d = c - a, d - b
    elif out_fmt == "cxcywh":
        a, b, c, d = (a + c) / 2, (b + d) / 2, c - a, d - b
    return pycnn.stack((a, b, c, d), dim=-1)


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) with their corners moved into an image of `size` (height, width)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    height, width = size
    return pycnn.stack((x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)), dim=-1)


@on_device_of_inputs
def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Indices (K,) of the boxes (N, 4) both of whose sides are at least min_size. Evaluates them."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    keep = ((x2 - x1) >= min_size) & ((y2 - y1) >= min_size)
    return pycnn.tensor(np.flatnonzero(keep.cpu().numpy()), dtype=pycnn.int64)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union, (N, M), of boxes (N, 4) with boxes (M, 4)."""
    return overlap(*_pairs(boxes1, boxes2)).iou


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU minus the share of the smallest box around both that neither covers, (N, M) (Rezatofighi et al. 2019)."""
    return generalized_iou(*_pairs(boxes1, boxes2))


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU minus (distance of centres / diagonal of the smallest box around both)^2, (N, M) (Zheng et al. 2020)."""
    return distance_iou(*_pairs(boxes1, boxes2), eps=eps)


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """distance_box_iou minus a penalty for other proportions, (N, M) (Zheng et al. 2020)."""
    return complete_iou(*_pairs(boxes1, boxes2), eps=eps)


@on_device_of_inputs
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: indices (K,) of the boxes kept, best score first. Evaluates the boxes.

    boxes: (N, 4). scores: (N,). A box whose IoU with a better kept one exceeds iou_threshold is dropped.
    Errors: RuntimeError for other shapes.
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"nms: boxes should be a tensor of shape (N, 4), got {tuple(boxes.shape)}")
    if scores.dim() != 1 or scores.shape[0] != boxes.shape[0]:
        raise RuntimeError(f"nms: expected scores of shape ({boxes.shape[0]},), got {tuple(scores.shape)}")
    with pycnn.no_grad():
        above = (box_iou(boxes, boxes) > iou_threshold).cpu().numpy() if len(boxes) else np.zeros((0, 0), bool)
    order = np.argsort(-scores.detach().cpu().numpy(), kind="stable")
    dropped = np.zeros(len(order), bool)
    kept = []
    for i in order:
        if not dropped[i]:
            kept.append(int(i))
            dropped |= above[i]
    return pycnn.tensor(kept, dtype=pycnn.int64)


@on_device_of_inputs
def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """nms within each class of `idxs` (N,) by itself; arguments and result otherwise as in `nms`."""
    if boxes.numel() == 0:
        return pycnn.zeros((0,), dtype=pycnn.int64)
    # Classes are moved so far apart that their boxes cannot meet.
    offsets = idxs.to(boxes.dtype) * (boxes.detach().max() + 1)
    return nms(boxes + offsets[:, None], scores, iou_threshold)


# -- elementwise measures of two sets of boxes (..., 4) ----------------------------------------------------------------


def overlap(boxes1: Tensor, boxes2: Tensor, eps: float = 0.0) -> Overlap:
    """IoU (with eps added to the union), union and the sides of the smallest box around both, (...)."""
    ax1, ay1, ax2, ay2 = _widened(boxes1).unbind(-1)
    bx1, by1, bx2, by2 = _widened(boxes2).unbind(-1)
    width = (pycnn.minimum(ax2, bx2) - pycnn.maximum(ax1, bx1)).clamp(min=0)
    height = (pycnn.minimum(ay2, by2) - pycnn.maximum(ay1, by1)).clamp(min=0)
    both = width * height
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - both
    sides = pycnn.maximum(ax2, bx2) - pycnn.minimum(ax1, bx1), pycnn.maximum(ay2, by2) - pycnn.minimum(ay1, by1)
    return Overlap(both / (union + eps if eps else union), union, sides)


def generalized_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 0.0) -> Tensor:
    """The measure of `generalized_box_iou`, elementwise on (..., 4)."""
    iou, union, (width, height) = overlap(boxes1, boxes2, eps)
    hull = width * height
    return iou - (hull - union) / (hull + eps if eps else hull)


def distance_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """The measure of `distance_box_iou`, elementwise on (..., 4)."""
    iou, _, (width, height) = overlap(boxes1, boxes2, eps)
    difference = _widened(boxes1) - _widened(boxes2)
    dx1, dy1, dx2, dy2 = difference.unbind(-1)
    centres = ((dx1 + dx2) / 2) ** 2 + ((dy1 + dy2) / 2) ** 2
    return iou - centres / (width**2 + height**2 + eps)


def complete_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """The measure of `complete_box_iou`, elementwise on (..., 4)."""
    iou = overlap(boxes1, boxes2, eps).iou
    angles = []
    for boxes in (boxes1, boxes2):
        x1, y1, x2, y2 = _widened(boxes).unbind(-1)
        angles.append(pycnn.atan((x2 - x1) / (y2 - y1)))
    unlike = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    share = (unlike / (1 - iou + unlike + eps)).detach()
    return distance_iou(boxes1, boxes2, eps) - share * unlike


def _pairs(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Every box of the first set with every one of the second: (N, 1, 4) and (1, M, 4)."""
    return boxes1[:, None], boxes2[None]


def _widened(boxes: Tensor) -> Tensor:
    """In a dtype in which areas do not overflow: float32 for 16-bit floats, int64 for integers."""
    if boxes.is_floating_point():
        return boxes if boxes.dtype in (pycnn.float32, pycnn.float64) else boxes.float()
    return boxes.long()
