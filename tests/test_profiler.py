"""The profiler: which steps are noted, what they add up to, the trace file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import profiler


def matrix_product() -> pycnn.Tensor:
    a, b = pycnn.ones(16, 32), pycnn.ones(32, 8)
    pycnn.eval(a, b)
    return a @ b


def test_operations_and_bytes_of_a_product() -> None:
    product = matrix_product()
    with profiler.profile() as prof:
        product.numpy()
    steps = [event for event in prof.events if event.step == "matmul"]
    assert len(steps) == 1
    assert steps[0].flops == 2 * 16 * 32 * 8
    assert steps[0].bytes == 4 * (16 * 32 + 32 * 8 + 16 * 8)
    assert steps[0].details in pycnn.plan.algorithms("matmul")


def test_plans_show_what_the_profiler_counts() -> None:
    """Per step and in sum; a tensor that one step reads twice counts once."""
    x, weight, bias = pycnn.ones(2, 3, 8, 8), pycnn.ones(4, 3, 3, 3), pycnn.zeros(4)
    vector = pycnn.ones(1000)
    pycnn.eval(x, weight, bias, vector)
    feature_maps, squares = F.relu(F.conv2d(x, weight, bias)).sum(), (vector * vector).sum() + vector.sum()
    steps = re.findall(r"; (\d+) FLOPs, (\d+) bytes\n", text := pycnn.plan.describe(feature_maps, squares))
    with profiler.profile() as prof:
        pycnn.eval(feature_maps, squares)
    noted = [(int(event.flops), event.bytes) for event in prof.events if event.step != "compile"]
    assert sorted(noted) == sorted((int(flops), int(size)) for flops, size in steps)
    assert text.endswith(f"total: {sum(f for f, _ in noted)} FLOPs, {sum(b for _, b in noted)} bytes\n")
    assert (1000, 4 * 1000 + 4 + 4) in noted  # both sums of `vector` in one pass
    convolution = text[text.index("convolution_forward") :].splitlines()[0]
    elements = 2 * 3 * 8 * 8 + 4 * 3 * 3 * 3 + 4 + 2 * 4 * 6 * 6
    assert convolution.endswith(f"; {2 * 2 * 4 * 6 * 6 * 27} FLOPs, {4 * elements} bytes")


def test_what_runs_outside_the_block_is_not_noted() -> None:
    matrix_product().numpy()
    with profiler.profile() as prof:
        recorded = matrix_product()
    recorded.numpy()
    assert [event for event in prof.events if event.step == "matmul"] == []


def test_calls_add_up_and_the_table_is_sorted() -> None:
    net = pycnn.nn.Sequential(pycnn.nn.Conv2d(1, 4, 3), pycnn.nn.ReLU(), pycnn.nn.Flatten(), pycnn.nn.Linear(144, 3))
    x, y = pycnn.randn(2, 1, 8, 8), pycnn.tensor([0, 2])
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], record_shapes=True) as prof:
        for _ in range(3):
            F.cross_entropy(net(x), y).backward()
    averages = prof.key_averages()
    forward = [row for row in averages if row.step == "convolution_forward"]
    assert sum(row.calls for row in forward) == 3
    assert sum(row.flops for row in forward) == 3 * 2 * 2 * 4 * 6 * 6 * 9
    assert averages.total() == pytest.approx(sum(event.seconds for event in prof.events))
    peak = profiler.Peak(1e11, 1e10, 2e11)
    lines = averages.table(sort_by="flops", row_limit=2, peak=peak).splitlines()
    assert len(lines) == 1 + 2 + 1
    assert "peak 100 GFLOP/s (200 in bfloat16), copy 10.0 GB/s" in lines[-1]
    largest = max(averages, key=lambda row: row.flops)
    assert largest.operators in lines[1]
    with pytest.raises(ValueError, match="sort_by must be one of"):
        averages.table(sort_by="name", peak=peak)


def test_trace_file(tmp_path: Path) -> None:
    product = matrix_product()
    with profiler.profile() as prof, profiler.record_function("my block"):
        product.numpy()
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {event["cat"]: event for event in events}
    assert names["function"]["name"] == "my block"
    outer, inner = names["function"], names["matmul"]
    assert outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    with pytest.raises(FileNotFoundError):
        prof.export_chrome_trace(tmp_path / "missing" / "trace.json")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]


def test_one_profile_at_a_time() -> None:
    with profiler.profile() as prof:
        with pytest.raises(RuntimeError, match="another profile"), profiler.profile():
            pass
        with pytest.raises(RuntimeError, match="with block has ended"):
            _ = prof.events
    assert prof.events == []


def test_nothing_recorded_is_not_handed_over() -> None:
    """With PyTorch's profiler the same calls."""
    torch = pytest.importorskip("torch")

    def calls(library: Any, schedule: Any) -> list[int]:
        steps: list[int] = []
        with library.profile(schedule=schedule, on_trace_ready=lambda prof: steps.append(prof.step_num)) as prof:
            for _ in range(3):
                prof.step()
        return steps

    for wait, warmup, active, repeat in ((0, 1, 1, 0), (0, 1, 1, 1), (0, 1, 3, 1), (2, 1, 1, 0), (9, 1, 1, 0)):
        options = {"wait": wait, "warmup": warmup, "active": active, "repeat": repeat}
        found, expected = (calls(library, library.schedule(**options)) for library in (profiler, torch.profiler))
        assert found == expected, options
    with profiler.profile(schedule=lambda step: profiler.ProfilerAction.WARMUP) as prof:
        matrix_product().numpy()
    assert prof.events == []


def test_errors_of_schedules_and_handlers_end_the_profile() -> None:
    def fails_at(number: int) -> Any:
        def plan(step: int) -> profiler.ProfilerAction:
            if step == number:
                raise ZeroDivisionError
            return profiler.ProfilerAction.RECORD_AND_SAVE

        return plan

    def handler(prof: profiler.profile) -> None:
        raise ZeroDivisionError

    for options in ({"schedule": fails_at(0)}, {"schedule": fails_at(1)}, {"schedule": fails_at(2)}, {
        "schedule": fails_at(-1), "on_trace_ready": handler,
    }, {"on_trace_ready": handler}):  # fmt: skip
        with pytest.raises(ZeroDivisionError), profiler.profile(**options) as prof:
            prof.step()
            prof.step()
        with profiler.profile() as prof:
            matrix_product().numpy()
        assert [event.step for event in prof.events].count("matmul") == 1


def test_schedules_keep_the_steps_that_count(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def ready(prof: profiler.profile) -> None:
        products = [event for event in prof.events if event.step == "matmul"]
        blocks = [event for event in prof.events if event.step == "function"]
        assert all(a.begin <= b.begin for a, b in zip(prof.events, prof.events[1:], strict=False))
        seen.append((prof.step_num, len(products), len(blocks)))

    plan = profiler.schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=2)
    with profiler.profile(schedule=plan, on_trace_ready=ready) as prof:
        for _ in range(12):
            with profiler.record_function("one"):
                matrix_product().numpy()
            prof.step()
    assert seen == [(5, 2, 2), (9, 2, 2)]
    with profiler.profile(on_trace_ready=profiler.tensorboard_trace_handler(str(tmp_path / "traces"))):
        matrix_product().numpy()
    (trace,) = (tmp_path / "traces").iterdir()
    assert trace.name.endswith(".pt.trace.json") and json.loads(trace.read_text())["traceEvents"]
    with pytest.raises(RuntimeError, match="with block"):
        prof.step()


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 1, "warmup": 1, "active": 2}, {"wait": 0, "warmup": 0, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 1, "active": 3, "repeat": 2, "skip_first": 3},
        {"wait": 2, "warmup": 1, "active": 1, "skip_first": 2, "skip_first_wait": 1},
    ],
)  # fmt: skip
def test_schedules_are_pytorchs(options: dict[str, int]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = profiler.schedule(**options), torch.profiler.schedule(**options)
    assert [ours(step).name for step in range(20)] == [theirs(step).name for step in range(20)]


def test_an_empty_table_says_why() -> None:
    x = pycnn.ones(3)
    pycnn.eval(x)
    with profiler.profile() as prof:
        x.exp()
    table = prof.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_memory_usage")
    assert table.startswith("Nothing ran")


def test_peak_is_positive() -> None:
    peak = profiler.measure_peak(0.01)
    assert peak.flops_per_second > 1e8
    assert peak.bytes_per_second > 1e7
    assert peak.bfloat16_flops_per_second > 1e8


def test_floor_is_of_the_dtype() -> None:
    peak = profiler.Peak(flops_per_second=1e9, bytes_per_second=1e8, bfloat16_flops_per_second=4e9)
    assert peak.floor(2e9, 1e8) == 2
    assert peak.floor(2e9, 4e8, "float32") == 4
    assert peak.floor(8e9, 1e8, "bfloat16") == 2
    a, b = pycnn.randn(16, 8).bfloat16(), pycnn.randn(8, 4).bfloat16()
    with profiler.profile() as prof:
        (a @ b).float().numpy()
    assert {event.dtype for event in prof.events if event.step == "matmul"} == {"bfloat16"}
