"""GPUs, streams and processes among themselves. Skipped where there is no GPU; see test_cuda.py."""

from __future__ import annotations

import gc
import os

import pytest

import pycnn

pytestmark = pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason())


@pytest.mark.parametrize("optimizer", [pycnn.optim.Adam, pycnn.optim.RMSprop, pycnn.optim.SGD])
def test_captured_steps_keep_their_numbers_on_the_cpu(optimizer: type[pycnn.optim.Optimizer]) -> None:
    def losses(captured: bool) -> list[float]:
        pycnn.manual_seed(0)
        model = pycnn.nn.Linear(3, 2).cuda()
        optimizer_ = optimizer(model.parameters(), lr=0.1)
        batch = pycnn.ones(4, 3, device="cuda")

        def step(x: pycnn.Tensor) -> pycnn.Tensor:
            optimizer_.zero_grad()
            loss = model(x).square().sum()
            loss.backward()
            optimizer_.step()
            return loss

        run = pycnn.capture(step) if captured else step
        return [run(batch).item() for _ in range(6)]

    assert losses(True) == losses(False)


def test_captured_function_of_two_devices() -> None:
    function = pycnn.capture(lambda x, y: (x * 2, y * 3))
    for value in range(4):
        first, second = function(pycnn.full((3,), value), pycnn.full((3,), value, device="cuda"))
        assert (first.device.type, second.device.type) == ("cpu", "cuda")
        assert first.tolist() == [2 * value] * 3
        assert second.tolist() == [3 * value] * 3


def test_captured_function_of_numbers_on_the_cpu() -> None:
    function = pycnn.capture(lambda x, scale: x * (scale + 1) * 2)
    for value in range(4):
        x = pycnn.full((3,), 3.0, device="cuda")
        assert function(x, pycnn.tensor(float(value))).tolist() == [6.0 * (value + 1)] * 3


def test_capture_on_one_device_is_not_replayed_on_another() -> None:
    function = pycnn.capture(lambda x: x * 2 + 1)
    for device in ("cpu", "cpu", "cpu", "cuda", "cuda", "cuda", "cpu"):
        result = function(pycnn.ones(4, device=device))
        assert result.device.type == device
        assert result.tolist() == [3.0] * 4


def plans_run() -> int:
    return pycnn.statistics()["plans_run"]


@pytest.mark.parametrize("what", ["set_stream", "record", "wait", "synchronize", "device"])
def test_pending_work_is_enqueued_before(what: str) -> None:
    stream, event = pycnn.cuda.Stream(), pycnn.cuda.Event()
    event.record()
    on_gpu = pycnn.full((4,), 3.0, device="cuda")
    pycnn.eval(on_gpu)
    before = plans_run()
    doubled, on_cpu = on_gpu * 2, pycnn.ones(4)
    if what == "set_stream":
        with pycnn.cuda.stream(stream):
            assert plans_run() == before + 1
    elif what == "record":
        event.record()
    elif what == "wait":
        stream.wait_event(event)
    elif what == "synchronize":
        stream.synchronize()
    else:
        pycnn.cuda.synchronize()
    assert plans_run() == before + 1  # and nothing on the CPU
    assert doubled.tolist() == [6.0] * 4
    assert on_cpu.tolist() == [1.0] * 4


def test_streams_are_chosen_again_after_events() -> None:
    stream, other = pycnn.cuda.Stream(), pycnn.cuda.Stream()
    x = pycnn.full((4,), 3.0, device="cuda")
    for _ in range(3):
        with pycnn.cuda.stream(stream):
            y = x * 2
            pycnn.cuda.Event().record(other)
            z = y + 1
        stream.synchronize()
        assert z.tolist() == [7.0] * 4


def test_forked_process_leaves_the_gpu_alone() -> None:
    pending, on_cpu = pycnn.ones(4, device="cuda") * 2, pycnn.ones(4) * 3
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        try:
            said.append(str(on_cpu.tolist()))
            pending.tolist()
        except BaseException as error:
            said.append(f"{type(error).__name__}: {error}")
        os.write(writer, "\n".join(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        numbers, error = pipe.read().split("\n")
    os.waitpid(child, 0)
    assert numbers == str([3.0] * 4)
    assert error.startswith("RuntimeError: Cannot re-initialize CUDA in forked subprocess")
    assert pending.tolist() == [2.0] * 4


def test_memory_of_streams_that_are_gone_goes_back() -> None:
    pycnn.cuda.empty_cache()
    before = pycnn.cuda.memory_reserved()
    stream = pycnn.cuda.Stream()
    with pycnn.cuda.stream(stream):
        kept, dropped = pycnn.ones(1 << 20, device="cuda"), pycnn.ones(1 << 20, device="cuda")
        pycnn.eval(kept, dropped)
    stream.synchronize()
    del dropped, stream
    gc.collect()
    assert pycnn.cuda.memory_reserved() - before <= 3 << 21  # of `kept`, 4 MiB
    assert kept[0].item() == 1.0
    del kept
    pycnn.cuda.synchronize()  # the default stream has read it
    assert pycnn.cuda.memory_reserved() - before <= 1 << 16  # one number's
