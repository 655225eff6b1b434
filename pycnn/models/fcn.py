"""FCN-8s (Long et al. 2015) on VGG-16."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.models.vgg import VGG


class FCN8s(Network):
    """FCN-8s (Long et al. 2015) on VGG-16: (N, 3, H, W) to logits (N, num_classes, H, W).

    Scores at strides 32, 16 and 8 are enlarged by learned transposed convolutions, beginning as bilinear
    interpolation, and added. The first convolution pads by 100, as in the paper, and the scores are cropped.
    """

    stage_names = ("features.4", "features.9", "features.16", "features.23", "features.30")

    def __init__(self, num_classes: int = 21, in_channels: int = 3, width: float = 1.0, hidden: int = 4096) -> None:
        super().__init__()
        self.features = VGG("D", in_channels=in_channels, width=width, hidden=1, num_classes=1).features
        first = self.features[0]
        first.padding = (100, 100)
        channels = int(512 * width)
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, hidden, 7),
            nn.ReLU(inplace=True),
            nn.Dropout2d(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(),
        )
        self.score_fr = nn.Conv2d(hidden, num_classes, 1)
        self.score_pool3 = nn.Conv2d(int(256 * width), num_classes, 1)
        self.score_pool4 = nn.Conv2d(channels, num_classes, 1)
        self.upscore2 = nn.ConvTranspose2d(num_classes, num_classes, 4, 2, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(num_classes, num_classes, 4, 2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(num_classes, num_classes, 16, 8, bias=False)
        for layer in (self.upscore2, self.upscore_pool4, self.upscore8):
            _set_bilinear(layer)

    def forward(self, x: Tensor) -> Tensor:
        pool3 = self.features[:17](x)
        pool4 = self.features[17:24](pool3)
        scores = self.upscore2(self.score_fr(self.classifier(self.features[24:](pool4))))
        scores = self.upscore_pool4(scores + _cropped(self.score_pool4(pool4 * 0.01), scores, 5))
        scores = self.upscore8(scores + _cropped(self.score_pool3(pool3 * 0.0001), scores, 9))
        return _cropped(scores, x, 31)


def _cropped(x: Tensor, like: Tensor, offset: int) -> Tensor:
    height, width = like.shape[-2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def _set_bilinear(layer: Any) -> None:
    """Each class is enlarged by itself, linearly in both directions."""
    extent = layer.kernel_size[0]
    factor = (extent + 1) // 2
    centre = factor - 1 if extent % 2 else factor - 0.5
    ramp = 1 - (_core.arange(float(extent)) - centre).abs() / factor
    channels = layer.weight.shape[0]
    kernel = ramp.reshape(-1, 1) * ramp.reshape(1, -1)
    layer.weight.data.copy_(_core.eye(channels).reshape(channels, channels, 1, 1) * kernel)


@register((3, 500, 500), task="segmentation")
def fcn8s(**options: Any) -> FCN8s:
    """FCN-8s on VGG-16, as in the paper."""
    return FCN8s(**options)
