"""Boxes and losses of detection, segmentation, optical flow, depth and adversarial training, outside of torch.nn.

Boxes and what torchvision.ops has carry its names and meaning.
"""

from pycnn.ops.boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
    nms,
    remove_small_boxes,
)
from pycnn.ops.losses import (
    complete_box_iou_loss,
    dice_loss,
    discriminator_loss,
    distance_box_iou_loss,
    end_point_error,
    generalized_box_iou_loss,
    generator_loss,
    scale_invariant_log_loss,
    sigmoid_focal_loss,
    softmax_focal_loss,
    yolo_v1_loss,
)

__all__ = [
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_loss",
    "dice_loss",
    "discriminator_loss",
    "distance_box_iou",
    "distance_box_iou_loss",
    "end_point_error",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "generator_loss",
    "nms",
    "remove_small_boxes",
    "scale_invariant_log_loss",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "yolo_v1_loss",
]
