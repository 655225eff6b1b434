"""DCGAN (Radford et al. 2016): generator and discriminator for images of 64x64, with the names of PyTorch's example."""

from __future__ import annotations

from pycnn import nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import init


def _initialize(model: nn.Module) -> None:
    """Weights of deviation 0.02, as in the paper."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d) and module.weight is not None:
            init.normal_(module.weight, 1.0, 0.02)


class Generator(Network):
    """Noise (N, latent, 1, 1) to images (N, channels, 64, 64) in -1..1. `width`: channels before the last layer."""

    def __init__(self, latent: int = 100, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        steps = [(8 * width, 1, 0), (4 * width, 2, 1), (2 * width, 2, 1), (width, 2, 1)]
        inputs = latent
        for outputs, stride, padding in steps:
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.main = nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class Discriminator(Network):
    """Images (N, channels, 64, 64) to the logit (N,) that one is real: the paper's sigmoid belongs to the loss."""

    stage_names = ("main.1", "main.4", "main.7", "main.10")

    def __init__(self, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for inputs in (width, 2 * width, 4 * width):
            layers.append(nn.Conv2d(inputs, 2 * inputs, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(2 * inputs), nn.LeakyReLU(0.2, inplace=True)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False))
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x).flatten()


@register((100, 1, 1), task="generation")
def dcgan_generator(latent: int = 100, width: int = 64, in_channels: int = 3) -> Generator:
    """DCGAN's generator; `in_channels` are those of the images it makes."""
    return Generator(latent, width, in_channels)


@register((3, 64, 64), task="generation")
def dcgan_discriminator(width: int = 64, in_channels: int = 3) -> Discriminator:
    """DCGAN's discriminator."""
    return Discriminator(width, in_channels)
