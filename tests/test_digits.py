"""The bundled digits and LeNet-5 on them, as `pycnn train` does it; the cost of importing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pycnn
from pycnn import datasets
from pycnn.models import LeNet5

ROOT = Path(pycnn.__file__).parent.parent


def run(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, env=environment, **options
    )


def test_digits_are_all_there():
    data = datasets.digits()
    assert data.train_images.shape == (1442, 8, 8) and data.test_images.shape == (355, 8, 8)
    images = np.concatenate([data.train_images, data.test_images])
    assert images.min() == 0 and images.max() == data.maximum == 16
    counts = np.bincount(data.train_labels) + np.bincount(data.test_labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.all(np.bincount(data.test_labels) == counts // 5)
    assert data.classes == tuple("0123456789")


def test_digits_equal_scikit_learns():
    sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="compares with scikit-learn's copy")
    images = datasets.read_idx(Path(datasets.__file__).parent / "data" / "digits-images-idx3-ubyte.gz")
    theirs = sklearn_datasets.load_digits()
    assert np.array_equal(images, theirs.images)


def test_data_is_small_and_attributed():
    folder = Path(datasets.__file__).parent / "data"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    notice = (folder / "README.md").read_text()
    assert "Creative Commons Attribution 4.0" in notice and "Alpaydin" in notice


def test_lenet5_has_61706_parameters():
    net = LeNet5()
    assert sum(parameter.numel() for parameter in net.parameters()) == 61706
    assert net(pycnn.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_preprocessing_standardises():
    data = datasets.digits()
    preprocessing = datasets.Preprocessing.fit(data.train_images, data.maximum, 28, 28)
    inputs = preprocessing(data.train_images, data.maximum)
    assert inputs.shape == (1442, 1, 28, 28) and inputs.dtype == np.float32
    assert abs(inputs.mean()) < 1e-4 and abs(inputs.std() - 1) < 1e-4


def test_pycnn_train_reaches_98_percent(tmp_path):
    """The README's command, in a folder of its own."""
    done = run("-m", "pycnn", "train", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    match = re.fullmatch(r"test accuracy: (\d+\.\d) %", lines[-2])
    assert match and float(match[1]) >= 98.0
    assert lines[-1] == "saved lenet5.safetensors" and (tmp_path / "lenet5.safetensors").is_file()
    assert "lenet5 on digits" in done.stderr
    evaluated = run("-m", "pycnn", "eval", cwd=tmp_path)
    assert evaluated.stdout.splitlines() == [lines[-2]]


def test_import_needs_numpy_alone():
    code = (
        "import sys, numpy; before = set(sys.modules); import pycnn; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "third = new - sys.stdlib_module_names - {'pycnn', 'sitecustomize', '_distutils_hack'}; "
        "print(sorted(third)); print(sorted(name for name in sys.modules if name.startswith('pycnn.')))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    third, own = map(eval, done.stdout.splitlines())
    assert third == []
    assert not {"pycnn.nn", "pycnn.optim", "pycnn.cli", "pycnn.training"} & set(own)


def test_clone_without_a_build_says_what_to_do(tmp_path):
    """The folder of the clone shadows an installed package; without one the error names the way out."""
    import shutil

    shutil.copytree(
        Path(pycnn.__file__).parent,
        tmp_path / "pycnn",
        ignore=shutil.ignore_patterns("_core*", "lib", "include", "*.pyc"),
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import pycnn"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 1
    assert "ImportError" in done.stderr and "pip install ." in done.stderr.splitlines()[-1]
