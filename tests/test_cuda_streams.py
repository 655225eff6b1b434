"""What depends on the order of a GPU's streams. On the emulated device they run late, in an order drawn at random, so
that a wait that is missing shows in wrong values. Skipped where there is no GPU; see test_cuda.py."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import pycnn
from pycnn import cuda, nn

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason=cuda.unavailable_reason())
emulated = cuda.is_available() and "emulated" in cuda.get_device_name()
only_emulated = pytest.mark.skipif(not emulated, reason="a GPU may keep an order that it does not promise")
two_devices = pytest.mark.skipif(cuda.device_count() < 2, reason="there is one GPU")

ATTEMPTS = 40
SIZE = 1 << 15  # elements, beyond what the allocator rounds up to small blocks


def full(value: float, device: str = "cuda") -> Any:
    """A tensor on the GPU whose computation was given to the current stream."""
    tensor = pycnn.full((SIZE,), float(value), device=device)
    pycnn.eval(tensor)
    return tensor


def attempts(attempt: Callable[[int], list[float]]) -> int:
    """How many of several attempts, each with a number of its own, gave another value than that number everywhere."""
    wrong = 0
    for number in range(1, ATTEMPTS + 1):
        cuda.empty_cache()  # what is freed from now on is what comes next
        wrong += attempt(number) != [number] * SIZE
    return wrong


@pytest.fixture(autouse=True)
def _nothing_on_its_way() -> Iterator[None]:
    yield
    for device in range(cuda.device_count()):
        cuda.synchronize(device)


class Worker(threading.Thread):
    """A thread that does what it is asked, one thing after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._asked, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._work: Callable[[], Any] | None = None
        self._result: Any = None
        self.start()

    def run(self) -> None:
        while True:
            self._asked.acquire()
            if self._work is None:
                return
            try:
                self._result = self._work()
            except BaseException as error:
                self._result = error
            self._done.release()

    def does(self, work: Callable[[], Any] | None) -> Any:
        self._work = work
        self._asked.release()
        if work is None:
            return self.join()
        self._done.acquire()
        return self._result


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    threads = [Worker() for _ in range(3)]
    yield threads
    for thread in threads:
        thread.does(None)


# -- order -------------------------------------------------------------------------------------------------------------


def computed_in_two_streams(number: int, wait: Callable[[cuda.Stream, cuda.Stream], None]) -> list[float]:
    producer, consumer = cuda.Stream(), cuda.Stream()
    with producer:
        x = full(number)
        y = x * 2
    wait(consumer, producer)
    with consumer:
        z = y - number
    consumer.synchronize()
    return z.cpu().tolist()


@pytest.mark.parametrize("how", ["stream", "event", "host"])
def test_a_stream_waits_for_another(how: str) -> None:
    waits = {
        "stream": lambda consumer, producer: consumer.wait_stream(producer),
        "event": lambda consumer, producer: consumer.wait_event(producer.record_event()),
        "host": lambda consumer, producer: producer.synchronize(),
    }
    assert attempts(lambda number: computed_in_two_streams(number, waits[how])) == 0


@only_emulated
def test_a_missing_wait_gives_wrong_values() -> None:
    assert attempts(lambda number: computed_in_two_streams(number, lambda consumer, producer: None)) > 0


def test_events_say_when_they_have_come() -> None:
    stream = cuda.Stream()
    begin, end, never = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True), cuda.Event()
    assert never.query()
    with stream:
        begin.record()
        x = full(1) * 2
        end.record()
        after = x + 1
    if emulated:
        assert not end.query() and not stream.query()
        with pytest.raises(RuntimeError, match="ElapsedTime"):
            begin.elapsed_time(end)
    while not end.query():
        pass
    assert begin.query() and begin.elapsed_time(end) >= 0
    while not stream.query():
        pass
    assert after[0].item() == 3


def test_an_event_recorded_again_is_another_point() -> None:
    def attempt(number: int) -> list[float]:
        first, second, reader = cuda.Stream(), cuda.Stream(), cuda.Stream()
        event = cuda.Event()
        with first:
            x = full(number)
            event.record()
        reader.wait_event(event)
        with second:
            full(-number)
            event.record()  # whoever waits already still waits for the first
        with reader:
            y = x + 0
        reader.synchronize()
        return y.cpu().tolist()

    assert attempts(attempt) == 0


def test_plans_captured_in_a_side_stream() -> None:
    pycnn.plan.clear_cache()
    stream, copies = cuda.Stream(), cuda.Stream()
    values = np.random.default_rng(0).normal(size=(12, 8, 8)).astype("float32")
    before = pycnn.plan.statistics()["graphs_launched"]
    results = []
    for value in values:
        with copies:
            x = pycnn.tensor(value).cuda()
        stream.wait_stream(copies)
        with stream:
            y = ((x @ x).softmax(1).cumsum(1) @ x).relu()
            results.append(y.cpu())
        del x, y
    for value, result in zip(values, results, strict=True):
        z = np.exp(value @ value)
        expected = np.maximum((z / z.sum(1, keepdims=True)).cumsum(1) @ value, 0)
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3, atol=1e-4)
    assert pycnn.plan.statistics()["graphs_launched"] > before


def trained(seed: int, stream: cuda.Stream | None, steps: int = 6) -> list[bytes]:
    generator = pycnn.Generator()
    generator.manual_seed(seed)
    rng = np.random.default_rng(seed)
    with cuda.stream(stream):
        weights = [pycnn.randn(size, generator=generator).mul(0.3).cuda() for size in ((6, 8), (8, 3))]
        weights = [weight.requires_grad_() for weight in weights]
        optimizer = pycnn.optim.SGD(weights, lr=0.1, momentum=0.9)
        for _ in range(steps):
            x = pycnn.tensor(rng.normal(size=(5, 6)).astype("float32")).pin_memory().to("cuda", non_blocking=True)
            y = pycnn.tensor(rng.integers(0, 3, 5)).cuda()
            optimizer.zero_grad()
            nn.functional.cross_entropy((x @ weights[0]).relu() @ weights[1], y).backward()
            optimizer.step()
        return [weight.detach().cpu().numpy().tobytes() for weight in weights]


def test_two_threads_train_each_in_its_own_stream() -> None:
    expected = [trained(seed, None) for seed in range(2)]
    for _ in range(4):
        found: list[Any] = [None, None]

        def work(number: int, found: list[Any] = found) -> None:
            try:
                found[number] = trained(number, cuda.Stream())
            except BaseException as error:
                found[number] = error

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == expected


def test_another_threads_pending_work_is_there_for_it(workers: list[Worker]) -> None:
    def attempt(number: int) -> list[float]:
        recorded: dict[str, Any] = {}
        theirs, own = cuda.Stream(), cuda.Stream()

        def record() -> None:
            cuda.set_stream(theirs)
            recorded["x"] = full(number)
            recorded["y"] = recorded["x"] * 3

        def read() -> list[float]:
            return (recorded["y"] - 2 * number).cpu().tolist()

        workers[0].does(record)
        theirs.synchronize()
        with own:
            z = recorded["y"] + 1  # computes y here, where the other thread's stream does not look
            pycnn.eval(z)
        return workers[0].does(read)

    assert attempts(attempt) == 0


# -- memory that several streams use -----------------------------------------------------------------------------------


class Elsewhere:
    """Another library in the same process: copies by the plug-in's own functions, of which pycnn does not hear."""

    def __init__(self) -> None:
        plug_in = ctypes.CDLL(os.environ["PYCNN_CUDA_LIBRARY"])
        plug_in.pycnn_backend_v1.restype = ctypes.POINTER(ctypes.c_void_p)
        table = plug_in.pycnn_backend_v1()
        # The table in words of 8 bytes, of which the first holds two numbers, as kernels/backend.h lists them.
        self._use = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)(table[6])
        self._copy = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(table[14])

    def copy(self, to: Any, source: int, stream: int) -> None:
        """Gives a stream the copy of a tensor's bytes from an address."""
        self._use(0, stream)
        self._copy(to.data_ptr(), source, SIZE * 4)
        self._use(0, cuda.current_stream().cuda_stream)


def kept_while_another_stream_reads(number: int) -> list[float]:
    side = cuda.Stream()
    x = full(number)
    side.wait_stream(cuda.current_stream())
    with side:
        y = x + 0
    del x
    z = full(-1)  # may come to lie where x did, but not before it was read
    side.synchronize()
    assert z[0].item() == -1
    return y.cpu().tolist()


def test_memory_is_kept_while_another_stream_reads_it() -> None:
    assert attempts(kept_while_another_stream_reads) == 0


def test_memory_comes_back_when_the_other_stream_is_done() -> None:
    cuda.empty_cache()
    for number in range(1, 20):
        assert kept_while_another_stream_reads(number)[0] == number
        cuda.synchronize()
    assert cuda.memory_reserved() <= 12 * SIZE * 4
    cuda.synchronize()
    gc.collect()
    assert cuda.memory_allocated() <= 6 * SIZE * 4


def copied_elsewhere(number: int, tells: bool) -> list[float]:
    side, elsewhere = cuda.Stream(), Elsewhere()
    x, y = full(number), full(0)
    side.wait_stream(cuda.current_stream())
    elsewhere.copy(y, x.data_ptr(), side.cuda_stream)
    if tells:
        x.record_stream(side)
    del x
    z = full(-1)
    side.synchronize()
    assert z[0].item() == -1
    return y.cpu().tolist()


@only_emulated
def test_record_stream_tells_of_work_elsewhere() -> None:
    assert attempts(lambda number: copied_elsewhere(number, tells=True)) == 0
    assert attempts(lambda number: copied_elsewhere(number, tells=False)) > 0


def test_record_stream_is_for_gpus() -> None:
    with pytest.raises(RuntimeError, match="record_stream"):
        pycnn.ones(2).record_stream(cuda.current_stream())
    x = full(1)
    x.record_stream(cuda.current_stream())
    x[1:].record_stream(cuda.Stream())
    assert x[0].item() == 1


def test_a_result_is_not_written_over_memory_of_another_stream() -> None:
    def attempt(number: int) -> list[float]:
        side = cuda.Stream()
        x = full(number)
        side.wait_stream(cuda.current_stream())
        with side:
            y = x * 1
        pycnn.eval(y)
        z = (x * -1) * 1  # x's last use here
        del x
        pycnn.eval(z)
        side.synchronize()
        assert z[0].item() == -number
        return y.cpu().tolist()

    assert attempts(attempt) == 0


def test_packed_weights_are_kept_while_another_stream_reads_them() -> None:
    x = pycnn.ones(4, 16, device="cuda", dtype=pycnn.bfloat16)
    weight = pycnn.full((16, 16), 0.5, device="cuda")
    pycnn.eval(x, weight)
    cuda.synchronize()
    for _ in range(ATTEMPTS):
        side = cuda.Stream()
        with pycnn.no_grad(), pycnn.autocast("cuda", dtype=pycnn.bfloat16):
            copy = weight.clone()
            for _ in range(2):
                pycnn.eval(x @ copy)
            side.wait_stream(cuda.current_stream())
            with side:
                y = x @ copy
            del copy
            junk = [pycnn.full((16, 16), -7.0, device="cuda", dtype=pycnn.bfloat16) for _ in range(4)]
            pycnn.eval(*junk)
        side.synchronize()
        assert y.float().cpu().tolist() == [[8.0] * 16] * 4


@pytest.mark.parametrize("side", [False, True])
def test_prefetched_batches_are_whole(side: bool) -> None:
    from pycnn.utils.data import prefetch

    batches = [pycnn.full((SIZE,), float(number)) for number in range(12)]
    for _ in range(4):
        sums = []
        with cuda.stream(cuda.Stream() if side else None):
            for batch in prefetch(batches, "cuda"):
                total = batch * 1
                for _ in range(3):
                    total = total + batch
                sums.append(total)
                pycnn.eval(total)
                del batch, total
            found = [total.cpu() for total in sums]
        for number, total in enumerate(found):
            assert total.tolist() == [4.0 * number] * SIZE


# -- several GPUs ------------------------------------------------------------------------------------------------------


@two_devices
@pytest.mark.parametrize(("source", "target"), [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")])
def test_copies_between_gpus_wait_for_each_other(source: str, target: str) -> None:
    def attempt(number: int) -> list[float]:
        there = cuda.Stream(source)
        with there, cuda.Stream(target):
            x = full(number, source)
            y = x.to(target)
            del x
            z = full(-1, source)  # may come to lie where x did
            result = y + 0
            assert z.device == pycnn.device(source) and result.device == pycnn.device(target)
            return result.cpu().tolist()

    assert attempts(attempt) == 0


@two_devices
def test_a_network_on_two_gpus() -> None:
    def losses(devices: tuple[str, str]) -> list[float]:
        pycnn.manual_seed(0)
        first, second = nn.Linear(6, 4).to(devices[0]), nn.Linear(4, 2).to(devices[1])
        optimizer = pycnn.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
        found = []
        for step in range(5):
            x = pycnn.tensor(np.random.default_rng(step).normal(size=(3, 6)).astype("float32"))
            loss = second(first(x.to(devices[0])).relu().to(devices[1])).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    np.testing.assert_allclose(losses(("cuda:0", "cuda:1")), losses(("cpu", "cpu")), rtol=1e-4)


# -- other libraries' streams ------------------------------------------------------------------------------------------


class Exporter:
    """A tensor as another library's array: only its protocols are seen."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        self.streams.append(stream)
        return self._tensor.__dlpack__(stream=stream, max_version=max_version)


class Array:
    """The same with CUDA's array interface, read when it is made."""

    def __init__(self, tensor: Any, **changes: Any) -> None:
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **changes}
        self._tensor = tensor


def test_producers_are_told_the_stream() -> None:
    side, x = cuda.Stream(), Exporter(full(3))
    assert pycnn.from_dlpack(x)[0].item() == 3
    with side:
        assert pycnn.from_dlpack(x)[0].item() == 3
    assert x.streams == [1, side.cuda_stream]
    on_cpu = Exporter(pycnn.ones(2))
    assert pycnn.from_dlpack(on_cpu).tolist() == [1, 1] and on_cpu.streams == [None]


@pytest.mark.parametrize("protocol", [Exporter, Array])
def test_what_another_stream_computes_is_waited_for(protocol: Any) -> None:
    def attempt(number: int) -> list[float]:
        producer, consumer = cuda.Stream(), cuda.Stream()
        with producer:
            array = protocol(full(number))
            if protocol is Exporter:
                # The producer's stream is its current one when it is asked.
                capsule = array.__dlpack__(stream=consumer.cuda_stream)
        with consumer:
            taken = pycnn.from_dlpack(capsule) if protocol is Exporter else pycnn.as_tensor(array)
            return (taken + 0).cpu().tolist()

    assert attempts(attempt) == 0


def handed_to_elsewhere(number: int, stream_of: Callable[[cuda.Stream], Any]) -> list[float]:
    side, elsewhere = cuda.Stream(), Elsewhere()
    y = full(0)
    side.wait_stream(cuda.current_stream())
    x = full(number)
    capsule = x.__dlpack__(stream=stream_of(side))
    elsewhere.copy(y, x.data_ptr(), side.cuda_stream)
    side.synchronize()
    del capsule
    return y.cpu().tolist()


@only_emulated
def test_consumers_streams_wait_for_what_is_exported() -> None:
    assert attempts(lambda number: handed_to_elsewhere(number, lambda side: side.cuda_stream)) == 0
    assert attempts(lambda number: handed_to_elsewhere(number, lambda side: -1)) > 0


@only_emulated
@pytest.mark.parametrize("dtype", [None, pycnn.float64])
def test_tensors_of_arrays_are_copies(dtype: Any) -> None:
    x, later = full(3), full(7)
    copied = pycnn.tensor(Array(x), dtype=dtype, device="cuda")
    Elsewhere().copy(x, later.data_ptr(), cuda.current_stream().cuda_stream)
    assert copied.tolist() == [3] * SIZE
    assert x.tolist() == [7] * SIZE


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shape": (-6,)}, ValueError, "a size is negative: -6"),
        ({"typestr": None}, TypeError, "there is no 'typestr'"),
        ({"data": None}, TypeError, "there is no 'data'"),
    ],
)
def test_arrays_that_are_none(changes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pycnn.as_tensor(Array(full(1), **changes))


def test_foreign_memory_goes_back_after_synchronising() -> None:
    owner = full(2)
    reference = weakref.ref(array := Array(owner))
    taken = pycnn.as_tensor(array)
    assert (taken + 1)[0].item() == 3
    del array, taken
    gc.collect()
    cuda.synchronize()
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("stream", [None, 1, 2, -1])
def test_streams_by_number(stream: int | None) -> None:
    with cuda.Stream() as side:
        x = full(5)
        side.synchronize()
        assert pycnn.from_dlpack(x.__dlpack__(stream=stream))[0].item() == 5


def test_streams_that_there_are_not() -> None:
    x = full(1)
    for stream, error in ((0, ValueError), (-2, ValueError), ("default", TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="stream"):
            x.__dlpack__(stream=stream)
    assert pycnn.ones(2).__dlpack__(stream=None) is not None
    with pytest.raises(ValueError, match="stream"):
        pycnn.as_tensor(Array(x, stream=0))


@pytest.mark.parametrize("protocol", [Exporter, Array])
def test_foreign_memory_is_kept_while_a_stream_reads_it(protocol: Any) -> None:
    def attempt(number: int) -> list[float]:
        side = cuda.Stream()
        x = full(number)
        side.wait_stream(cuda.current_stream())
        with side:
            taken = pycnn.from_dlpack(protocol(x)) if protocol is Exporter else pycnn.as_tensor(protocol(x))
            y = taken + 0
        del x, taken
        gc.collect()
        z = full(-1)
        side.synchronize()
        assert z[0].item() == -1
        return y.cpu().tolist()

    assert attempts(attempt) == 0


def test_arrays_of_cudas_interface() -> None:
    x = pycnn.arange(12.0, device="cuda").reshape(3, 4)
    shared = pycnn.as_tensor(Array(x))
    assert shared.is_cuda and shared.data_ptr() == x.data_ptr() and shared.cpu().tolist() == x.cpu().tolist()
    assert pycnn.as_tensor(Array(x, stream=None)).cpu().tolist() == x.cpu().tolist()
    rows = pycnn.as_tensor(Array(x, shape=(2, 2), strides=(32, 4)))
    assert rows.cpu().tolist() == [[0, 1], [8, 9]]
    copied = pycnn.tensor(Array(x), device="cuda")
    assert copied.cpu().tolist() == x.cpu().tolist()
    assert pycnn.as_tensor(Array(pycnn.tensor([1, 2]).cuda())).dtype == pycnn.int64
    with pytest.raises(TypeError, match="element type"):
        pycnn.as_tensor(Array(x, typestr="<c8"))
    with pytest.raises(RuntimeError, match="not that of a GPU"):
        pycnn.as_tensor(Array(x, data=(np.ones(12, "float32").ctypes.data, True)))


# -- indices out of range ----------------------------------------------------------------------------------------------


def look_up_out_of_range(device: str = "cuda:0") -> None:
    """Gives the current stream a look-up beyond the table's end."""
    table, index = pycnn.arange(4.0, device=device), pycnn.tensor([1, 9]).to(device)
    pycnn.eval(table, index)
    pycnn.eval(table[index])


def hears(device: int = 0) -> bool:
    try:
        cuda.synchronize(device)
    except RuntimeError as error:
        assert "index out of range" in str(error)
        return True
    return False


def test_every_thread_hears_of_an_index_out_of_range_once(workers: list[Worker]) -> None:
    assert not hears()
    first, second, late = workers
    assert [worker.does(hears) for worker in (first, second)] == [False, False]
    first.does(look_up_out_of_range)
    assert [worker.does(hears) for worker in (second, first, second, first)] == [True, True, False, False]
    assert late.does(hears) is False  # it was not there
    assert hears() and not hears()
    first.does(look_up_out_of_range)
    second.does(look_up_out_of_range)
    assert [worker.does(hears) for worker in workers] == [True] * 3
    assert [worker.does(hears) for worker in workers] == [False] * 3
    assert hears() and not hears()


@two_devices
def test_an_index_out_of_range_concerns_its_own_gpu(workers: list[Worker]) -> None:
    first, second, _ = workers
    assert not hears(0) and not hears(1)
    assert first.does(lambda: hears(0)) is False and second.does(lambda: hears(1)) is False
    look_up_out_of_range("cuda:1")
    assert first.does(lambda: hears(0)) is False
    assert second.does(lambda: hears(1)) is True
    assert not hears(0) and hears(1) and not hears(1)


def test_reading_a_value_tells_of_an_index_out_of_range() -> None:
    x = full(1)
    look_up_out_of_range()
    with pytest.raises(RuntimeError, match="index out of range"):
        x[0].item()
    assert x[0].item() == 1
