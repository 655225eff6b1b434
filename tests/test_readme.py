"""The README says what is true: its Python example runs and learns, its commands and links exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pycnn

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_face(capsys: pytest.CaptureFixture[str]) -> None:
    (face,) = code_blocks("python")
    x = pycnn.randn(16, 1, 28, 28) * 0.3  # so small that one step does not overshoot
    names = {"x": x, "y": pycnn.randint(0, 10, (16,))}
    exec(compile(face, "README.md", "exec"), names)
    before = float(capsys.readouterr().out)
    assert before == names["loss"].item()
    after = names["F"].cross_entropy(names["net"](x), names["y"]).item()
    assert after < before


def test_commands() -> None:
    (commands,) = code_blocks("sh")
    lines = [line.split("#")[0].strip() for line in commands.splitlines()]
    assert lines == ["pip install . && pycnn train", "pip install '.[test]' && pytest"]


@pytest.mark.parametrize(
    "paper",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "benchmarks/README.md",
        "examples/cpp/README.md",
    ],
)
def test_links(paper: str) -> None:
    path = ROOT / paper
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (path.parent / target).exists(), f"{paper} links to {target}"


@pytest.mark.parametrize("name", ["first_steps", "mixed_precision"])
def test_python_examples(name: str) -> None:
    script = ROOT / "examples" / "python" / f"{name}.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines()]
    assert len(losses) == 20
    assert losses[-1] < 0.2 * losses[0]
