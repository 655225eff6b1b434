"""The installed package as C++ projects meet it: found by CMake, linked, run, without Python."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pycnn

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def cmake_folder(tmp: Path) -> Path:
    """Where the installed package says its CMake files are; not the clone's, which may lie in the working directory."""
    done = subprocess.run([sys.executable, "-m", "pycnn", "--cmakedir"], capture_output=True, text=True, cwd=tmp)
    folder = Path(done.stdout.strip())
    if done.returncode != 0 or not (folder / "pycnnConfig.cmake").is_file():
        pytest.skip(f"pycnn is not installed as a wheel: --cmakedir says {done.stdout or done.stderr!r}")
    return folder


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second project, built against the installed wheel; the folder of its programs."""
    if shutil.which("cmake") is None:
        pytest.skip("there is no cmake")
    tmp = tmp_path_factory.mktemp("install")
    folder = cmake_folder(tmp)
    (face,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = face.splitlines(keepends=True)
    (tmp / "readme_includes.inc").write_text("".join(line for line in lines if line.startswith("#include")))
    (tmp / "readme_face.inc").write_text("".join(line for line in lines if not line.startswith("#include")))
    build = tmp / "build"
    run("cmake", "-S", ROOT / "tests" / "install", "-B", build, f"-Dpycnn_DIR={folder}", f"-DREADME_FACE={tmp}",
        f"-DEXAMPLES={ROOT / 'examples' / 'cpp'}")  # fmt: skip
    run("cmake", "--build", build, "--parallel", "2")
    return build


def test_program_runs(programs: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    output = run(programs / "install_test", saved)
    assert output.startswith("loss ")
    tensors = pycnn.load(saved)
    net = pycnn.nn.Sequential(
        pycnn.nn.Conv2d(1, 8, 3), pycnn.nn.ReLU(), pycnn.nn.MaxPool2d(2), pycnn.nn.Flatten(), pycnn.nn.Linear(1352, 10)
    )
    net.load_state_dict(tensors)


def test_readme_face_runs(programs: Path) -> None:
    assert float(run(programs / "readme_face")) > 0


@pytest.mark.skipif(shutil.which("ldd") is None, reason="there is no ldd")
def test_no_python_is_linked(programs: Path) -> None:
    libraries = run("ldd", programs / "install_test")
    assert "libpycnn" in libraries
    assert "not found" not in libraries
    assert "libpython" not in libraries


def write_digits(folder: Path) -> None:
    """The bundled digits as four IDX files: the last 300 for the test."""
    data = Path(pycnn.__file__).parent / "data"
    images = np.frombuffer(gzip.decompress((data / "digits-images-idx3-ubyte.gz").read_bytes()), dtype=np.uint8)
    labels = np.frombuffer(gzip.decompress((data / "digits-labels-idx1-ubyte.gz").read_bytes()), dtype=np.uint8)[8:]
    small = images[16:].reshape(len(labels), 8, 8).astype(np.uint16)
    large = np.zeros((len(labels), 28, 28), dtype=np.uint8)
    large[:, 2:26, 2:26] = np.minimum(small * 255 // small.max(), 255).repeat(3, axis=1).repeat(3, axis=2)
    split = len(labels) - 300
    for name, part in (("train", slice(0, split)), ("t10k", slice(split, None))):
        for kind, array in (("images-idx3", large[part]), ("labels-idx1", labels[part])):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())


def test_lenet5_trains_without_python(programs: Path, tmp_path: Path) -> None:
    write_digits(tmp_path)
    saved = tmp_path / "lenet5.safetensors"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    output = run(programs / "train_lenet5", tmp_path, "--epochs", "12", "--out", saved, env=environment)
    accuracy = re.search(r"^test accuracy: ([0-9.]+) %$", output, flags=re.MULTILINE)
    assert accuracy is not None, output
    assert float(accuracy[1]) > 85
    net = pycnn.models.LeNet5()
    net.load_state_dict(pycnn.load(saved))


def test_cpp_and_python_train_alike(programs: Path, tmp_path: Path) -> None:
    """The same three steps from the same weights give the same bits in both languages."""
    net = pycnn.models.LeNet5()
    batch = {"x": pycnn.randn(16, 1, 28, 28), "y": pycnn.randint(0, 10, (16,))}
    weights, data, out = tmp_path / "weights", tmp_path / "batch", tmp_path / "out"
    pycnn.save(net.state_dict(), weights)
    pycnn.save(batch, data)
    opt = pycnn.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)
    for _ in range(3):
        pycnn.nn.functional.cross_entropy(net(batch["x"]), batch["y"]).backward()
        opt.step()
        opt.zero_grad()
    run(programs / "steps", weights, data, out)
    trained = pycnn.load(out)
    assert list(trained) == sorted(net.state_dict())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(trained[name].numpy(), value.numpy(), err_msg=name)


def test_example_reports_mistakes(programs: Path, tmp_path: Path) -> None:
    for arguments in ([], ["--epochs", "x", str(tmp_path)], [str(tmp_path), "--nonsense", "1"]):
        done = subprocess.run([str(programs / "train_lenet5"), *arguments], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("train_lenet5: ")
    done = subprocess.run([str(programs / "train_lenet5"), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "train-images-idx3-ubyte: cannot be opened" in done.stderr
