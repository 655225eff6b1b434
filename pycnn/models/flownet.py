"""FlowNetSimple (Dosovitskiy et al. 2015): optical flow from two images."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network, initialize
from pycnn.models.registry import register


def _down(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.LeakyReLU(0.1, inplace=True))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(0.1, inplace=True))


class FlowNetS(Network):
    """Two images, one after the other in the channels, (N, 6, H, W), extents multiples of 64.

    Gives the flow (N, 2, H/4, W/4), in training mode a list of flows, finest first, at strides 4 to 64.

    Args:
        in_channels: of both images together.
        width: channels of the first convolution.
    """

    stage_names = ("conv1", "conv2", "conv3_1", "conv4_1", "conv5_1", "conv6_1")

    def __init__(self, in_channels: int = 6, width: int = 64) -> None:
        super().__init__()
        w = width
        self.conv1 = _down(in_channels, w, 7, 2)
        self.conv2 = _down(w, 2 * w, 5, 2)
        self.conv3 = _down(2 * w, 4 * w, 5, 2)
        self.conv3_1 = _down(4 * w, 4 * w)
        self.conv4 = _down(4 * w, 8 * w, 3, 2)
        self.conv4_1 = _down(8 * w, 8 * w)
        self.conv5 = _down(8 * w, 8 * w, 3, 2)
        self.conv5_1 = _down(8 * w, 8 * w)
        self.conv6 = _down(8 * w, 16 * w, 3, 2)
        self.conv6_1 = _down(16 * w, 16 * w)
        self.deconv5 = _up(16 * w, 8 * w)
        self.deconv4 = _up(16 * w + 2, 4 * w)
        self.deconv3 = _up(12 * w + 2, 2 * w)
        self.deconv2 = _up(6 * w + 2, w)
        for level, channels in zip(
            (6, 5, 4, 3, 2), (16 * w, 16 * w + 2, 12 * w + 2, 6 * w + 2, 3 * w + 2), strict=True
        ):
            self.add_module(f"predict_flow{level}", nn.Conv2d(channels, 2, 3, padding=1, bias=False))
            if level > 2:
                name = f"upsampled_flow{level}_to_{level - 1}"
                self.add_module(name, nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False))
        initialize(self)

    def forward(self, x: Tensor) -> Any:
        conv2 = self.conv2(self.conv1(x))
        conv3 = self.conv3_1(self.conv3(conv2))
        conv4 = self.conv4_1(self.conv4(conv3))
        conv5 = self.conv5_1(self.conv5(conv4))
        x = self.conv6_1(self.conv6(conv5))
        flows = [self.predict_flow6(x)]
        for level, skip in zip((5, 4, 3, 2), (conv5, conv4, conv3, conv2), strict=True):
            larger = getattr(self, f"upsampled_flow{level + 1}_to_{level}")(flows[0])
            x = _core.cat([skip, getattr(self, f"deconv{level}")(x), larger], 1)
            flows.insert(0, getattr(self, f"predict_flow{level}")(x))
        return flows if self.training else flows[0]


@register((6, 384, 512), task="optical flow")
def flownet_s(**options: Any) -> FlowNetS:
    """FlowNetS."""
    return FlowNetS(**options)
