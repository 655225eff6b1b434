"""Every network overfits a few real samples of its task: classes, masks, boxes, flow, depth, cuts, sentences, captions.

The images are the digits that the package carries.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import pytest
from small_networks import SMALL, small, tensors_in

import pycnn
from pycnn import datasets, models, ops
from pycnn.nn import functional as F


def digits(labels, height: int, width: int) -> np.ndarray:
    """A digit of each label, (N, H, W), scaled to that size, in 0..1."""
    data = datasets.digits()
    chosen = [int(np.flatnonzero(data.train_labels == label)[0]) for label in labels]
    return (datasets.resize_bilinear(data.train_images[chosen], height, width) / data.maximum).astype(np.float32)


def repeated(images: np.ndarray, shape) -> pycnn.Tensor:
    """Normalised images (N, H, W) along the channels, depth or views of inputs of `shape`."""
    images = (images - images.mean()) / images.std()
    between = (1,) * (len(shape) - 2)
    full = np.broadcast_to(images.reshape(len(images), *between, *images.shape[1:]), (len(images), *shape))
    return pycnn.tensor(full.copy())


@pytest.fixture(autouse=True)
def fixed_start() -> None:
    pycnn.manual_seed(0)


def overfit(model, inputs, loss_of, rate: float, until: float, steps: int = 500):
    """The outputs of the last step; the loss must fall under `until`."""
    for module in model.modules():
        if type(module).__name__.startswith("Dropout"):
            module.p = 0.0
    optimizer = pycnn.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        outputs = model(*inputs)
        loss = loss_of(outputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < until:
            return outputs
    raise AssertionError(f"the loss fell from {losses[0]} to {losses[-1]} only, not to {until}")


OTHER_TASKS = {
    "FCN8s", "UNet", "FCN", "DeepLabV3", "YOLOv1", "Generator", "Discriminator", "FlowNetS", "DepthNet", "PNet", "RNet",
    "ONet", "TransNetV2", "TextCNN", "Captioner",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in SMALL if name.split()[0] not in OTHER_TASKS])
def test_classifiers(name):
    shape = SMALL[name][2][0][1:]
    x, y = repeated(digits(range(5), *shape[-2:]), shape), pycnn.arange(5)
    model = small(models, name)
    if name == "SqueezeNet":  # whose logits are behind a ReLU: no class shall begin without a gradient
        model.classifiers()[0].bias.data.fill_(1.0)
    # Codes of +-1 need larger steps than others, and do not come near 0 in the loss.
    rate = {"LeNet5Original": 0.02, "SqueezeNet": 0.0002}.get(name, 0.002)
    logits = overfit(
        model, [x], lambda outputs: F.cross_entropy(tensors_in(outputs)[0], y), rate,
        0.45 if name == "LeNet5Original" else 0.1,
    )  # fmt: skip
    assert (tensors_in(logits)[0].argmax(1) == y).all()


@pytest.mark.parametrize("name", ["FCN8s", "UNet", "FCN", "DeepLabV3"])
def test_segmentation(name):
    """The ink of two digits."""
    shape = SMALL[name][2][0][1:]
    images = digits([3, 8], *shape[-2:])
    model = small(models, name)

    def loss_of(outputs):
        scores = tensors_in(outputs)[0]
        top, left = ((a - b) // 2 for a, b in zip(images.shape[1:], scores.shape[2:], strict=True))
        seen = images[:, top : top + scores.shape[2], left : left + scores.shape[3]]
        return F.cross_entropy(scores, pycnn.tensor((seen > seen.mean()).astype(np.int64)))

    overfit(model, [repeated(images, shape)], loss_of, 0.001 if name == "UNet" else 0.005, 0.2)


@pytest.mark.parametrize("name", ["YOLOv1", "YOLOv1 tiny"])
def test_detection(name):
    """A digit in one cell of each image: its box and class."""
    shape = SMALL[name][2][0][1:]
    size = shape[-1]
    labels, cells = [0, 2], [(0, 1), (1, 0)]
    canvas, targets = np.zeros((2, size, size), np.float32), np.zeros((2, 2, 2, 8), np.float32)
    for i, (label, (row, column)) in enumerate(zip(labels, cells, strict=True)):
        side = size // 2 - 8 * i
        top, left = row * size // 2, column * size // 2
        canvas[i, top : top + side, left : left + side] = digits([label], side, side)[0]
        targets[i, row, column, :5] = side / size, side / size, side / size, side / size, 1
        targets[i, row, column, 5 + label] = 1
    model = small(models, name)
    found = overfit(
        model, [repeated(canvas, shape)], lambda y: ops.yolo_v1_loss(y, pycnn.tensor(targets)), 0.002, 0.1
    )  # fmt: skip
    for i, (label, (row, column)) in enumerate(zip(labels, cells, strict=True)):
        cell = found[i, row, column].detach().numpy()
        best = cell[:10].reshape(2, 5)[cell[[4, 9]].argmax()]
        assert cell[10:].argmax() == label and abs(best[2] ** 2 - targets[i, row, column, 2]) < 0.1


def test_generation():
    """Three latent vectors become three digits; digits are told from noise."""
    (count, channels, *_), (_, *image) = SMALL["Generator"][2][0], SMALL["Discriminator"][2][0]
    real = pycnn.tensor(np.repeat(digits([1, 4, 7], *image[1:])[:, None], image[0], 1) * 2 - 1)
    latent = pycnn.randn(count, channels, 1, 1)
    overfit(small(models, "Generator"), [latent], lambda made: F.mse_loss(made, real), 0.01, 0.1)
    discriminator = small(models, "Discriminator")
    mixed = pycnn.cat([real, pycnn.rand(*real.shape) * 2 - 1])
    overfit(discriminator, [mixed], lambda logits: ops.discriminator_loss(logits[:3], logits[3:]), 0.002, 0.05)


def test_optical_flow():
    """A digit that moves right in one half of the image and left in the other."""
    _, _, height, width = SMALL["FlowNetS"][2][0]
    before = digits([6], height, width)[0]
    after = np.concatenate([np.roll(before[:, : width // 2], 4, 1), np.roll(before[:, width // 2 :], -4, 1)], 1)
    x = pycnn.tensor(np.stack([before] * 3 + [after] * 3)[None])
    target = np.zeros((1, 2, height // 4, width // 4), np.float32)
    target[:, 0, :, : width // 8], target[:, 0, :, width // 8 :] = 4, -4
    model = small(models, "FlowNetS")
    overfit(model, [x], lambda flows: ops.end_point_error(flows[0], pycnn.tensor(target)), 0.01, 0.5)


def test_depth():
    """Ink is near, paper is far."""
    shape = SMALL["DepthNet"][2][0][1:]
    depth = pycnn.tensor(1 + 4 * (1 - digits([5], 55, 74))[None])
    x = repeated(digits([5], *shape[-2:]), shape)
    overfit(small(models, "DepthNet"), [x], lambda y: ops.scale_invariant_log_loss(y, depth), 0.002, 0.02)


@pytest.mark.parametrize("name", ["PNet", "RNet", "ONet"])
def test_face_detection(name):
    """A nought is a face, a one is none; and where it is."""
    size = {"PNet": 12, "RNet": 24, "ONet": 48}[name]
    x = repeated(digits([0, 1], size, size), (3, size, size))
    box = pycnn.tensor([0.1, -0.2, 0.3, -0.1])

    def loss_of(outputs):
        corrections, shares = outputs[0].reshape(2, -1), outputs[-1].reshape(2, 2)
        return -shares[0, 1].log() - shares[1, 0].log() + ((corrections[0] - box) ** 2).sum()

    overfit(small(models, name), [x], loss_of, 0.002, 0.05)


def test_shot_detection():
    """Where a film of one digit goes on with another."""
    _, (_, frames, height, width, _) = SMALL["TransNetV2"][2][0]
    film = np.repeat(digits([2, 9], height, width), frames // 2, 0)
    x = pycnn.tensor((np.repeat(film[None, ..., None], 3, 4) * 255).astype(np.uint8))
    cut = pycnn.zeros(1, frames, 1)
    cut[0, frames // 2 - 1, 0] = 1.0
    model = small(models, "TransNetV2")
    overfit(model, [x], lambda y: F.binary_cross_entropy_with_logits(y[0], cut), 0.001, 0.05)


def sentences() -> tuple[list[list[int]], list[int], int]:
    """Lines of what two modules say about themselves: words as numbers, classes, how many words there are."""
    text = [
        [line.lower().split() for line in module.__doc__.splitlines() if line.strip()][:15]
        for module in (statistics, argparse)
    ]
    words = {word: i + 1 for i, word in enumerate(sorted({w for lines in text for line in lines for w in line}))}
    longest = max(len(line) for lines in text for line in lines)
    numbers = [[words[w] for w in line] + [0] * (longest - len(line)) for lines in text for line in lines]
    return numbers, [i for i, lines in enumerate(text) for _ in lines], len(words) + 1


@pytest.mark.parametrize("multichannel", [False, True])
def test_sentences(multichannel):
    numbers, classes, vocabulary = sentences()
    y = pycnn.tensor(classes)
    model = models.TextCNN(2, vocabulary, 16, filters=8, multichannel=multichannel)
    logits = overfit(model, [pycnn.tensor(numbers)], lambda logits: F.cross_entropy(logits, y), 0.01, 0.05)
    assert (logits.argmax(1) == y).all() and model.embedding.weight[0].abs().sum().item() > 0


def test_captions():
    """Names of digits, letter by letter; then they are generated from the images alone."""
    names = ["zero", "one", "two", "three", "four"]
    letters = sorted(set("".join(names)))
    start, end = len(letters), len(letters) + 1
    length = max(map(len, names)) + 1
    spelled = [[letters.index(c) for c in name] + [end] * (length - len(name)) for name in names]
    said = pycnn.tensor([[start, *caption[:-1]] for caption in spelled])
    wanted = pycnn.tensor(spelled)
    model = models.Captioner(len(letters) + 2, width=16, hidden=32, configuration="A", channels=1 / 16)
    images = repeated(digits(range(5), 32, 32), (3, 32, 32))

    def loss_of(outputs):
        logits, weights = outputs
        overlooked = ((1 - weights.sum(1)) ** 2).mean()
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten()) + 0.01 * overlooked

    overfit(model, [images, said], loss_of, 0.004, 0.05)
    with pycnn.no_grad():
        assert model.eval().generate(images, start, length).tolist() == spelled
