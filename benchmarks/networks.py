"""The networks that are timed, written once and built from either library: `networks.resnet18(pycnn)` and
`networks.resnet18(torch)` have the same parameters under the same names.

Each builder takes the library (the module `pycnn` or `torch`). `NETWORKS` says what a training step of each is fed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network and the batch of one training step."""

    build: Callable[[Any], Any]
    batch_size: int
    channels: int
    size: int  #: height and width of an image, pixels
    classes: int
    per_pixel: bool = False  #: segmentation: one label per pixel
    gpu_batch_size: int = 0  #: that fills a large GPU; 0: the same


def lenet5(library: Any) -> Any:
    """LeCun et al. 1998, with ReLU and max pooling."""
    nn = library.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def residual_block(library: Any, channels: int, width: int, out: int, stride: int, bottleneck: bool) -> Any:
    """He et al. 2015: two 3×3 convolutions, or 1×1, 3×3, 1×1; a 1×1 convolution beside them where shapes change."""
    nn = library.nn

    def convolution(inputs: int, outputs: int, kernel: int, step: int = 1) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if bottleneck:
                layers = [*convolution(channels, width, 1), nn.ReLU(inplace=True)]
                layers += [*convolution(width, width, 3, stride), nn.ReLU(inplace=True), *convolution(width, out, 1)]
            else:
                layers = [*convolution(channels, width, 3, stride), nn.ReLU(inplace=True), *convolution(width, out, 3)]
            self.branch = nn.Sequential(*layers)
            changes = stride != 1 or channels != out
            self.shortcut = nn.Sequential(*convolution(channels, out, 1, stride)) if changes else nn.Identity()

        def forward(self, x: Any) -> Any:
            return library.relu(self.branch(x) + self.shortcut(x))

    return Block()


def residual_stages(library: Any, channels: int, stages: list[tuple[int, int, int]], bottleneck: bool) -> list[Any]:
    """Blocks of stages given as (width, number of blocks, stride of the first)."""
    blocks = []
    for width, count, stride in stages:
        out = 4 * width if bottleneck else width
        for index in range(count):
            blocks.append(residual_block(library, channels, width, out, stride if index == 0 else 1, bottleneck))
            channels = out
    return blocks


def resnet20(library: Any) -> Any:
    """He et al. 2015, section 4.2 (CIFAR-10)."""
    nn = library.nn
    stages = residual_stages(library, 16, [(16, 3, 1), (32, 3, 2), (64, 3, 2)], bottleneck=False)
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def imagenet_resnet(library: Any, counts: list[int], bottleneck: bool) -> Any:
    nn = library.nn
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 128, 256, 512]
    stages = [(width, count, 1 if width == 64 else 2) for width, count in zip(widths, counts, strict=True)]
    blocks = residual_stages(library, 64, stages, bottleneck)
    features = 2048 if bottleneck else 512
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, 1000))


def resnet18(library: Any) -> Any:
    """He et al. 2015, table 1."""
    return imagenet_resnet(library, [2, 2, 2, 2], bottleneck=False)


def resnet50(library: Any) -> Any:
    """He et al. 2015, table 1; the stride is in the 3×3 convolution, as in torchvision."""
    return imagenet_resnet(library, [3, 4, 6, 3], bottleneck=True)


def vgg16(library: Any) -> Any:
    """Simonyan and Zisserman 2014, configuration D, without dropout."""
    nn = library.nn
    layers: list[Any] = []
    channels = 3
    for width, count in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    classifier = [nn.Linear(25088, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), *classifier, nn.Linear(4096, 1000))


def alexnet(library: Any) -> Any:
    """Krizhevsky 2014 ("one weird trick"), as in torchvision, without dropout."""
    nn = library.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True)),
        nn.Linear(4096, 1000),
    )


def mobilenet(library: Any) -> Any:
    """MobileNet v1, Howard et al. 2017, table 1."""
    nn = library.nn

    def unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[Any]:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    layers = unit(3, 32, 3, 2)
    channels = 32
    rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for width, stride in rows:
        layers += [*unit(channels, channels, 3, stride, groups=channels), *unit(channels, width, 1, 1)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


def unet(library: Any) -> Any:
    """Ronneberger et al. 2015, with padded convolutions, batch norm and 32 channels at the top."""
    nn = library.nn

    def double(inputs: int, outputs: int) -> Any:
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers.append(nn.ReLU(inplace=True))
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [32, 64, 128, 256]
            self.down = nn.ModuleList([double(i, o) for i, o in zip([3, *widths], [*widths, 512], strict=True)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(2 * width, width, 2, 2) for width in reversed(widths)])
            self.join = nn.ModuleList([double(2 * width, width) for width in reversed(widths)])
            self.pool = nn.MaxPool2d(2)
            self.head = nn.Conv2d(32, 2, 1)

        def forward(self, x: Any) -> Any:
            skips = []
            for index, block in enumerate(self.down):
                x = block(x if index == 0 else self.pool(x))
                skips.append(x)
            for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
                x = join(library.cat([skip, up(x)], 1))
            return self.head(x)

    return UNet()


NETWORKS = {
    "lenet5": Network(lenet5, 64, 1, 28, 10),
    "resnet20": Network(resnet20, 128, 3, 32, 10),
    "resnet18": Network(resnet18, 16, 3, 224, 1000, gpu_batch_size=256),
    "resnet50": Network(resnet50, 8, 3, 224, 1000, gpu_batch_size=128),
    "vgg16": Network(vgg16, 4, 3, 224, 1000, gpu_batch_size=64),
    "alexnet": Network(alexnet, 32, 3, 224, 1000, gpu_batch_size=512),
    "mobilenet": Network(mobilenet, 16, 3, 224, 1000, gpu_batch_size=256),
    "unet": Network(unet, 8, 3, 128, 2, per_pixel=True, gpu_batch_size=128),
}
