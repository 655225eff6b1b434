"""A GPU's memory that is used up: what was there before is as it was, and everything goes on. Skipped without a GPU;
see test_cuda.py for the emulated one.

Each test runs in a process of its own, for which 64 MB are left: the emulated device has no more, and of a GPU's memory
the rest is taken first."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import pycnn

pytestmark = pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason())

MEGABYTES = 64

#: What a GPU has besides tensors (code, and memory of threads that grows with the largest kernel so far) is there
#: before the rest is taken.
LEAVE = f"""
import pycnn
from pycnn import nn

def leave_little():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 2)
    ).cuda()
    optimizer = pycnn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        x = pycnn.ones(2, 1, 8, 8).cuda()
        nn.functional.cross_entropy(model(x), pycnn.tensor([0, 1]).cuda()).backward()
        optimizer.step()
    many = pycnn.arange(4096, device="cuda")
    assert many.sum().item() > 0 and (many.double() * 2).sum().item() > 0
    assert (many.reshape(64, 64).float() @ many.reshape(64, 64).float()).square().mean().item() > 0
    del model, optimizer, x, many
    pycnn.plan.clear_cache()
    pycnn.cuda.empty_cache()
    rest = pycnn.cuda.mem_get_info()[0] - {MEGABYTES} * 2**20
    taken = pycnn.empty(max(rest, 0), dtype=pycnn.uint8, device="cuda")
    pycnn.eval(taken)
    return taken

"""
EMULATED = "import pycnn\nfrom pycnn import nn\ndef leave_little():\n    return None\n"


def run_with_little_memory(code: str) -> str:
    """Runs Python code, which finds `pycnn` and `nn`, in a process whose device has 64 MB left."""
    emulated = "emulated" in pycnn.cuda.get_device_name()
    environment = dict(os.environ, PYCNN_EMULATED_MEMORY=str(MEGABYTES), CUDA_MODULE_LOADING="EAGER")
    program = (EMULATED if emulated else LEAVE) + "taken = leave_little()\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_out_of_memory_tells_how_much_and_leaves_the_process_usable() -> None:
    run_with_little_memory(
        """
        import re
        held = pycnn.ones(5 * 2**20).cuda()
        for attempt in range(2):
            try:
                pycnn.zeros(64, 2**20).cuda()
            except pycnn.cuda.OutOfMemoryError as error:
                asked, free, total, used = map(int, re.findall(r"[0-9]{4,}", str(error)))
                assert asked >= 2**28 and free + used <= total and used >= 5 * 2**22, str(error)
                assert free <= 2**26, str(error)
            else:
                raise AssertionError
        try:
            (held.reshape(5, 2**20).T @ held.reshape(5, 2**20)).sum().item()
        except pycnn.cuda.OutOfMemoryError:
            pass
        else:
            raise AssertionError
        assert held[:8].sum().item() == 8
        del held
        assert (pycnn.ones(10 * 2**20).cuda() + 1)[3].item() == 2
        """
    )


def test_a_loop_that_halves_its_batch_goes_on() -> None:
    printed = run_with_little_memory(
        """
        net = nn.Sequential(nn.Flatten(), nn.Linear(4096, 16), nn.ReLU(), nn.Linear(16, 2)).cuda()
        optimizer = pycnn.optim.SGD(net.parameters(), lr=0.01)
        batch, steps = 8192, 0
        while steps < 3:
            try:
                x = pycnn.ones(batch, 4096).cuda()
                optimizer.zero_grad()
                net(x).square().mean().backward()
                optimizer.step()
                assert net[1].weight.detach().cpu().isfinite().all()
                steps += 1
            except pycnn.cuda.OutOfMemoryError:
                x = None
                batch //= 2
        print(batch)
        """
    )
    assert 128 <= int(printed) <= 2048


#: A small network's steps, and everything that they change.
TRAINING = """
import numpy as np

def made():
    pycnn.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 4)
    ).cuda()
    return net, pycnn.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

def step(net, optimizer, x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss

def batch(size, seed):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(size, 1, 16, 16)).astype("float32")
    return pycnn.tensor(images).cuda(), pycnn.tensor(generator.integers(0, 4, size)).cuda()

def bits(net, optimizer):
    tensors = [*net.state_dict().values(), *(state["momentum_buffer"] for state in optimizer.state.values())]
    return [tensor.detach().cpu().numpy().tobytes() for tensor in tensors]

FEW, MANY = 4, 8192  # images: the first layer's results of so many would be 64 MB
"""


def run_training(code: str) -> str:
    return run_with_little_memory(TRAINING + textwrap.dedent(code))


@pytest.mark.parametrize("captured", [False, True])
def test_a_step_that_fails_changes_nothing(captured: bool) -> None:
    sizes = "[FEW, FEW, FEW, MANY, FEW, FEW, FEW]" if captured else "[FEW, FEW, MANY, FEW, MANY, FEW, FEW, FEW]"
    run_training(
        f"""
        seen = []
        for sizes in ([FEW] * 6, {sizes}):
            net, optimizer = made()
            run = lambda x, y: step(net, optimizer, x, y)
            if {captured}:
                run = pycnn.capture(run)
            losses = []
            for size in sizes:
                before = bits(net, optimizer)
                try:
                    losses.append(run(*batch(size, len(losses))).item())
                    assert size == FEW
                except pycnn.cuda.OutOfMemoryError:
                    assert size == MANY
                    assert bits(net, optimizer) == before, "a failed step changed something"
            seen.append((losses, bits(net, optimizer)))
        assert len(seen[0][0]) == 6 and seen[0] == seen[1], [losses for losses, _ in seen]
        """
    )


def test_a_replay_that_fails_changes_nothing() -> None:
    run_training(
        """
        seen = []
        for fails in (False, True):
            net, optimizer = made()
            run = pycnn.capture(lambda x, y: step(net, optimizer, x, y))
            losses = [run(*batch(512, seed)).item() for seed in range(3)]
            x, y = batch(512, 3)
            pycnn.eval(x, y)
            if fails:
                before, rest = bits(net, optimizer), []
                pycnn.cuda.empty_cache()
                try:
                    while True:
                        rest.append(pycnn.ones(2**18, device="cuda"))
                        pycnn.eval(rest[-1])
                except pycnn.cuda.OutOfMemoryError:
                    rest.pop()
                try:
                    run(x, y)
                except pycnn.cuda.OutOfMemoryError:
                    pass
                else:
                    raise AssertionError
                assert bits(net, optimizer) == before
                del rest
            losses += [run(x, y).item(), run(*batch(512, 4)).item()]
            seen.append((losses, bits(net, optimizer)))
        assert seen[0] == seen[1], [losses for losses, _ in seen]
        """
    )


def test_graphs_are_launched_again_after_a_failure() -> None:
    run_training(
        """
        net, optimizer = made()
        x, y = batch(FEW, 0)
        for _ in range(16):
            step(net, optimizer, x, y).item()
        launched = pycnn.plan.statistics()["graphs_launched"]
        assert launched > 0
        try:
            step(net, optimizer, *batch(MANY, 1)).item()
        except pycnn.cuda.OutOfMemoryError:
            pass
        else:
            raise AssertionError
        for _ in range(16):
            step(net, optimizer, x, y).item()
        assert pycnn.plan.statistics()["graphs_launched"] > launched
        """
    )


def test_failure_in_another_stream() -> None:
    run_with_little_memory(
        """
        kept, dropped = pycnn.full((4 * 2**20,), 3.0, device="cuda"), pycnn.ones(8 * 2**20, device="cuda")
        pycnn.eval(kept, dropped)  # 16 and 32 MB
        del dropped
        side = pycnn.cuda.Stream()
        with pycnn.cuda.stream(side):
            x = pycnn.full((7 * 2**20,), 2.0, device="cuda")  # 28 MB, of what the other stream has kept for itself
            pycnn.eval(x)
            for attempt in range(2):
                try:
                    pycnn.eval(pycnn.ones(64 * 2**20, device="cuda"))
                except pycnn.cuda.OutOfMemoryError:
                    pass
                else:
                    raise AssertionError
            assert (x[:4] + 1).tolist() == [3.0] * 4
        side.synchronize()
        del x
        assert kept.sum().item() == 12 * 2**20
        assert pycnn.ones(7 * 2**20, device="cuda").sum().item() == 7 * 2**20
        """
    )


def test_failure_in_another_thread() -> None:
    run_with_little_memory(
        """
        import threading
        refused = []

        def work():
            try:
                pycnn.eval(pycnn.ones(64 * 2**20, device="cuda"))
            except pycnn.cuda.OutOfMemoryError:
                refused.append(True)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        x = pycnn.ones(2**20, device="cuda")
        for _ in range(20):
            x = x + 1
            pycnn.eval(x)
        for thread in threads:
            thread.join()
        assert len(refused) == 4 and x[7].item() == 21
        """
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits addresses as Linux does")
def test_no_page_locked_memory() -> None:
    run_with_little_memory(
        """
        import resource
        import numpy as np

        host = pycnn.from_numpy(np.ones(2**26, np.uint8))
        small = pycnn.arange(1000.0).pin_memory()
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, before[1]))
        for attempt in range(2):
            try:
                host.pin_memory()
            except pycnn.cuda.OutOfMemoryError as error:
                assert "page-locked" in str(error) and str(2**26) in str(error), str(error)
            else:
                raise AssertionError
        assert small.cuda(non_blocking=True).sum().item() == 499500
        resource.setrlimit(resource.RLIMIT_AS, before)
        assert host.pin_memory()[:1000].cuda().sum().item() == 1000
        """
    )
