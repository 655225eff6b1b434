"""What benchmarks/gpu.sh does around its stages, and, on a GPU (or the emulated one, see test_cuda.py), the benchmarks
in their quick form; no time is looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

import pycnn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import gpu, report  # noqa: E402

sys.path.remove(str(ROOT))

needs_gpu = pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason())


@pytest.fixture
def run(tmp_path: Path) -> gpu.Run:
    arguments = {"out": tmp_path / "out", "work": tmp_path / "work", "plug_in": None, "quick": True, "seconds": 60.0}
    return gpu.Run(Namespace(**arguments))


def written(run: gpu.Run) -> dict[str, Any]:
    return json.loads((run.out / "gpu.json").read_text(encoding="utf-8"))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_stages_that_fail_leave_the_others(run: gpu.Run) -> None:
    def mistaken() -> str:
        raise KeyError("nothing")

    def skipped() -> str:
        raise gpu.Skipped("there is none")

    run.stage("good", 20, lambda: run.status(run.command(python("print('hello')"))))
    run.stage("bad", 20, lambda: run.status(run.command(python("import sys; sys.exit('no')"))))
    run.stage("missing", 20, lambda: run.status(run.command(["/nothing/here"])))
    run.stage("mistaken", 20, mistaken)
    run.stage("skipped", 20, skipped)
    statuses = {stage["name"]: stage["status"] for stage in written(run)["stages"]}
    assert statuses == {
        "good": "ok",
        "bad": "failed: exit code 1",
        "missing": "failed: exit code 127",
        "mistaken": "failed: KeyError: 'nothing'",
        "skipped": "skipped: there is none",
    }
    log = (run.out / "gpu.log").read_text()
    assert "hello" in log and log.index("===== good") < log.index("hello") < log.index("===== bad")


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone, perhaps while it was read
        return False


def test_a_stage_is_stopped_at_its_limit_with_what_it_started(run: gpu.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "KILL_AFTER", 0.5)
    stubborn = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    run.stage("slow", 3, lambda: run.status(run.command(python(stubborn))))
    assert written(run)["stages"][0]["status"] == "stopped at its limit"
    (pid,) = re.findall(r"^\d+$", (run.out / "gpu.log").read_text(), re.MULTILINE)
    deadline = time.monotonic() + 10  # a killed process takes a moment
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_what_is_interrupted_may_say_what_it_has(run: gpu.Run) -> None:
    polite = (
        "import time\ntry:\n    print('begun', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('summary', flush=True)"
    )
    run.stage("slow", 3, lambda: run.status(run.command(python(polite))))
    assert "summary" in (run.out / "gpu.log").read_text()


def test_all_end_in_time(run: gpu.Run) -> None:
    run.arguments.seconds = gpu.RESERVE + 4
    run.stage("slow", 60, lambda: run.status(run.command(python("import time; time.sleep(60)"))))
    run.stage("late", 60, lambda: "ok")
    statuses = [stage["status"] for stage in written(run)["stages"]]
    assert statuses == ["stopped at its limit", "skipped: no time is left"]


def test_rows_are_saved_while_a_stage_runs(run: gpu.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SAVE_EVERY", 0.2)
    row = json.dumps({"benchmark": "x", "rows": [1]})
    code = f"import pathlib, time; pathlib.Path({str(run.results / 'x.json')!r}).write_text({row!r}); time.sleep(2)"
    seen = []
    save = run.save
    monkeypatch.setattr(run, "save", lambda: (save(), seen.append(dict(run.content["results"])))[0])
    run.stage("rows", 20, lambda: run.status(run.command(python(code))))
    assert len(seen) > 2 and seen[-2]["x"]["rows"] == [1]


def test_a_measurement_without_new_rows_is_given_up(run: gpu.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "STALL", 1.0)
    outcomes = []
    run.stage(
        "hangs",
        30,
        lambda: outcomes.append(run.command(python("import time; time.sleep(60)"), run.results / "x.json")) or "ok",
    )
    assert outcomes[0].code is None
    assert "stopped: nothing new for 1 s" in (run.out / "gpu.log").read_text()


@pytest.mark.parametrize(
    ("rows", "then"),
    [
        ([], "resnet50,unet"),  # the one that no row came of is not tried again
        ([{"network": "lenet5"}], "unet"),
        ([{"network": "lenet5", "failure": "no"}], "resnet50,unet"),
    ],
)
def test_training_goes_on_after_the_network_that_ended_it(
    run: gpu.Run, monkeypatch: pytest.MonkeyPatch, rows: list[Any], then: str
) -> None:
    asked = []

    def benchmark(name: str, *options: str, file: str) -> gpu.Outcome:
        asked.append(options[options.index("--networks") + 1])
        (run.results / f"{file}.json").write_text(json.dumps({"benchmark": "train", "rows": rows}))
        return gpu.Outcome(1 if len(asked) == 1 else 0, 0, "")

    monkeypatch.setattr(run, "benchmark", benchmark)
    run.stage("train", 30, lambda: run.train_networks("train", ["lenet5", "resnet50", "unet"]))
    assert asked == ["lenet5,resnet50,unet", then]


def test_summary_of_tests(tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\n"
        "@pytest.mark.skip(reason='not here')\ndef test_c(): pass\n"
    )
    junit = tmp_path / "x.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", str(path)]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    found = gpu.read_junit(junit)
    assert found["counts"] == {"tests": 3, "failed": 1, "errors": 0, "skipped": 1}
    assert found["reasons to skip"] == ["not here"]
    assert len(found["failures"]) == 1 and "test_b: assert 1 == 2" in found["failures"][0]


def test_architectures() -> None:
    assert gpu.architecture("NVIDIA H200, 580.159.03, 143771 MiB, 9.0") == "90a"
    assert gpu.architecture("NVIDIA A100-SXM4-80GB, 580.1, 81920 MiB, 8.0\nanother, 8.0") == "80"
    assert gpu.architecture("") == "90a"


def test_no_gpu_is_told(tmp_path: Path) -> None:
    environment = {**os.environ, "PYCNN_CUDA_LIBRARY": str(tmp_path / "none.so")}
    for command in (["train", "--device", "cuda"], ["ops", "--device", "cuda"], ["passes"], ["smoke"]):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *command, "--quick", "--out", str(tmp_path)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1 and "has no CUDA plug-in" in done.stderr, done.stderr


# -- on a GPU ---------------------------------------------------------------------------------------------------------


def measured(folder: Path, command: str, *arguments: str) -> list[dict[str, Any]]:
    """Its rows, of which the report makes a table."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", command, "--quick", "--peers", "pycnn", "--out", str(folder), *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((folder / f"{command}.json").read_text(encoding="utf-8"))
    assert f"## {command}" in report.section(command, content)
    return content["rows"]


@needs_gpu
def test_training_step(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, "train", "--device", "cuda", "--networks", "lenet5")
    assert "failure" not in row and row["skipped"] == {}
    assert row["peers"].keys() == {"pycnn", "pycnn captured", "pycnn bf16", "pycnn bf16 captured"}
    assert all(values["seconds"][1] > 0 for values in row["peers"].values())
    assert row["roofline"].keys() == {"float32", "bfloat16"}


@needs_gpu
def test_passes(tmp_path: Path) -> None:
    rows = measured(tmp_path, "passes")
    assert {row["dtype"] for row in rows} == {"float32", "bfloat16"}
    assert all(row["shares"].keys() == {"pycnn"} and row["skipped"] == {} for row in rows)


@needs_gpu
def test_convolutions(tmp_path: Path) -> None:
    rows = measured(tmp_path, "ops", "--device", "cuda", "--networks", "lenet5")
    assert len(rows) == 2 * 3 * 2 and all(row["skipped"] == {} and row["of_peak"] for row in rows)


@needs_gpu
def test_epoch(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, "epoch", "--device", "cuda")
    assert row["peers"].keys() == {"pycnn"}


@needs_gpu
def test_smoke(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "smoke", "--quick", "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "smoke.json").read_text(encoding="utf-8"))
    assert content["rows"][-1]["graphs launched"] > 0
    assert "LeNet-5" in report.section("smoke", content)
