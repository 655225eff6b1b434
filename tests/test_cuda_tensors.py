"""Where tensors lie: GPU tensors stay there, whatever is written into them; what is made from them lies beside them.
Skipped without a GPU; with PYCNN_CUDA_LIBRARY set to the emulated plug-in it is the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pycnn as torch
from pycnn import nn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason=torch.cuda.unavailable_reason())

MIXED = "same device|device"


def ones() -> Any:
    return torch.ones(4, device="cuda")


def set_at(index: Any, value: Any) -> Callable[[Any], None]:
    return lambda x: x.__setitem__(index(x) if callable(index) else index, value)


WRITES: dict[str, tuple[Callable[[Any], Any], list[float] | None]] = {
    "uniform_": (lambda x: x.uniform_(), None),
    "normal_": (lambda x: x.normal_(), None),
    "exponential_": (lambda x: x.exponential_(), None),
    "bernoulli_": (lambda x: x.bernoulli_(1.0), [1, 1, 1, 1]),
    "random_": (lambda x: x.random_(2, 3), [2, 2, 2, 2]),
    "cauchy_": (lambda x: x.cauchy_(), None),
    "geometric_": (lambda x: x.geometric_(0.5), None),
    "log_normal_": (lambda x: x.log_normal_(), None),
    "zero_": (lambda x: x.zero_(), [0, 0, 0, 0]),
    "fill_": (lambda x: x.fill_(2), [2, 2, 2, 2]),
    "fill_ with the CPU's": (lambda x: x.fill_(torch.tensor(2.0)), [2, 2, 2, 2]),
    "data.fill_": (lambda x: x.data.fill_(2), [2, 2, 2, 2]),
    "copy_": (lambda x: x.copy_(torch.arange(4.0)), [0, 1, 2, 3]),
    "copy_ to a view": (lambda x: x[1:].copy_(torch.arange(3.0)), [1, 0, 1, 2]),
    "masked_fill_": (lambda x: x.masked_fill_(x > 0, 3.0), [3, 3, 3, 3]),
    "index_fill_": (lambda x: x.index_fill_(0, torch.tensor([1], device="cuda"), 3.0), [1, 3, 1, 1]),
    "add_ of the CPU's number": (lambda x: x.add_(torch.tensor(1.0)), [2, 2, 2, 2]),
    "view.zero_": (lambda x: x[1:].zero_(), [1, 0, 0, 0]),
    "view.add_": (lambda x: x[0].add_(1), [2, 1, 1, 1]),
    "fill_diagonal_": (lambda x: x.view(2, 2).fill_diagonal_(0), [0, 1, 1, 0]),
    "init.ones_": (lambda x: nn.init.ones_(x), [1, 1, 1, 1]),
    "init.trunc_normal_": (lambda x: nn.init.trunc_normal_(x), None),
    "x[:] = number": (set_at(slice(None), 0.0), [0, 0, 0, 0]),
    "x[0] = number": (set_at(0, 1.5), [1.5, 1, 1, 1]),
    "x[mask] = number": (set_at(lambda x: x > 0, 0.0), [0, 0, 0, 0]),
    "x[the CPU's mask] = number": (set_at(torch.tensor([True, False, True, False]), 0.0), [0, 1, 0, 1]),
    "x[list] = number": (set_at([0, 1], 5.0), [5, 5, 1, 1]),
    "x[1:] = the CPU's": (lambda x: x.__setitem__(slice(1, None), torch.arange(3.0)), [1, 0, 1, 2]),
    "x[list] = the CPU's number": (lambda x: x.__setitem__([0, 1], torch.tensor(5.0)), [5, 5, 1, 1]),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_in_place_stays_on_the_gpu(name: str) -> None:
    write, expected = WRITES[name]
    x = ones()
    write(x)
    assert x.device == torch.device("cuda", 0)
    if expected is not None:
        assert x.cpu().tolist() == expected


def test_the_cpus_stay_on_the_cpu() -> None:
    x = torch.ones(4)
    x.copy_(2 * ones())
    assert x.device.type == "cpu" and x.tolist() == [2, 2, 2, 2]
    x[1:] = 3 * ones()[1:]
    assert x.device.type == "cpu" and x.tolist() == [2, 3, 3, 3]
    with torch.device("cuda"):
        x.zero_()
        x[0] = 1
    assert x.device.type == "cpu" and x.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    "write",
    [
        lambda: torch.ones(4).add_(ones()), lambda: torch.tensor(1.0).add_(torch.tensor(1.0, device="cuda")),
        lambda: torch.add(ones(), 1, out=torch.empty(4)), lambda: torch.add(torch.ones(4), 1, out=ones()),
        lambda: torch.add(ones(), 1, out=torch.empty(0)), lambda: ones().__setitem__([0, 1], torch.ones(2)),
        lambda: ones().lerp_(torch.ones(4), 0.5), lambda: torch.hypot(ones(), ones(), out=torch.empty(4)),
    ],
)  # fmt: skip
def test_devices_do_not_mix_in_what_is_written(write: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError, match=MIXED):
        write()


def test_out_on_the_gpu() -> None:
    out = torch.empty(3, device="cuda")
    assert torch.add(ones()[1:], 1, out=out) is out and out.is_cuda and out.cpu().tolist() == [2, 2, 2]
    torch.zeros(3, out=out)
    assert out.is_cuda and out.cpu().tolist() == [0, 0, 0]
    torch.arange(3.0, out=out)
    assert out.is_cuda and out.cpu().tolist() == [0, 1, 2]


LAYERS = {
    "Linear": (2, 2), "Bilinear": (2, 2, 2), "Conv1d": (2, 2, 3), "Conv2d": (2, 2, 3), "Conv3d": (2, 2, 3),
    "ConvTranspose2d": (2, 2, 3), "BatchNorm2d": (2,), "LayerNorm": (2,), "GroupNorm": (1, 2), "RMSNorm": (2,),
    "Embedding": (3, 2), "EmbeddingBag": (3, 2), "RNN": (2, 2), "LSTM": (2, 2), "GRUCell": (2, 2), "PReLU": (),
    "MultiheadAttention": (4, 2), "TransformerEncoderLayer": (4, 2), "LazyLinear": (3,),
    "AdaptiveLogSoftmaxWithLoss": (4, 5, [2]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_made_on_the_gpu(name: str) -> None:
    layer = getattr(nn, name)(*LAYERS[name], device="cuda")
    tensors = [*layer.parameters(), *layer.buffers()]
    assert tensors and all(t.is_cuda for t in tensors)
    if name != "LazyLinear":
        layer.load_state_dict({key: value.cpu() for key, value in layer.state_dict().items()})
        assert all(t.is_cuda for t in [*layer.parameters(), *layer.buffers()])
        layer.cpu().load_state_dict({key: value.cuda() for key, value in layer.state_dict().items()})
        assert not any(t.is_cuda for t in [*layer.parameters(), *layer.buffers()])


def test_gradients_stay_on_the_gpu() -> None:
    layer = nn.Linear(2, 2, device="cuda")
    layer(torch.ones(1, 2, device="cuda")).sum().backward()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for forget in (optimizer.zero_grad, layer.zero_grad):
        forget(set_to_none=False)
        assert layer.weight.grad.is_cuda and layer.weight.grad.cpu().tolist() == [[0, 0], [0, 0]]


def test_optimizers_state_is_taken_to_the_gpu() -> None:
    parameter = torch.ones(2, requires_grad=True)
    parameter.sum().backward()
    given = torch.optim.Adam([parameter])
    given.step()
    there = parameter.detach().cuda().requires_grad_()
    there.sum().backward()
    taking = torch.optim.Adam([there])
    taking.load_state_dict(given.state_dict())
    state = taking.state[there]
    assert state["exp_avg"].is_cuda and state["exp_avg_sq"].is_cuda and not state["step"].is_cuda
    taking.step(), given.step()
    assert there.is_cuda and there.cpu().tolist() == pytest.approx(parameter.tolist(), rel=1e-6)


def test_a_number_names_a_gpu() -> None:
    assert torch.device(0) == torch.device("cuda", 0)
    assert torch.zeros(1, device=0).is_cuda and torch.ones(1).to(0).is_cuda and torch.ones(1).to(device=0).is_cuda
    assert torch.ones(1).cuda(0).is_cuda and nn.Linear(1, 1).to(0).weight.is_cuda
    with pytest.raises(TypeError):
        torch.zeros(1, device=True)


def test_gradients_lie_beside_their_tensors() -> None:
    parameter = torch.ones(2, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match="gradient on device 'cpu'"):
        parameter.grad = torch.ones(2)


def test_custom_functions_create_where_they_say() -> None:
    devices = []

    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            devices.append(torch.zeros(1).device.type)
            return 2 * gradient

    x = ones().requires_grad_()
    Double.apply(x).sum().backward()
    assert devices == ["cpu"] and x.grad.cpu().tolist() == [2, 2, 2, 2]


def test_streams_of_the_package() -> None:
    side, before = torch.cuda.Stream(), torch.cuda.current_stream()
    assert isinstance(before, torch.cuda.Stream) and before == torch.cuda.default_stream()
    assert before.device == torch.device("cuda", 0)
    with side as entered:
        assert entered is side and torch.cuda.current_stream() == side
        side.wait_stream(before)
        doubled = (ones() * 2).cpu()
    assert torch.cuda.current_stream() == before and doubled.tolist() == [2, 2, 2, 2]
    before.wait_event(side.record_event())
    before.synchronize()
