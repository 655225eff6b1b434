"""The benchmarks run in their quick form, without peers, and write what is promised; no time is looked at."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import write_folder

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def measured(folder: Path, command: str, *arguments: str) -> dict[str, Any]:
    done = run(command, "--quick", "--threads", "1", "--out", str(folder), *arguments)
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / f"{command}.json").read_text(encoding="utf-8"))
    assert [path.name for path in folder.iterdir()] == [f"{command}.json"]
    assert content["benchmark"] == command
    assert content["command"].startswith(f"python -m benchmarks {command} --quick")
    assert content["options"]["threads"] == 1
    facts = {"processor", "cores", "caches", "memory bytes", "system", "versions", "pycnn", "environment"}
    assert facts <= content["machine"].keys()
    assert content["rows"]
    return content


def check_samples(values: dict[str, Any]) -> None:
    low, median, high = values["seconds"]
    assert 0 < low <= median <= high
    assert values["steps"] >= 2 * values["blocks"] > 0


@pytest.mark.parametrize("command", ["train", "infer"])
def test_networks(command: str, tmp_path: Path) -> None:
    content = measured(tmp_path, command, "--networks", "lenet5", "--peers", "pycnn")
    peers = {"pycnn", "pycnn captured", "pycnn bf16", "pycnn bf16 captured"}
    for row in content["rows"]:
        assert row["network"] == "lenet5"
        check_samples(row["peers"]["pycnn"])
        assert {*row["peers"], *row["skipped"]} == peers
        assert all(row["skipped"].values())
        for roofline in row["roofline"].values():
            assert roofline["kinds"]["convolution_forward"]["flops"] == 2 * 2 * (28**2 * 6 * 25 + 10**2 * 16 * 150)
        assert "float32" in row["roofline"]


def test_convolutions(tmp_path: Path) -> None:
    content = measured(tmp_path, "ops", "--networks", "lenet5", "--peers", "pycnn")
    passes = ["forward", "input gradient", "weight gradient"]
    assert [row["pass"] for row in content["rows"]] == 2 * passes
    for row in content["rows"]:
        check_samples(row["peers"]["pycnn"])
        assert row["algorithm"]
        assert row["of_floor"] == pytest.approx(row["floor"] / row["kernel_seconds"][1])
    assert content["rows"][0]["flops"] == 2 * 28**2 * 6 * 25
    assert content["rows"][0]["bytes"] == 4 * (28**2 + 6 * 25 + 6 * 28**2)


def test_overhead(tmp_path: Path) -> None:
    content = measured(tmp_path, "overhead", "--peers", "pycnn")
    rows = {row["what"]: row["peers"] for row in content["rows"]}
    assert rows["import"]["pycnn"]["bytes"] > rows["import"]["python"]["bytes"] > 1e6
    for what in ("addition in a chain", "convolution with backward", "lenet5 b1 training step", "lenet5 b1 inference"):
        assert 0 < rows[what]["pycnn"]["seconds"][1] < 60
    assert rows["parts of pycnn's training step"].keys() >= {"recording the forward pass", "backward()"}


def test_memory(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, "memory", "--networks", "resnet20", "--peers", "pycnn")["rows"]
    held = row["peers"]["pycnn"]["bytes"]
    parameters = 4 * 272_474
    assert 3 * parameters < held < 1e9  # values, gradients and momentum, besides Python


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen here")
def test_epoch_beside_another_process(tmp_path: Path) -> None:
    quiet, occupied = measured(tmp_path, "epoch", "--peers", "pycnn", "--occupied")["rows"]
    assert (quiet["what"], occupied["what"]) == ("quiet", "occupied")
    assert quiet["slowdown"]["pycnn"] == [1, 1, 1]
    assert occupied["losses"]["pycnn"][0] < quiet["losses"]["pycnn"][0]  # it goes on learning


def test_epoch_of_idx_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (100, 28, 28), np.uint8), random.integers(0, 10, 100, np.uint8)
    data = write_folder(tmp_path / "data", images, labels)
    (row,) = measured(tmp_path / "results", "epoch", "--peers", "pycnn", "--data", str(data))["rows"]
    assert row["images"] == 100


def test_report(tmp_path: Path) -> None:
    measured(tmp_path / "train", "train", "--networks", "lenet5", "--peers", "pycnn")
    measured(tmp_path / "ops", "ops", "--networks", "lenet5", "--peers", "pycnn")
    for command in ("train", "ops"):
        (tmp_path / command / f"{command}.json").rename(tmp_path / f"{command}.json")
    done = run("report", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("| lenet5 b2 | ") for line in lines) == 1
    assert sum(line.startswith("| lenet5 b2 float32 | ") for line in lines) == 1
    assert sum("| lenet5 ×1 |" in line for line in lines) == 6
    rules = [index for index, line in enumerate(lines) if line.startswith("| ---")]
    assert all(
        line.count("|") == lines[rule].count("|") for rule in rules for line in (lines[rule - 1], lines[rule + 1])
    )
    plots = {path.suffix for path in tmp_path.glob("roofline.*")}
    assert plots == ({".svg", ".png"} if importlib.util.find_spec("matplotlib") else set())


def test_a_missing_network_is_told() -> None:
    done = run("train", "--networks", "lenet5,nothing")
    assert done.returncode == 2
    assert "nothing not among" in done.stderr


def test_a_wrong_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import peers
    from benchmarks.networks import NETWORKS

    network = dataclasses.replace(NETWORKS["lenet5"], batch_size=2)
    state = peers.initial_state(network)
    wrong = {**state, "3.weight": state["3.weight"][:, ::-1]}
    images, labels = peers.batch(network)
    right_and_wrong = {peers.Peer("pycnn", "pycnn"): state, peers.Peer("other", "pycnn"): wrong}
    inferences = {peer: peers.inference(peer, network, its, images, 1) for peer, its in right_and_wrong.items()}
    with pytest.raises(peers.WrongAnswer, match="other: its output differs"):
        peers.check_inference(inferences)
    trainings = {peer: peers.Training(peer, network, its, images, labels, 1) for peer, its in right_and_wrong.items()}
    with pytest.raises(peers.WrongAnswer, match="other: its loss differs"):
        peers.check_training(trainings, state)
