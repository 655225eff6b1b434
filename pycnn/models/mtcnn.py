"""MTCNN (Zhang et al. 2016): three networks that find faces, each looking closer than the one before.

Parameters have the names of the weights in the package `facenet-pytorch`. Inputs are (pixel - 127.5) / 128.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register


def _convolutions(model: nn.Module, channels: Sequence[int], kernels: Sequence[int], pools: Sequence[Any]) -> None:
    """conv1, prelu1, pool1 and so on; `pools` are (size, stride) or None."""
    for i, (inputs, outputs, kernel, pool) in enumerate(zip(channels, channels[1:], kernels, pools, strict=False), 1):
        model.add_module(f"conv{i}", nn.Conv2d(inputs, outputs, kernel))
        model.add_module(f"prelu{i}", nn.PReLU(outputs))
        if pool is not None:
            model.add_module(f"pool{i}", nn.MaxPool2d(pool[0], pool[1], ceil_mode=True))


def _convolved(model: nn.Module, x: Tensor) -> Tensor:
    i = 1
    while f"prelu{i}" in model._modules and f"conv{i}" in model._modules:
        x = getattr(model, f"prelu{i}")(getattr(model, f"conv{i}")(x))
        if f"pool{i}" in model._modules:
            x = getattr(model, f"pool{i}")(x)
        i += 1
    return x


class PNet(Network):
    """Proposals: (N, 3, H, W) to corrections of boxes (N, 4, h, w) and shares (N, 2, h, w) of no face and face."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        _convolutions(self, (in_channels, 10, 16, 32), (3, 3, 3), ((2, 2), None, None))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = _convolved(self, x)
        return self.conv4_2(x), self.conv4_1(x).softmax(1)


class RNet(Network):
    """Refinement: (N, 3, 24, 24) to corrections (N, 4) and shares (N, 2)."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        _convolutions(self, (in_channels, 28, 48, 64), (3, 3, 2), ((3, 2), (3, 2), None))
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Columns before rows, as the weights were trained.
        x = _convolved(self, x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return self.dense5_2(x), self.dense5_1(x).softmax(1)


class ONet(Network):
    """Output: (N, 3, 48, 48) to corrections (N, 4), five landmarks (N, 10) and shares (N, 2)."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        _convolutions(self, (in_channels, 32, 64, 64, 128), (3, 3, 3, 2), ((3, 2), (3, 2), (2, 2), None))
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = _convolved(self, x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return self.dense6_2(x), self.dense6_3(x), self.dense6_1(x).softmax(1)


_SCALE: dict[str, Any] = {"task": "face detection", "mean": (0.5,), "std": (128 / 255,)}


@register((3, 12, 12), **_SCALE)
def mtcnn_pnet(**options: Any) -> PNet:
    """MTCNN's first network, for images of any size."""
    return PNet(**options)


@register((3, 24, 24), **_SCALE)
def mtcnn_rnet(**options: Any) -> RNet:
    """MTCNN's second network."""
    return RNet(**options)


@register((3, 48, 48), **_SCALE)
def mtcnn_onet(**options: Any) -> ONet:
    """MTCNN's third network."""
    return ONet(**options)
