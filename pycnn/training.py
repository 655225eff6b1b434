"""Training and evaluating a classifier, and the file that keeps it together with what its inputs need."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import pycnn
from pycnn import _core, models, nn
from pycnn.autograd.grad_mode import no_grad
from pycnn.datasets import Array, Preprocessing
from pycnn.nn import functional as F
from pycnn.optim import SGD
from pycnn.optim.lr_scheduler import CosineAnnealingLR
from pycnn.random import from_default
from pycnn.serialization import read
from pycnn.utils.data import DataLoader, TensorDataset

__all__ = [
    "Classifier",
    "Progress",
    "RandomShift",
    "accuracy",
    "create_classifier",
    "fit",
    "predict_logits",
    "suitable_models",
]

_DESCRIPTION = "pycnn.classifier"
_LARGEST_INPUT = 64


def suitable_models() -> list[str]:
    """Names of the registry's classifiers for images of at most 64 pixels a side."""
    names = models.list(task="classification")
    return [name for name in names if max(models.entry(name).inputs[0][1:]) <= _LARGEST_INPUT]


def create_classifier(name: str, num_classes: int) -> Any:
    """One of `suitable_models()`, for grey images."""
    return models.create(name, num_classes=num_classes, in_channels=1)


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step.

    Attributes:
        epoch, step, steps: counted from 1; steps per epoch.
        loss, accuracy: means over this epoch's images so far, accuracy in 0..1.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float


class RandomShift:
    """Moves every image of a batch (N, C, H, W) by up to `distance` elements each way, repeating the border.

    The shifts come from a generator that the default one seeds at construction.
    """

    def __init__(self, distance: int) -> None:
        self.distance = distance
        self._generator = from_default()

    def __call__(self, batch: pycnn.Tensor) -> pycnn.Tensor:
        images = batch.numpy()
        count, _, height, width = images.shape
        border = (self.distance, self.distance)
        padded = np.pad(images, ((0, 0), (0, 0), border, border), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        tops, lefts = _core.randint(0, 2 * self.distance + 1, (2, count), generator=self._generator).numpy()
        return _core.tensor(np.ascontiguousarray(windows[np.arange(count), :, tops, lefts]))


def fit(
    model: nn.Module,
    images: Array,
    labels: Array,
    *,
    epochs: int,
    batch_size: int = 64,
    lr: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 1e-3,
    augment: Callable[[Any], Any] | None = None,
    on_step: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Trains a classifier with SGD, momentum and a cosine schedule down to 0, one cycle over all steps.

    Args:
        model: gives logits (N, classes) for images; batches come to the device of its parameters.
        images: (N, C, H, W), float32, preprocessed.
        labels: (N,), int64.
        epochs: passes over the images.
        batch_size: images per step.
        lr, momentum, weight_decay: of SGD; the rate at the start.
        augment: changes a batch of images before it is used.
        on_step: called after every step.
        on_epoch: called after every epoch with its number, from 1.

    Interrupting it (KeyboardInterrupt) leaves every parameter whole.
    """
    loader = DataLoader(TensorDataset(_core.tensor(images), _core.tensor(labels)), batch_size, shuffle=True)
    optimizer = SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    scheduler = CosineAnnealingLR(optimizer, max(1, epochs * len(loader)))
    device = _device_of(model)
    model.train()
    for epoch in range(1, epochs + 1):
        total_loss, correct, seen = 0.0, 0, 0
        for step, (batch, target) in enumerate(loader, 1):
            if augment is not None:
                batch = augment(batch)
            batch, target = batch.to(device), target.to(device)
            logits = model(batch)
            loss = F.cross_entropy(logits, target)
            # Recorded before backward, so that it is computed in the same plan.
            hits = (logits.detach().argmax(1) == target).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            count = len(target)
            total_loss += loss.item() * count
            correct += int(hits.item())
            seen += count
            if not math.isfinite(total_loss):
                raise FloatingPointError(f"the loss is no longer finite in epoch {epoch}; try a smaller learning rate")
            if on_step is not None:
                on_step(Progress(epoch, step, len(loader), total_loss / seen, correct / seen))
        if on_epoch is not None:
            on_epoch(epoch)


def _device_of(model: nn.Module) -> Any:
    """Where its first parameter lies; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), _core.device("cpu"))


def predict_logits(model: nn.Module, images: Array, batch_size: int = 256) -> Array:
    """The logits (N, classes) for preprocessed images (N, C, H, W), in evaluation mode and without gradients."""
    was_training, device = model.training, _device_of(model)
    model.eval()
    try:
        with no_grad():
            parts = [
                np.array(model(_core.tensor(images[start : start + batch_size], device=device)).cpu().numpy())
                for start in range(0, len(images), batch_size)
            ]
    finally:
        model.train(was_training)
    return np.concatenate(parts)


def accuracy(model: nn.Module, images: Array, labels: Array) -> float:
    """The share (0..1) of preprocessed images whose largest logit is at their label."""
    return float((predict_logits(model, images).argmax(1) == labels).mean())


@dataclass(frozen=True)
class Classifier:
    """A model with what its inputs and outputs mean: all that evaluation and prediction need.

    Attributes:
        name: of the model, one of `suitable_models()`.
        model: the network.
        preprocessing: how an image becomes its input.
        classes: names of the outputs.
    """

    name: str
    model: Any
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    def save(self, path: str | os.PathLike[str], state: dict[str, Any] | None = None) -> None:
        """Writes the state dict (the model's, or `state`) under its own names; the rest goes into the metadata."""
        description = {
            "model": self.name,
            "classes": list(self.classes),
            "preprocessing": asdict(self.preprocessing),
        }
        tensors = dict(self.model.state_dict() if state is None else state)
        _core.save_safetensors(os.fspath(path), tensors, {_DESCRIPTION: json.dumps(description)})

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Classifier:
        """Reads what `save` wrote.

        Errors: OSError if it cannot be read, ValueError (with the file's name) if it is damaged or no classifier.
        """
        name = os.fspath(path)
        tensors, metadata = read(name)
        if _DESCRIPTION not in metadata:
            raise ValueError(f"{name}: not a classifier saved by pycnn (its metadata does not describe one)")
        try:
            description = json.loads(metadata[_DESCRIPTION])
            model_name, classes = description["model"], description["classes"]
            preprocessing = _checked_preprocessing(description["preprocessing"])
            _require(isinstance(model_name, str) and model_name in suitable_models(), "an unknown model")
            _require(isinstance(classes, list) and 0 < len(classes) < 2**16, "no list of classes")
            _require(all(isinstance(label, str) for label in classes), "class names that are no strings")
            model = create_classifier(model_name, len(classes))
            size = (preprocessing.height, preprocessing.width)
            _require(models.entry(model_name).inputs[0][1:] == size, "another input size")
            model.load_state_dict(tensors)
        except (ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{name}: a damaged classifier: {reason}") from None
        return Classifier(model_name, model, preprocessing, tuple(classes))

    def probabilities(self, images: Array, maximum: float) -> Array:
        """(N, classes), float32, for images (N, H, W) with values 0..maximum."""
        logits = predict_logits(self.model, self.preprocessing(images, maximum))
        return np.array(F.softmax(_core.tensor(logits), 1).numpy())

    def accuracy(self, images: Array, labels: Iterable[int] | Array, maximum: float) -> float:
        """The share (0..1) of images (N, H, W) with values 0..maximum that are classified as their label."""
        return accuracy(self.model, self.preprocessing(images, maximum), np.asarray(labels))


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _checked_preprocessing(values: Any) -> Preprocessing:
    _require(isinstance(values, dict) and set(values) == {"height", "width", "mean", "std"}, "bad preprocessing")
    sizes: Sequence[Any] = (values["height"], values["width"])
    _require(all(type(size) is int and 0 < size <= 2**14 for size in sizes), "bad input size")
    moments = (values["mean"], values["std"])
    _require(all(isinstance(moment, (int, float)) and math.isfinite(moment) for moment in moments), "bad moments")
    _require(values["std"] > 0, "a deviation that is not positive")
    return Preprocessing(sizes[0], sizes[1], float(values["mean"]), float(values["std"]))
