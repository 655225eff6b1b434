"""Everything there is to know about a GPU, within one time limit: facts, build, tests, measurements.

Stages run one after the other, what is worth most first, each with a limit of its own. One that fails is noted and the
others go on. `gpu.json` is rewritten while they run, so that whatever ends the run leaves what was found until then;
`gpu.md` shows it as tables, `gpu.log` is all output. Nothing but the standard library is needed before the build.

Try it without a GPU, in some minutes: `benchmarks/gpu.sh --quick --plug-in build/dev/libpycnn_cuda_emulated.so`
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report

ROOT = Path(__file__).resolve().parent.parent
FILES_BY_ONE_PROCESS = ("test_cuda_large.py", "test_cuda_memory.py")  # they take all of the GPU's memory
WORKERS = 8  #: processes that run the other tests, where pytest-xdist is installed
STALL = 90.0  #: seconds without a new row after which a measurement is given up
KILL_AFTER = 8.0  #: seconds between the request to stop and the end
SAVE_EVERY = 5.0  #: seconds
RESERVE = 6.0  #: seconds kept for the last files
TRAINED = ("lenet5", "resnet20", "resnet50", "mobilenet", "unet", "resnet18", "vgg16")
SANITIZED = "test_float32 and ({})".format(
    " or ".join(("conv2d", "matmul", "max_pool2d", "batch_norm", "cumsum", "gather"))
)
LISTED_FAILURES = 60
NO_SUMMARY = {"counts": {}, "reasons to skip": [], "failures": ["no summary was written"]}


@dataclass
class Outcome:
    """Of a command; `code` is None if it was stopped."""

    code: int | None
    seconds: float
    output: str  #: the end of it

    @property
    def good(self) -> bool:
        return self.code == 0


class Skipped(Exception):
    """A stage that cannot be run; the message says why."""


class Run:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.begin = time.monotonic()
        self.out, self.work = Path(arguments.out).resolve(), Path(arguments.work).resolve()
        self.results = self.work / "results"
        self.build_folder = self.work / "build"
        plug_in = Path(arguments.plug_in).resolve() if arguments.plug_in else self.build_folder / "libpycnn_cuda.so"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PYTHONUNBUFFERED": "1",
            "PYCNN_CUDA_LIBRARY": str(plug_in),
        }
        self.content: dict[str, Any] = {
            "command": shlex.join([sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:]]),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "stages": [],
            "facts": {},
            "tests": {},
            "sanitizer": {},
            "results": {},
        }
        self.stage_deadline = 0.0
        shutil.rmtree(self.results, ignore_errors=True)
        for folder in (self.out, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.out / "gpu.log", "ab")  # noqa: SIM115 - as long as the process

    # -- commands and stages ------------------------------------------------------------------------------------------

    def left(self) -> float:
        """Seconds until this stage must end."""
        return self.stage_deadline - time.monotonic()

    def command(self, command: list[str], watched: Path | None = None, limit: float | None = None) -> Outcome:
        """Runs it until the stage must end, or `limit` seconds, or until the watched file is not written any more."""
        begin = time.monotonic()
        deadline = min(self.stage_deadline, begin + limit) if limit is not None else self.stage_deadline
        self.note(f"$ {shlex.join(command)}\n")
        from_here = self.log.tell()
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.note(f"{error}\n")
            return Outcome(127, 0, str(error))
        try:
            code = self.wait(process, begin, deadline, watched)
        finally:
            if process.poll() is None:
                self.stop(process)
        return Outcome(code, time.monotonic() - begin, self.output_since(from_here))

    def wait(self, process: subprocess.Popen[bytes], begin: float, deadline: float, watched: Path | None) -> int | None:
        """The exit code; None if it is time to stop it."""
        saved, written = begin, begin
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.1)
            now = time.monotonic()
            if watched is not None and watched.exists():
                written = max(written, now - max(0.0, time.time() - watched.stat().st_mtime))
            if now > deadline:
                self.note(f"stopped after {now - begin:.0f} s\n")
                return None
            if watched is not None and now - written > STALL:
                self.note(f"stopped: nothing new for {STALL:.0f} s\n")
                return None
            if now - saved > SAVE_EVERY:
                self.save()
                saved = now

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Asks the process, and those that it started, to end, and ends them."""
        for number, seconds in ((signal.SIGINT, KILL_AFTER), (signal.SIGKILL, KILL_AFTER)):
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # those that outlived it

    def note(self, text: str) -> None:
        self.log.write(text.encode())
        self.log.flush()

    def output_since(self, begin: int) -> str:
        """What was written to the log since then, 8000 characters of it at most."""
        with open(self.log.name, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(begin, file.tell() - 8000))
            return file.read().decode(errors="replace")

    def stage(self, name: str, limit: float, function: Callable[[], str]) -> None:
        begin = time.monotonic()
        self.stage_deadline = min(begin + limit, self.begin + self.arguments.seconds - RESERVE)
        self.note(f"\n===== {name}\n")
        entry: dict[str, Any] = {"name": name, "limit": limit, "status": "running"}
        self.content["stages"].append(entry)
        try:
            if self.left() < 2:
                raise Skipped("no time is left")
            entry["status"] = function()
        except Skipped as reason:
            entry["status"] = f"skipped: {reason}"
        except Exception as error:  # a mistake here must not cost the other stages
            entry["status"] = f"failed: {type(error).__name__}: {error}"
        entry["seconds"] = round(time.monotonic() - begin, 1)
        self.save()
        print(f"{name}: {entry['status']} ({entry['seconds']} s)", flush=True)

    def status(self, outcome: Outcome) -> str:
        """In words; shows the end of the output of what was not good."""
        if outcome.good:
            return "ok"
        print("\n".join(outcome.output.splitlines()[-25:]), flush=True)
        return "stopped at its limit" if outcome.code is None else f"failed: exit code {outcome.code}"

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        for path in sorted(self.results.glob("*.json")):
            try:
                self.content["results"][path.stem] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                continue
        self.content["seconds"] = round(time.monotonic() - self.begin, 1)
        for path, text in (
            (self.out / "gpu.json", json.dumps(self.content, indent=1) + "\n"),
            (self.out / "gpu.md", self.markdown()),
        ):
            temporary = path.with_suffix(".part")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)

    def markdown(self) -> str:
        shown = {name: value for name, value in self.content["facts"].items() if name != "all of nvidia-smi"}
        parts = [f"# pycnn on a GPU\n\n{self.content['date']}, {self.content['seconds']} s\n"]
        lines = ([name, value.splitlines()[-1 if name == "nvcc" else 0]] for name, value in shown.items() if value)
        parts.append(report.table(["fact", ""], lines))
        stages = ([s["name"], s["status"], str(s.get("seconds", ""))] for s in self.content["stages"])
        parts.append(report.table(["stage", "status", "s"], stages))
        for name, tests in self.content["tests"].items():
            parts.append(f"{name}: " + ", ".join(f"{count} {key}" for key, count in tests["counts"].items()) + "\n")
            parts += [f"- {failure}" for failure in tests["failures"]]
            parts += [f"- skipped: {reason}" for reason in tests["reasons to skip"]]
        parts += [f"{tool}: {summary}\n" for tool, summary in self.content["sanitizer"].items()]
        for name, content in self.content["results"].items():
            try:
                parts.append(report.section(name, content))
            except Exception as error:  # the numbers are in gpu.json
                parts.append(f"## {name}\n\nno table: {type(error).__name__}: {error}\n")
        return "\n".join(parts)

    # -- what the stages do -------------------------------------------------------------------------------------------

    def facts(self) -> str:
        named = (
            "torch",
            "triton",
            "numpy",
            "scipy",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "pybind11",
            "cupy-cuda13x",
        )
        python = (
            "import importlib.metadata as m; "
            f"print(*sorted(f'{{d.name}} {{d.version}}' for d in m.distributions() if d.name.lower() in {named}))"
        )
        commands = {
            "nvidia-smi": [
                "nvidia-smi",
                "--query-gpu=name,driver_version,memory.total,compute_cap",
                "--format=csv,noheader",
            ],
            "all of nvidia-smi": ["nvidia-smi"],
            "nvcc": [find_program("nvcc") or "nvcc", "--version"],
            "c++": ["bash", "-c", "${CXX:-c++} --version"],
            "cmake": ["cmake", "--version"],
            "python": [sys.executable, "--version"],
            "packages": [sys.executable, "-c", python],
            "processor": ["bash", "-c", "grep -m 1 'model name' /proc/cpuinfo; nproc; free -g"],
            "compute-sanitizer": [sanitizer() or "compute-sanitizer", "--version"],
        }
        for name, command in commands.items():
            outcome = self.command(command, limit=10)
            self.content["facts"][name] = outcome.output.strip() if outcome.good else ""
        return "ok"

    def build(self) -> str:
        if self.arguments.plug_in:
            raise Skipped("a plug-in is given")
        nvcc = find_nvcc()
        if nvcc is None:
            return "failed: there is no nvcc"
        pybind11 = subprocess.run(
            [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
        )
        configure = [
            *("cmake", "-S", str(ROOT), "-B", str(self.build_folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            *("-DPYCNN_BUILD_PYTHON=ON", "-DPYCNN_CUDA=ON", f"-DPYCNN_NVCC={nvcc}"),
            f"-DPYCNN_CUDA_ARCHITECTURES={architecture(self.content['facts'].get('nvidia-smi', ''))}",
            f"-DPYCNN_ISA_LEVELS={instruction_set()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.stdout.strip()}",
        ]
        outcome = self.command(configure)
        if outcome.good:
            targets = ["pycnn", "_core", "pycnn_cuda"]
            outcome = self.command(["cmake", "--build", str(self.build_folder), "--parallel", "--target", *targets])
        if outcome.good:
            for extension in (self.build_folder / "pycnn").glob(f"_core*{sysconfig.get_config_var('EXT_SUFFIX')}"):
                link = ROOT / "pycnn" / extension.name
                link.unlink(missing_ok=True)
                link.symlink_to(extension)
        return self.status(outcome)

    def benchmark(self, name: str, *options: str, file: str | None = None) -> Outcome:
        """`python -m benchmarks NAME`, whose rows go to results/FILE.json."""
        file = file or name
        quick = ["--quick"] if self.arguments.quick else []
        command = [sys.executable, "-m", "benchmarks", name, *quick, *options]
        command += ["--out", str(self.results), "--name", file]
        return self.command(command, watched=self.results / f"{file}.json")

    def smoke(self) -> str:
        return self.status(self.benchmark("smoke"))

    def passes(self) -> str:
        return self.status(self.benchmark("passes"))

    def ops(self) -> str:
        networks = ["--networks", "lenet5"] if self.arguments.quick else []
        return self.status(self.benchmark("ops", "--device", "cuda", "--rounds", "3", "--seconds", "0.03", *networks))

    def epoch(self) -> str:
        return self.status(self.benchmark("epoch", "--device", "cuda", "--rounds", "2"))

    def train(self) -> str:
        """A process for all networks, and another one for the rest if it comes to an end with one of them."""
        networks = list(TRAINED[:1] if self.arguments.quick else TRAINED)
        return self.train_networks("train", networks, "--rounds", "5", "--seconds", "0.3")

    def compile(self) -> str:
        networks = ["lenet5"] if self.arguments.quick else ["resnet50", "resnet20"]
        return self.train_networks("train_compile", networks, "--rounds", "3", "--seconds", "0.3", "--compile")

    def train_networks(self, file: str, networks: list[str], *options: str) -> str:
        statuses = []
        number = 0
        while networks and self.left() > 5:
            number += 1
            name = file if number == 1 else f"{file}_{number}"
            outcome = self.benchmark("train", "--device", "cuda", "--networks", ",".join(networks), *options, file=name)
            self.save()
            rows = self.content["results"].get(name, {}).get("rows", [])
            statuses.append(self.status(outcome))
            statuses += [f"{row['network']} failed" for row in rows if "failure" in row]
            if outcome.good:
                break
            # The one that it ended with is not tried again, unless its row says what happened.
            networks = networks[len(rows) + (0 if rows and "failure" in rows[-1] else 1) :]
        return "; ".join(dict.fromkeys(statuses)) if statuses else "no time is left"

    def train_command(self) -> str:
        model = self.work / "lenet5.safetensors"
        epochs = ["--epochs", "1"] if self.arguments.quick else []
        outcome = self.command(
            [sys.executable, "-m", "pycnn", "train", "--device", "cuda", "--out", str(model), *epochs]
        )
        if accuracy := re.search(r"test accuracy: \S+ %", outcome.output):
            self.content["facts"]["pycnn train --device cuda"] = f"{accuracy[0]}, {outcome.seconds:.1f} s in all"
        return self.status(outcome)

    def tests(self) -> str:
        files = [path for path in sorted(ROOT.glob("tests/test_cuda*.py")) if path.name not in FILES_BY_ONE_PROCESS]
        workers, setting = [], []
        if importlib.util.find_spec("xdist") and not self.arguments.quick:
            workers, setting = ["-n", str(WORKERS)], ["env", "PYCNN_NUM_THREADS=2"]
        chosen = ["-k", "test_float32 and relu or test_cuda_devices and numbers"] if self.arguments.quick else []
        return self.pytest("tests", [*map(str, files), *workers, *chosen], setting)

    def large(self) -> str:
        files = [str(ROOT / "tests" / name) for name in FILES_BY_ONE_PROCESS]
        chosen = ["-k", "test_cuda_large or pinned or page_locked"] if self.arguments.quick else []
        return self.pytest("large", [*files, "-m", "slow or not slow", *chosen])

    def pytest(self, name: str, options: list[str], before: list[str] | None = None) -> str:
        junit = self.work / f"{name}.xml"
        junit.unlink(missing_ok=True)
        outcome = self.command(
            [
                *(
                    *(before or []),
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    "-rfE",
                    "--tb=short",
                ),
                *(f"--junitxml={junit}", "-o", "faulthandler_timeout=60", *options),
            ]
        )
        self.content["tests"][name] = read_junit(junit) if junit.exists() else NO_SUMMARY
        return self.status(outcome)

    def sanitize(self, tool: str) -> str:
        program = sanitizer()
        if program is None:
            raise Skipped("there is no compute-sanitizer")
        outcome = self.command(
            [
                *(program, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"),
                *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"),
                *(str(ROOT / "tests" / "test_cuda.py"), "-k", SANITIZED),
            ]
        )
        summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY.*)", outcome.output)
        self.content["sanitizer"][tool] = summary[-1] if summary else "no summary: it was not done in time"
        return self.status(outcome)


# -- what is found on the machine -------------------------------------------------------------------------------------


def find_program(name: str) -> str | None:
    """On the PATH or in CUDA's usual folders."""
    folders = [*sorted(Path("/usr/local").glob("cuda*/bin"), reverse=True), Path("/opt/cuda/bin")]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))
    return os.path.realpath(found) if found else None


def sanitizer() -> str | None:
    return find_program("compute-sanitizer")


def find_nvcc() -> str | None:
    """nvcc in its toolkit: what is on the PATH may be a script that calls it; CMake looks for libraries beside it."""
    nvcc = find_program("nvcc")
    if nvcc is None:
        return None
    told = subprocess.run(
        [nvcc, "--dryrun", "-x", "cu", "-c", "/dev/null"], capture_output=True, text=True, check=False
    )
    top = re.search(r"^#\$ TOP=(.*)$", told.stderr, re.MULTILINE)
    within = Path(top[1].strip()) / "bin" / "nvcc" if top else None
    return str(within.resolve()) if within is not None and within.exists() else nvcc


def architecture(line: str) -> str:
    """What to compile for, of nvidia-smi's line that ends with the compute capability."""
    capability = re.search(r"(\d+)\.(\d+)\s*$", line.splitlines()[0] if line else "")
    number = "".join(capability.groups()) if capability else "90"
    return "90a" if number == "90" else number


def instruction_set() -> str:
    """The best level of the CPU's kernels that this processor runs."""
    try:
        flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())  # type: ignore[index]
    except (OSError, TypeError):
        return ""
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "avx512"
    return "avx2" if {"avx2", "fma", "f16c"} <= flags else ""


def read_junit(path: Path) -> dict[str, Any]:
    """How many tests there were of each outcome, and the failures with the first lines of their messages."""
    suite = ElementTree.parse(path).getroot()
    suite = suite if suite.tag == "testsuite" else suite[0]
    named = {"tests": "tests", "failures": "failed", "errors": "errors", "skipped": "skipped"}
    failures, skips = [], set()
    for case in suite.iter("testcase"):
        for kind in ("failure", "error"):
            for found in case.iter(kind):
                message = " ".join((found.get("message") or "").split())
                failures.append(f"{case.get('classname')}::{case.get('name')}: {message[:300]}")
        skips |= {found.get("message") or "" for found in case.iter("skipped")}
    return {
        "counts": {name: int(suite.get(key, 0)) for key, name in named.items()},
        "reasons to skip": sorted(skips),
        "failures": failures[:LISTED_FAILURES],
    }


# -- the command ------------------------------------------------------------------------------------------------------


def stages(run: Run) -> dict[str, tuple[float, Callable[[], str]]]:
    """By name, what is worth most first: the longest it may take, in seconds, and what it does."""
    found: dict[str, tuple[float, Callable[[], str]]] = {
        "facts": (20, run.facts),
        "build": (300, run.build),
        "smoke": (45, run.smoke),
        "tests": (110, run.tests),
        "passes": (40, run.passes),
        "train": (150, run.train),
        "ops": (100, run.ops),
        "epoch": (25, run.epoch),
        "train-command": (20, run.train_command),
        "large": (60, run.large),
    }
    for tool in ("memcheck", "racecheck", "initcheck"):
        found[tool] = (45, lambda tool=tool: run.sanitize(tool))  # type: ignore[misc]
    found["compile"] = (120, run.compile)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.sh", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="only these (default: all)")
    parser.add_argument(
        "--out", default="results/gpu", help="folder of gpu.json, gpu.md, gpu.log (default: %(default)s)"
    )
    parser.add_argument("--work", default="build/gpu", help="folder of the build (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=570, help="for everything (default: %(default)s)")
    parser.add_argument("--plug-in", help="a plug-in to use with the pycnn that is there; nothing is built")
    parser.add_argument("--quick", action="store_true", help="a little of every stage, to see that everything works")
    arguments = parser.parse_args()
    run = Run(arguments)
    known = stages(run)
    if unknown := [name for name in arguments.stages if name not in known]:
        parser.error(f"{', '.join(unknown)} not among {', '.join(known)}")
    for name, (limit, function) in known.items():
        if not arguments.stages or name in arguments.stages:
            run.stage(name, limit, function)
    print(f"{run.out}/gpu.md, {run.content['seconds']} s", flush=True)
    return 0 if all(stage["status"].startswith(("ok", "skipped")) for stage in run.content["stages"]) else 1


if __name__ == "__main__":
    sys.exit(main())
