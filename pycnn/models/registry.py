"""The names of the networks: `register` notes a function that builds one, `create` calls it."""

from __future__ import annotations

import builtins
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

from pycnn.models.network import Features, Network
from pycnn.nn import init
from pycnn.serialization import load

Build = TypeVar("Build", bound=Callable[..., Any])
Shape = tuple[int, ...]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Entry:
    """What is known of a network without building it.

    Attributes:
        name: of the network and of the function in `pycnn.models`.
        build: makes it; takes `num_classes` and `in_channels` where they have a meaning, and its own options.
        task: "classification", or what else the outputs are.
        inputs: shapes of the inputs it was made for, without the batch.
        dtypes: of the inputs, "float32" or "int64".
        mean, std: what is subtracted from pixels in 0..1, and what they are divided by then, per channel or for all.
        learning_rate: one with which SGD with momentum 0.9 trains it from the start.
    """

    name: str
    build: Callable[..., Any]
    task: str
    inputs: tuple[Shape, ...]
    dtypes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    learning_rate: float


_entries: dict[str, Entry] = {}
_aliases: dict[str, str] = {}


def register(
    *inputs: Shape,
    task: str = "classification",
    dtypes: tuple[str, ...] = ("float32",),
    aliases: tuple[str, ...] = (),
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    learning_rate: float = 0.05,
) -> Callable[[Build], Build]:
    """Decorates a function that builds a network: its name becomes that of the network, and it takes `weights`, a file
    as for `create`, as well.

    Args:
        inputs: shapes of the inputs without the batch, (3, 224, 224) if there is none.
        task, dtypes, mean, std, learning_rate: see `Entry`.
        aliases: further names for `create`, which `list` does not show.
    """

    def add(build: Build) -> Build:
        name = build.__name__
        taken = {name, *aliases} & {*_entries, *_aliases}
        if taken:
            raise ValueError(f"a network named {sorted(taken)[0]} is registered already")

        @functools.wraps(build)
        def with_weights(
            *arguments: Any, weights: str | os.PathLike[str] | None = None, **options: Any
        ) -> Network | Features:
            if weights is None:
                return _built(name, functools.partial(build, *arguments), options)
            if arguments:
                raise TypeError(f"{name}: give options by name beside weights")
            return cast("Network | Features", create(name, weights=weights, **options))

        shapes = inputs or ((3, 224, 224),)
        _entries[name] = Entry(name, with_weights, task, shapes, dtypes, mean, std, learning_rate)
        _aliases.update(dict.fromkeys(aliases, name))
        return cast(Build, with_weights)

    return add


def _built(name: str, build: Callable[..., Any], options: dict[str, Any]) -> Any:
    """build(**options), with an error that names the network if it has no such option."""
    try:
        return build(**options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        hint = "; no weights come with the package: weights=PATH loads a file" if "pretrained" in options else ""
        unknown = str(error).rpartition("argument ")[2]
        raise TypeError(f"{name} has no option {unknown}{hint}") from None


def entry(name: str) -> Entry:
    """What is known of a network. ValueError, with similar names, if there is none of this name."""
    found = _entries.get(_aliases.get(name, name))
    if found is None:
        from difflib import get_close_matches

        similar = get_close_matches(name, _entries, 3, 0.5)
        hint = f"; similar ones: {', '.join(similar)}" if similar else ""
        raise ValueError(f"there is no network named {name!r}{hint}")
    return found


def list(pattern: str = "*", *, task: str | None = None) -> builtins.list[str]:
    """Names of the networks, sorted.

    Args:
        pattern: of the name, with * and ?.
        task: only those for this task.
    """
    return sorted(e.name for e in _entries.values() if fnmatchcase(e.name, pattern) and task in (None, e.task))


def _state_in(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state dict in a file, which may be a checkpoint of more than that."""
    state = load(path)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"{os.fspath(path)}: not a state dict, but a {type(state).__name__}")
    wrapped = bool(state) and all(key.startswith("module.") for key in state)
    return {key.removeprefix("module."): value for key, value in state.items()} if wrapped else state


def create(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    features_only: bool = False,
    **options: Any,
) -> Any:
    """Builds a network.

    Args:
        name: one of `list()`.
        num_classes: outputs; default: those of the paper, or of the weights.
        in_channels: channels of the input; default: those of the paper.
        weights: a file with its state dict (safetensors, `.pt` or `.pth`), or with a checkpoint that has it as
            "state_dict", "model_state_dict" or "model"; names may begin with "module.", as `DataParallel` writes them.
            Weights of auxiliary classifiers that the network is built without are left out. If `num_classes` is
            another number than the file's, the classifier is made anew, for fine-tuning.
        features_only: gives `Features`, whose call returns the feature map of each stage instead of the logits.
        options: passed to the function of this name in `pycnn.models`.

    Errors: ValueError for unknown names and damaged files, TypeError for options that the network does not have,
    RuntimeError for weights that do not fit.
    """
    found = entry(name)
    if in_channels is not None:
        options["in_channels"] = in_channels
    if num_classes is not None and weights is None:
        options["num_classes"] = num_classes
    if weights is None:
        model = found.build(**options)
    else:
        state = _state_in(weights)
        with init.skipped():
            model = found.build(**options)
        if num_classes is not None and not model.head_names:  # nothing to replace: the file must be for as many
            with init.skipped():
                model = found.build(num_classes=num_classes, **options)
        given = model.classes_in(state)
        if given is not None and given != model.classes_in(model.state_dict()):
            with init.skipped():
                model = found.build(num_classes=given, **options)
        left_out = tuple(f"{part}." for part in model.auxiliary if model._modules.get(part) is None)
        try:
            model.load_state_dict({key: value for key, value in state.items() if not key.startswith(left_out)})
        except RuntimeError as error:
            raise RuntimeError(f"{os.fspath(weights)} does not fit {found.name}: {error}") from None
        if num_classes is not None and model.head_names and num_classes != given:
            model.reset_classifier(num_classes)
    return Features(model, found.inputs[0]) if features_only else model


def image_input(name: str, image: Any, crop: float = 1.0) -> Any:
    """A Pillow image as input (1, C, H, W) of a classifier: resized, the middle cut out, normalised.

    Args:
        name: of the network.
        image: any mode; becomes RGB, or grey for networks of one channel.
        crop: the share of the resized image's shorter side that is kept; 0.875 is how ImageNet's accuracies are stated.
    """
    import numpy as np
    from PIL import Image

    from pycnn import _core

    found = entry(name)
    channels, height, width = found.inputs[0]
    scale = max(height / crop / image.height, width / crop / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    resized = image.convert("RGB" if channels == 3 else "L").resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pixels = np.asarray(resized.crop((left, top, left + width, top + height)), np.float32).reshape(height, width, -1)
    mean, std = (
        np.array(values[:channels] if len(values) > 1 else values, np.float32) for values in (found.mean, found.std)
    )
    normalised = (pixels / np.float32(255) - mean) / std
    return _core.tensor(np.ascontiguousarray(normalised.transpose(2, 0, 1)[None]))
