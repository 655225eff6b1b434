"""YOLO v1 (Redmon et al. 2016), and the tiny one of nine convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import init

# Figure 3 of the paper: (channels, kernel, stride), "M" for maximum pooling.
_FULL: list[Any] = [
    (64, 7, 2), "M", (192, 3, 1), "M", (128, 1, 1), (256, 3, 1), (256, 1, 1), (512, 3, 1), "M",
    *[(256, 1, 1), (512, 3, 1)] * 4, (512, 1, 1), (1024, 3, 1), "M",
    *[(512, 1, 1), (1024, 3, 1)] * 2, (1024, 3, 1), (1024, 3, 2), (1024, 3, 1), (1024, 3, 1),
]  # fmt: skip
_TINY: list[Any] = [
    (16, 3, 1), "M", (32, 3, 1), "M", (64, 3, 1), "M", (128, 3, 1), "M", (256, 3, 1), "M", (512, 3, 1), "M",
    (1024, 3, 1), (1024, 3, 1), (1024, 3, 1),
]  # fmt: skip


class YOLOv1(Network):
    """(N, 3, 448, 448) to (N, S, S, B * 5 + C): in each cell x, y, w, h and confidence of B boxes, then C classes.

    Args:
        layers: as in the tables of this file.
        grid: S.
        boxes: B.
        num_classes: C.
        in_channels: of the image.
        width: factor of all channels.
        hidden: outputs of the linear layers before the last.
        image_size: extent of the image.
        dropout: probability.
    """

    def __init__(
        self,
        layers: Sequence[Any],
        num_classes: int = 20,
        in_channels: int = 3,
        grid: int = 7,
        boxes: int = 2,
        width: float = 1.0,
        hidden: Sequence[int] = (4096,),
        image_size: int = 448,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        ends = []
        channels, stride = in_channels, 1
        for layer in layers:
            if layer == "M":
                ends.append(f"features.{len(modules) - 1}")
                modules.append(nn.MaxPool2d(2))
                stride *= 2
                continue
            outputs, kernel, step = layer
            outputs = int(outputs * width)
            modules += [nn.Conv2d(channels, outputs, kernel, step, kernel // 2), nn.LeakyReLU(0.1, inplace=True)]
            channels = outputs
            stride *= step
        self.stage_names = (*ends, f"features.{len(modules) - 1}")
        self.features = nn.Sequential(*modules)
        inputs = channels * (image_size // stride) ** 2
        linear: list[nn.Module] = [nn.Flatten()]
        for outputs in hidden:
            linear += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.1, inplace=True)]
            inputs = outputs
        self.classifier = nn.Sequential(
            *linear, nn.Dropout(dropout), nn.Linear(inputs, grid * grid * (boxes * 5 + num_classes))
        )
        self.grid = grid
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, 0.1, "fan_out", "leaky_relu")
                assert module.bias is not None
                init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).reshape(x.shape[0], self.grid, self.grid, -1)


@register((3, 448, 448), task="detection")
def yolo_v1(**options: Any) -> YOLOv1:
    """YOLO v1 with 24 convolutions."""
    return YOLOv1(_FULL, **options)


@register((3, 448, 448), task="detection")
def yolo_v1_tiny(**options: Any) -> YOLOv1:
    """YOLO v1 with nine convolutions."""
    return YOLOv1(_TINY, **{"hidden": (256, 4096), **options})
