"""What users without a GPU are told, and that it does not get in their way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pycnn

PROGRAM = """
import pycnn
print(pycnn.cuda.is_available())
print(pycnn.cuda.unavailable_reason())
print((pycnn.ones(2) + 1).sum().item())
"""


def reason_with(plug_in: Path) -> str:
    """Of a new process that opens this file and sees no GPU, if the reason is one line and CPU work goes on."""
    environment = {**os.environ, "PYCNN_CUDA_LIBRARY": str(plug_in), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    available, reason, total = done.stdout.splitlines()
    assert (available, total) == ("False", "4.0")
    return reason


def test_without_plug_in(tmp_path: Path) -> None:
    path = tmp_path / "libpycnn_cuda.so"
    assert reason_with(path) == f"this installation has no CUDA plug-in ({path}): install pycnn-cuda13"


def test_with_another_file(tmp_path: Path) -> None:
    path = tmp_path / "libpycnn_cuda.so"
    path.write_text("not a library")
    assert reason_with(path).startswith(f"the CUDA plug-in cannot be opened: {path}")


def test_with_another_library() -> None:
    path = Path(pycnn._core.__file__)
    assert reason_with(path) == f"{path} is not a plug-in of pycnn"


STRANGER = """
struct Backend {{ unsigned version, layout; const char* library; }};
static const struct Backend backend = {{ {version}, {layout}, "{library}" }};
const struct Backend* pycnn_backend_v1(void) {{ return &backend; }}
"""


@pytest.mark.parametrize(
    ("version", "library", "reason"),
    [
        (1, "", "belongs to another version of pycnn, this is pycnn {ours}: install pycnn-cuda13 of the same version"),
        (2, "9.8", "belongs to pycnn 9.8, this is pycnn {ours}: install pycnn-cuda13 of the same version"),
        (2, None, "was built from other sources of pycnn {ours} than this library: build them from the same"),
    ],
)
def test_with_a_plug_in_of_another_build(tmp_path: Path, version: int, library: str | None, reason: str) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a plug-in of another build cannot be made without a compiler")
    source, path = tmp_path / "stranger.c", tmp_path / "libpycnn_cuda.so"
    ours = pycnn._core.info()["version"]
    source.write_text(STRANGER.format(version=version, layout=1, library=ours if library is None else library))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    assert reason_with(path) == f"{path} {reason.format(ours=ours)}"


def test_without_gpu() -> None:
    beside = Path(pycnn._core.__file__).parent / "lib" / "libpycnn_cuda.so"
    path = Path(os.environ.get("PYCNN_CUDA_LIBRARY") or beside)
    if not path.exists():
        pytest.skip(f"no plug-in was built: there is no {path}")
    if "emulated" in path.name:
        pytest.skip("the emulated plug-in has a device wherever it runs")
    assert reason_with(path).startswith("no NVIDIA driver or GPU can be used: ")
