"""U-Net (Ronneberger et al. 2015) as in the paper: no padding, and maps are cropped before they are joined."""

from __future__ import annotations

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


def _double(inputs: int, outputs: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=padding),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=padding),
        nn.ReLU(inplace=True),
    )


class UNet(Network):
    """(N, 1, 572, 572) to logits (N, num_classes, 388, 388).

    Args:
        num_classes, in_channels: channels of output and input.
        width: channels of the first level; each of the four below has twice those of the one above.
        padding: 1 keeps the size, for inputs whose extents are multiples of 16; 0 is the paper's.
        dropout: probability, at the end of the way down.
    """

    head_names = ("head",)
    stage_names = ("down.0", "down.1", "down.2", "down.3", "down.4")

    def __init__(
        self, num_classes: int = 2, in_channels: int = 1, width: int = 64, padding: int = 0, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList([_double(i, o, padding) for i, o in zip(inputs, widths, strict=True)])
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1])])
        self.join = nn.ModuleList([_double(2 * w, w, padding) for w in reversed(widths[:-1])])
        self.head = nn.Conv2d(width, num_classes, 1)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level > 0 else x)
            if level >= 3:
                x = self.dropout(x)
            maps.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(maps[:-1]), strict=True):
            x = up(x)
            x = join(_core.cat([_centre(skip, x), x], 1))
        return self.head(x)


def _centre(x: Tensor, like: Tensor) -> Tensor:
    """The middle of a map, of another's size."""
    top, left = (x.shape[2] - like.shape[2]) // 2, (x.shape[3] - like.shape[3]) // 2
    return x[:, :, top : top + like.shape[2], left : left + like.shape[3]]


@register((1, 572, 572), task="segmentation")
def unet(num_classes: int = 2, in_channels: int = 1, width: int = 64, padding: int = 0, dropout: float = 0.5) -> UNet:
    """U-Net of the paper."""
    return UNet(num_classes, in_channels, width, padding, dropout)
