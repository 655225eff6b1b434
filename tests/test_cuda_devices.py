"""GPUs, streams and processes among themselves. Skipped where there is no GPU; see test_cuda.py."""

from __future__ import annotations

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
