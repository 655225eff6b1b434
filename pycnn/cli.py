"""The command line: train, eval, predict, models, summary, info.

Exit codes: 0 done, 2 a mistake of the user (one line on standard error), 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pycnn
from pycnn import _core

__all__ = [
    "UserError",
    "main",
]


class UserError(Exception):
    """A mistake that one line explains."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _positive(kind: type) -> Any:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < float("inf"):
            noun = "integer" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive {noun}")
        return value

    return parse


def _shape(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 3x224x224")
    return tuple(map(int, parts))


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to 2^63 - 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pycnn", description="Convolutional networks: train, evaluate and use a classifier.")
    parser.add_argument("--version", action="version", version=f"pycnn {pycnn.__version__}")
    parser.add_argument("--cmakedir", action="store_true", help="print the folder of pycnn's CMake package and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    data_help = "digits (bundled), or a folder with the four IDX files of MNIST and its kin (default: digits)"
    train = commands.add_parser("train", help="train a classifier and save it")
    train.add_argument("--model", default="lenet5", metavar="NAME", help="see `pycnn models --small` (default: lenet5)")
    train.add_argument("--data", default="digits", help=data_help)
    train.add_argument("--epochs", type=_positive(int), help="passes over the data (default: 25 for digits, else 5)")
    train.add_argument("--batch-size", type=_positive(int), default=64, help="images per step (default: 64)")
    train.add_argument("--lr", type=_positive(float), help="rate at the start (default: the network's, mostly 0.05)")
    train.add_argument("--seed", type=_seed, default=0, help="the same seed gives the same model (default: 0)")
    train.add_argument("--out", type=Path, help="file to save (default: MODEL.safetensors)")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("eval", help="accuracy of a saved classifier over test images")
    evaluate.add_argument("model", nargs="?", type=Path, default=Path("lenet5.safetensors"), metavar="FILE")
    evaluate.add_argument("--data", default="digits", help=data_help)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser("predict", help="classify image files (needs Pillow)")
    predict.add_argument("images", nargs="+", metavar="IMAGE")
    predict.add_argument("--model", type=Path, default=Path("lenet5.safetensors"), metavar="FILE", help="classifier")
    predict.add_argument("--invert", action="store_true", help="the images are dark on light (the data is the reverse)")
    predict.add_argument("--network", metavar="NAME", help="a network of `pycnn models` instead, with --weights")
    predict.add_argument("--weights", type=Path, metavar="FILE", help="its state dict: .safetensors, .pt or .pth")
    predict.add_argument("--classes", type=Path, metavar="FILE", help="names of its classes, one per line")
    predict.add_argument("--top", type=_positive(int), default=1, help="how many classes to print (default: 1)")
    predict.set_defaults(run=_predict)

    catalogue = commands.add_parser("models", help="list the networks")
    catalogue.add_argument("pattern", nargs="?", default="*", help="of the name, with * and ?")
    catalogue.add_argument("--task", help="only those for this task")
    catalogue.add_argument("--small", action="store_true", help="only those that `train` takes")
    catalogue.set_defaults(run=_models)

    table = commands.add_parser("summary", help="layers, shapes, parameters and multiply-adds of a network")
    table.add_argument("name", metavar="NAME", help="see `pycnn models`")
    table.add_argument("--num-classes", type=_positive(int), help="default: the paper's")
    table.add_argument("--input", type=_shape, metavar="CxHxW", help="shape of the input (default: the paper's)")
    table.set_defaults(run=_summary)

    info = commands.add_parser("info", help="print version, processor features and threads")
    info.set_defaults(run=_info)
    for command in (train, evaluate, predict):
        command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu; see `pycnn info`)")
    for command in (train, evaluate, predict, catalogue, table, info):
        command.add_argument("--threads", type=_positive(int), help="default: the cores this process may use")
    return parser


def _load_data(name: str) -> Any:
    from pycnn import datasets

    return datasets.digits() if name == "digits" else datasets.idx_folder(name)


def _device(name: str) -> Any:
    try:
        return _core._as_device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name}: {error}") from None


def _load_classifier(path: Path, device: str) -> Any:
    from pycnn.training import Classifier

    target = _device(device)
    classifier = Classifier.load(path)
    classifier.model.to(target)
    return classifier


def _check_writable(path: Path) -> None:
    """Better now than after the training."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, --out takes a file")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no regular file, which --out would replace")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: no permission to write there")


def _train(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pycnn import models
    from pycnn.datasets import Preprocessing
    from pycnn.training import Classifier, Progress, RandomShift, create_classifier, fit, suitable_models

    out = arguments.out or Path(f"{arguments.model}.safetensors")
    _check_writable(out)
    if arguments.model not in suitable_models():
        raise UserError(f"--model {arguments.model}: not one of {', '.join(suitable_models())}")
    device = _device(arguments.device)
    data = _load_data(arguments.data)
    epochs = arguments.epochs or (25 if arguments.data == "digits" else 5)
    pycnn.manual_seed(arguments.seed)
    size = models.entry(arguments.model).inputs[0][1:]
    preprocessing = Preprocessing.fit(data.train_images, data.maximum, *size)
    model = create_classifier(arguments.model, len(data.classes)).to(device)
    classifier = Classifier(arguments.model, model, preprocessing, data.classes)
    images = preprocessing(data.train_images, data.maximum)
    steps = epochs * -(-len(images) // arguments.batch_size)
    finished: dict[str, Any] = {}

    def on_epoch(epoch: int) -> None:
        state = classifier.model.state_dict()
        finished.update(epoch=epoch, state={name: tensor.clone() for name, tensor in state.items()})
        _core.eval(*finished["state"].values())

    try:
        with tqdm(total=steps, unit="step", desc=f"{arguments.model} on {arguments.data}") as bar:

            def on_step(progress: Progress) -> None:
                bar.set_postfix_str(
                    f"epoch {progress.epoch}/{epochs}, loss {progress.loss:.3f}, accuracy {progress.accuracy:.1%}",
                    refresh=False,
                )
                bar.update()

            fit(
                classifier.model,
                images,
                data.train_labels,
                epochs=epochs,
                batch_size=arguments.batch_size,
                lr=arguments.lr or models.entry(arguments.model).learning_rate,
                augment=RandomShift(2),
                on_step=on_step,
                on_epoch=on_epoch,
            )
    except FloatingPointError as error:
        raise UserError(str(error)) from None
    except KeyboardInterrupt:
        if finished:
            classifier.save(out, finished["state"])
            print(f"interrupted: saved the state after epoch {finished['epoch']} to {out}", file=sys.stderr)
        else:
            print("interrupted before the end of the first epoch: nothing saved", file=sys.stderr)
        return 130
    share = classifier.accuracy(data.test_images, data.test_labels, data.maximum)
    print(f"test accuracy: {100 * share:.1f} %")
    try:
        classifier.save(out)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{out}: not saved: {error}") from None
    print(f"saved {out}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    classifier = _load_classifier(arguments.model, arguments.device)
    data = _load_data(arguments.data)
    if data.classes != classifier.classes:
        raise UserError(
            f"{arguments.data}: has {len(data.classes)} classes, {arguments.model} was trained for other "
            f"{len(classifier.classes)}"
        )
    share = classifier.accuracy(data.test_images, data.test_labels, data.maximum)
    print(f"test accuracy: {100 * share:.1f} %")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    try:
        from PIL import Image
    except ImportError:
        raise UserError("predict needs Pillow to read images: pip install 'pycnn[images]'") from None
    probabilities_of, classes = _network_for(arguments) if arguments.network else _classifier_for(arguments)
    for name in arguments.images:
        try:
            with Image.open(name) as image:
                probabilities = probabilities_of(image)
        except OSError as error:
            raise UserError(_os_message(error, name)) from None
        except Image.DecompressionBombError:
            raise UserError(f"{name}: too large an image") from None
        best = probabilities.argsort()[::-1][: arguments.top]
        print(f"{name}: {', '.join(f'{classes[i]} ({probabilities[i]:.1%})' for i in best)}")
    return 0


def _classifier_for(arguments: argparse.Namespace) -> tuple[Callable[[Any], Any], Sequence[str]]:
    """A saved classifier of grey images: what gives probabilities for an image, and the names of the classes."""
    import numpy as np

    classifier = _load_classifier(arguments.model, arguments.device)

    def probabilities(image: Any) -> Any:
        pixels = np.asarray(image.convert("L"), np.float32)
        return classifier.probabilities((255 - pixels if arguments.invert else pixels)[None], 255.0)[0]

    return probabilities, classifier.classes


def _network_for(arguments: argparse.Namespace) -> tuple[Callable[[Any], Any], Sequence[str]]:
    """A network of the registry with the weights of a file."""
    from pycnn import models
    from pycnn.autograd.grad_mode import no_grad

    if arguments.weights is None:
        raise UserError(f"--network {arguments.network} needs --weights")
    if models.entry(arguments.network).task != "classification":
        raise UserError(f"--network {arguments.network}: not a classifier of images")
    try:
        network = models.create(arguments.network, weights=arguments.weights).eval().to(_device(arguments.device))
    except RuntimeError as error:
        raise UserError(f"{arguments.weights}: {error}") from None
    count = network.classes_in(network.state_dict())
    classes: Sequence[str] = [f"class {i}" for i in range(count)]
    if arguments.classes is not None:
        classes = arguments.classes.read_text(encoding="utf-8").splitlines()
        if len(classes) != count:
            raise UserError(f"{arguments.classes}: {len(classes)} lines, the network has {count} classes")

    def probabilities(image: Any) -> Any:
        with no_grad():
            image_input = models.image_input(arguments.network, image).to(arguments.device)
            return network(image_input).softmax(1).cpu().numpy()[0]

    return probabilities, classes


def _models(arguments: argparse.Namespace) -> int:
    from pycnn import models
    from pycnn.training import suitable_models

    small = suitable_models()
    for name in models.list(arguments.pattern, task=arguments.task):
        if arguments.small and name not in small:
            continue
        entry = models.entry(name)
        inputs = ", ".join("x".join(map(str, shape)) for shape in entry.inputs)
        print(f"{name:<22} {entry.task:<26} {inputs:<18} {(entry.build.__doc__ or '').splitlines()[0]}")
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    from pycnn import models
    from pycnn.nn import init

    entry = models.entry(arguments.name)
    options: dict[str, Any] = {}
    shapes = entry.inputs if arguments.input is None else (arguments.input, *entry.inputs[1:])
    if arguments.input is not None and arguments.input[0] != entry.inputs[0][0] and entry.dtypes[0] == "float32":
        options["in_channels"] = arguments.input[0]
    try:
        with init.skipped():
            model = models.create(arguments.name, num_classes=arguments.num_classes, **options)
        print(pycnn.summary(model, shapes, dtype=[getattr(pycnn, name) for name in entry.dtypes]))
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{arguments.name}: {error}") from None
    return 0


def _info(arguments: argparse.Namespace) -> int:
    print(f"pycnn {pycnn.__version__}, {Path(pycnn.__file__).parent}")
    for name, value in _core.info().items():
        print(f"{name}: {value}")
    count = pycnn.cuda.device_count()
    gpus = [f"cuda:{i} {pycnn.cuda.get_device_name(i)}" for i in range(count)]
    print(f"GPUs: {', '.join(gpus) or f'none: {pycnn.cuda.unavailable_reason()}'}")
    return 0


def _cmake_folder() -> Path:
    for package in pycnn.__path__:
        for config in sorted(Path(package).glob("**/pycnnConfig.cmake")):
            return config.parent
    raise UserError("pycnn's CMake package is not installed; install the wheel or run cmake --install")


def _os_message(error: OSError, name: str = "") -> str:
    where = error.filename or name
    reason = error.strerror or str(error)
    return f"{where}: {reason}" if where and str(where) not in reason else reason


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; gives its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.cmakedir:
            print(_cmake_folder())
            return 0
        if arguments.command is None:
            parser.error("a command is needed: train, eval, predict, models, summary or info")
        if arguments.threads:
            pycnn.set_num_threads(arguments.threads)
        return int(arguments.run(arguments))
    except BrokenPipeError:
        # Who read our output has gone; the interpreter must not complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        message = _os_message(error)
    except (UserError, ValueError) as error:
        message = str(error)
    except KeyboardInterrupt:
        message = ""
    if not message:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"pycnn: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
