"""The command line: what it prints, its exit codes, its errors in one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from idx_files import write_folder

import pycnn
from pycnn import datasets
from pycnn.cli import main
from pycnn.training import Classifier

ROOT = Path(pycnn.__file__).parent.parent


def run(*arguments, **options):
    """The command in a process of its own, importing the same pycnn as this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-m", "pycnn", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=environment, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    """An IDX folder of three easily told patterns."""
    rng = np.random.default_rng(0)
    labels = np.arange(96, dtype=np.uint8) % 3
    images = rng.integers(0, 30, (96, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4 + 7 * label : 9 + 7 * label, 4:24] = 250
    return write_folder(tmp_path_factory.mktemp("patterns"), images, labels, images[:30], labels[:30])


@pytest.fixture(scope="module")
def trained(small_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "patterns.safetensors"
    assert main(["train", "--data", str(small_folder), "--epochs", "8", "--batch-size", "16", "--out", str(path)]) == 0
    return path


def error_line(capsys) -> str:
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("pycnn") and ": error: " in captured.err
    return captured.err


# -- the happy path ----------------------------------------------------------------------------------------------------
def test_train_eval_predict(small_folder, trained, capsys):
    assert main(["eval", str(trained), "--data", str(small_folder)]) == 0
    match = re.fullmatch(r"test accuracy: (\d+\.\d) %\n", capsys.readouterr().out)
    assert match and float(match[1]) > 90


def test_train_prints_accuracy_and_path_last(small_folder, tmp_path, capsys):
    out = tmp_path / "lenet5.safetensors"
    code = main(
        ["train", "--data", str(small_folder), "--epochs", "1", "--lr", "0.01", "--threads", "1", "--out", str(out)]
    )
    captured = capsys.readouterr()
    assert code == 0
    assert re.fullmatch(r"test accuracy: \d+\.\d %", captured.out.splitlines()[-2])
    assert captured.out.splitlines()[-1] == f"saved {out}"
    assert "epoch 1/1" in captured.err and out.is_file()


def test_same_seed_same_file(small_folder, tmp_path, capsys):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, ("5", "5", "6"), strict=True):
        main(["train", "--data", str(small_folder), "--epochs", "1", "--seed", seed, "--out", str(path)])
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()


def test_predict(small_folder, trained, tmp_path, capsys):
    image_module = pytest.importorskip("PIL.Image", reason="predict needs Pillow")
    images = datasets.read_idx(small_folder / "t10k-images-idx3-ubyte")
    labels = datasets.read_idx(small_folder / "t10k-labels-idx1-ubyte")
    names = []
    for i in range(6):
        names.append(str(tmp_path / f"{i}.png"))
        image_module.fromarray(images[i]).resize((56, 56)).save(names[-1])
    assert main(["predict", "--model", str(trained), *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == names
    assert [int(line.split(": ")[1].split()[0]) for line in lines] == labels[:6].tolist()
    image_module.fromarray(255 - images[0]).save(names[0])
    assert main(["predict", "--model", str(trained), "--invert", names[0]]) == 0
    assert capsys.readouterr().out.startswith(f"{names[0]}: {labels[0]} (")


def test_file_keeps_preprocessing_and_classes(trained):
    classifier = Classifier.load(trained)
    assert classifier.classes == ("0", "1", "2") and classifier.name == "lenet5"
    assert (classifier.preprocessing.height, classifier.preprocessing.width) == (28, 28)
    assert set(pycnn.load(trained)) == set(classifier.model.state_dict())


def test_networks_of_the_registry(small_folder, tmp_path, capsys):
    image_module = pytest.importorskip("PIL.Image", reason="predict needs Pillow")
    assert main(["models", "lenet*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [[f"lenet{i}", "classification", "1x28x28"] for i in (1, 5)]
    assert main(["models", "--small"]) == 0
    assert "resnet20" in (small := capsys.readouterr().out) and "resnet50" not in small
    assert main(["summary", "lenet5"]) == 0
    assert "Parameters: 61 706" in capsys.readouterr().out
    assert main(["summary", "resnet20", "--input", "1x16x16", "--num-classes", "3"]) == 0
    assert "16 x 16 x 16" in capsys.readouterr().out
    out = tmp_path / "mlp.safetensors"
    command = ["train", "--model", "mlp", "--data", str(small_folder), "--epochs", "2", "--out", str(out)]
    assert main(command) == 0 and main(["eval", str(out), "--data", str(small_folder)]) == 0
    capsys.readouterr()
    names = [str(tmp_path / name) for name in ("image.png", "other.png")]
    for name in names:
        image_module.fromarray(np.full((40, 60), 9, np.uint8)).save(name)
    (tmp_path / "classes").write_text("a\nb\nc\n")
    command = ["predict", "--network", "mlp", "--weights", str(out), "--top", "2", *names]
    assert main([*command, "--classes", str(tmp_path / "classes")]) == 0
    assert re.fullmatch(rf"{names[0]}: [abc] \(.*%\), [abc] \(.*%\)", capsys.readouterr().out.splitlines()[0])
    assert main(command) == 0
    assert "class" in capsys.readouterr().out
    (tmp_path / "classes").write_text("a\n")
    assert main([*command, "--classes", str(tmp_path / "classes")]) == 2
    assert "1 lines, the network has 3 classes" in error_line(capsys)


def test_version_info_and_help():
    assert run("--version").stdout == f"pycnn {pycnn.__version__}\n"
    info = run("info")
    assert info.returncode == 0 and "threads: " in info.stdout
    assert "train" in run("--help").stdout


# -- mistakes ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a command is needed"),
        (["train", "--epochs", "0"], "'0' is not a positive integer"),
        (["train", "--lr", "nan"], "'nan' is not a positive number"),
        (["train", "--batch-size", "many"], "positive integer"),
        (["train", "--seed", "-1"], "seed"),
        (["summary", "lenet5", "--input", "3x"], "'3x' is not a shape"),
        (["fly"], "fly"),
    ],
)
def test_bad_options(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and words in error_line(capsys)


def test_bad_files(tmp_path, trained, small_folder, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 40)
    (tmp_path / "text.png").write_text("no image")
    plain = tmp_path / "plain.safetensors"
    pycnn.save({"x": pycnn.ones(1)}, plain)
    cases = [
        (["train", "--data", str(tmp_path / "none")], "none"),
        (["train", "--data", str(tmp_path)], "train-images"),
        (["train", "--out", str(tmp_path)], "is a folder"),
        (["train", "--model", "lenet6"], "--model lenet6: not one of lenet1, lenet5"),
        (["train", "--model", "resnet50"], "--model resnet50: not one of"),
        (["summary", "lenet6"], "no network named 'lenet6'; similar ones: lenet5"),
        (["summary", "lenet5", "--input", "1x8x8"], "lenet5: "),
        (["predict", "--network", "resnet18", "x.png"], "needs --weights"),
        (["predict", "--network", "unet", "--weights", str(plain), "x.png"], "not a classifier"),
        (["predict", "--network", "lenet5", "--weights", str(plain), "x.png"], "Missing key"),
        (["predict", "--network", "lenet5", "--weights", str(broken), "x.png"], "broken"),
        (["train", "--out", "/dev/full"], "no regular file"),
        (["train", "--out", str(tmp_path / "no" / "model")], "there is no folder"),
        (["eval", str(tmp_path / "missing")], "No such file"),
        (["eval", str(broken)], "broken.safetensors"),
        (["eval", str(plain)], "not a classifier"),
        (["eval", str(trained)], "classes"),
        (["predict", "--model", str(trained), str(tmp_path / "gone.png")], "gone.png"),
        (["predict", "--model", str(trained), str(tmp_path / "text.png")], "text.png"),
    ]
    for arguments, words in cases:
        assert main(arguments) == 2, arguments
        assert words in error_line(capsys), arguments


@pytest.mark.parametrize(
    "change",
    [
        {"model": "unknown"},
        {"classes": []},
        {"classes": ["a", "b", "c", "d"]},
        {"classes": [1, 2, 3]},
        {"preprocessing": {}},
        {"preprocessing": {"height": 28, "width": 28, "mean": 0.1, "std": 0.0}},
        {"preprocessing": {"height": 10**9, "width": 28, "mean": 0.1, "std": 1.0}},
        {"preprocessing": {"height": 28, "width": 28, "mean": float("nan"), "std": 1.0}},
    ],
)
def test_hostile_metadata(change, trained, tmp_path):
    import json

    from pycnn import _core

    tensors, metadata = _core.load_safetensors(str(trained))
    description = json.loads(metadata["pycnn.classifier"])
    path = tmp_path / "changed.safetensors"
    changed = {"pycnn.classifier": json.dumps({**description, **change})}
    _core.save_safetensors(str(path), tensors, changed)
    with pytest.raises(ValueError, match=r"changed\.safetensors"):
        Classifier.load(path)


def test_diverging_training_is_one_line(small_folder, tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["train", "--data", str(small_folder), "--lr", "1e30", "--out", str(out)]) == 2
    assert "no longer finite" in capsys.readouterr().err.splitlines()[-1] and not out.exists()


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------
def test_interrupt_saves_the_last_whole_epoch(small_folder, tmp_path):
    out = tmp_path / "interrupted.safetensors"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [
        sys.executable,
        "-m",
        "pycnn",
        "train",
        "--data",
        str(small_folder),
        "--epochs",
        "100000",
        "--out",
        str(out),
    ]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        text, deadline = "", time.monotonic() + 120
        while not re.search(r"epoch ([3-9]|\d\d+)/", text[-80:]) and time.monotonic() < deadline:
            text += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert re.search(r"\ninterrupted: saved the state after epoch \d+ to .*interrupted\.safetensors\n$", rest)
    assert "Traceback" not in rest
    assert Classifier.load(out).classes == ("0", "1", "2")


def test_interrupt_before_the_first_epoch(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pycnn.training.fit", interrupted)
    assert main(["train", "--out", str(tmp_path / "model")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted before the end of the first epoch: nothing saved"
    assert list(tmp_path.iterdir()) == []
