"""PYCNN_TUNE: algorithms chosen by measuring, and the file that remembers them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import pycnn
import pycnn.nn.functional as F

pycnn.manual_seed(0)
x, w = pycnn.randn(1, 32, 24, 24), pycnn.randn(32, 32, 3, 3)
small, v = pycnn.randn(1, 16, 12, 12), pycnn.randn(16, 16, 3, 3).requires_grad_()
a = pycnn.randn(40, 30)
y = F.conv2d(x, w, padding=1).relu()
F.conv2d(small, v, padding=1).relu().sum().backward()
(a @ a.t()).tolist()
assert pycnn.plan.get_mode() == "lazy"
pycnn.plan.set_mode("eager")
eager = F.conv2d(x, w, padding=1).relu()
assert eager.tolist() == y.tolist()  # the same choice with and without an epilogue
assert F.conv2d(x[:0], w).shape == (0, 32, 22, 22)
print(pycnn.get_num_threads())
"""


def run(cache: Path | None, script: str = SCRIPT, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = os.environ | {"PYCNN_TUNE": "1", "PYCNN_VERBOSE": "1", "PYCNN_NUM_THREADS": "2"} | environment
    if cache is not None:
        settings["PYCNN_TUNE_CACHE"] = str(cache)
    finished = subprocess.run([sys.executable, "-c", script], env=settings, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished


def measured(finished: subprocess.CompletedProcess[str]) -> dict[str, dict[str, float]]:
    """What was measured, in microseconds: by primitive, then algorithm."""
    times: dict[str, dict[str, float]] = {}
    for primitive, algorithm, took in re.findall(r"^pycnn: (.*): (\w+) took ([\d.]+) us$", finished.stderr, re.M):
        times.setdefault(primitive, {})[algorithm] = float(took)
    return times


def choices(cache: Path) -> dict[str, str]:
    """Of a file: by primitive."""
    return dict(line.split("\t")[1:] for line in cache.read_text().splitlines()[1:])


def test_choices_are_measured_once_and_remembered(tmp_path: Path) -> None:
    cache = tmp_path / "new folder" / "algorithms"
    first = run(cache)
    times = measured(first)
    kinds = {primitive.split()[0] for primitive in times}
    assert {"convolution_forward", "matmul"} <= kinds
    assert all(len(of_algorithms) > 1 and "reference" not in of_algorithms for of_algorithms in times.values())
    assert not any("winograd_4x4" in of_algorithms for of_algorithms in times.values())
    remembered = choices(cache)
    assert remembered.keys() == times.keys()
    for primitive, algorithm in remembered.items():
        assert times[primitive][algorithm] == min(times[primitive].values())
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]

    # The next process takes what the file says, whatever that is, and other numbers of threads are another matter.
    forward = next(primitive for primitive in times if primitive.startswith("convolution_forward"))
    second = run(cache)
    assert measured(second) == {}
    assert re.search(r"^pycnn: convolution_forward .*: " + remembered[forward] + r" \(measured\)", second.stderr, re.M)
    assert measured(run(cache, PYCNN_NUM_THREADS="1")).keys() == times.keys()
    assert len(cache.read_text().splitlines()) == 1 + 2 * len(times)


def test_without_the_setting_nothing_is_measured_or_written(tmp_path: Path) -> None:
    for setting in ("", "0"):
        assert measured(run(tmp_path / "algorithms", PYCNN_TUNE=setting)) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_in_the_users_cache(tmp_path: Path) -> None:
    run(None, PYCNN_TUNE_CACHE="", XDG_CACHE_HOME=str(tmp_path))
    assert (tmp_path / "pycnn" / "algorithms").is_file()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of choices."""
    cache = tmp_path_factory.mktemp("tune") / "algorithms"
    run(cache)
    return cache.read_text()


@pytest.mark.parametrize("damage", ["foreign", "short", "changed"])
def test_a_damaged_file_is_ignored_with_a_warning(tmp_path: Path, written: str, damage: str) -> None:
    cache = tmp_path / "algorithms"
    last = written.splitlines()[-1].split("\t")[-1]
    changed = written[: -len(last) - 1] + "direct" + "\n"
    bad = {"foreign": "\x89PNG\r\n", "short": written[:-20], "changed": changed}[damage]
    assert bad != written
    cache.write_text(bad)
    finished = run(cache)
    assert finished.stderr.count("RuntimeWarning") == 1 and str(cache) in finished.stderr
    assert measured(finished) != {}
    assert measured(run(cache)) == {}


def test_settings_of_accuracy_decide_what_competes(tmp_path: Path) -> None:
    """And what was remembered under one setting is not used under another."""
    script = """
import pycnn
pycnn.nn.functional.conv2d(pycnn.ones(1, 64, 48, 48), pycnn.ones(64, 64, 3, 3)).tolist()
"""
    competed = [
        {
            algorithm
            for times in measured(run(tmp_path / "algorithms", script, PYCNN_WINOGRAD=tile)).values()
            for algorithm in times
        }
        for tile in ("4", "2", "0")
    ]
    assert {"winograd_4x4", "winograd_2x2"} <= competed[0]
    assert "winograd_2x2" in competed[1] and "winograd_4x4" not in competed[1]
    assert not any(name.startswith("winograd") for name in competed[2])


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finished = run(tmp_path / "file" / "algorithms")
    assert finished.stderr.count("RuntimeWarning") == 1 and "cannot be written" in finished.stderr


def test_processes_at_once_leave_a_whole_file(tmp_path: Path) -> None:
    cache = tmp_path / "algorithms"
    settings = os.environ | {"PYCNN_TUNE": "1", "PYCNN_TUNE_CACHE": str(cache)}
    scripts = [
        f"import pycnn\nfor n in range(20, 24):\n  (pycnn.ones({m}, n) @ pycnn.ones(n, {m})).tolist()"
        for m in (30, 31, 32)
    ]
    running = [subprocess.Popen([sys.executable, "-c", script], env=settings) for script in scripts]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(choices(cache)) == 12
    again = run(cache, scripts[0])
    assert measured(again) == {} and "Warning" not in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == [cache.name]


def test_a_wrong_setting_is_refused() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "import pycnn\n(pycnn.ones(2, 2) @ pycnn.ones(2, 2)).tolist()"],
        env=os.environ | {"PYCNN_TUNE": "yes"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode != 0 and "PYCNN_TUNE is 'yes', expected 0 or 1" in finished.stderr
