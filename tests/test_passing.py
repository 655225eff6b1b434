"""What PyTorch code says in passing: devices, switches of other libraries, precision, loss scaling."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import pycnn as torch
from pycnn import nn


def test_package_accepts_what_pytorch_code_says_in_passing():
    with torch.autocast("cpu", enabled=False):
        pass
    assert torch.seed() == torch.initial_seed()
    torch.cuda.manual_seed(1), torch.cuda.manual_seed_all(1), torch.cuda.empty_cache()
    assert str(torch.device("cpu")) == "cpu"
    assert torch.nn is nn and torch.optim.SGD is not None and torch.utils.data.DataLoader is not None
    assert isinstance(torch.__version__, str)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = torch.nonsense
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = torch.utils.nonsense
    net = nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last)
    assert net(torch.zeros(1, 1, 4, 4)).shape == (1, 2, 2, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    assert torch.cuda.device_count() == 0
    assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError, match="not available"):
        torch.zeros(1).cuda()


def test_switches_of_other_libraries():
    from pycnn.backends import cudnn

    cudnn.benchmark = True
    cudnn.deterministic = True
    assert torch.backends.cudnn.benchmark and torch.backends.cudnn.deterministic
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.backends.cuda.matmul.allow_tf32 and torch.get_float32_matmul_precision() == "high"
    assert not torch.backends.cudnn.is_available() and torch.backends.cudnn.version() is None
    assert not torch.backends.mps.is_available() and not torch.backends.mps.is_built()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.are_deterministic_algorithms_enabled()
    torch.set_float32_matmul_precision("highest")
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(ValueError, match="'low'"):
        torch.set_float32_matmul_precision("low")


def test_compile_gives_the_model_back():
    net = nn.ReLU()
    assert torch.compile(net) is net and torch.compile(net, mode="max-autotune") is net

    @torch.compile(fullgraph=True)
    def twice(x):
        return 2 * x

    assert twice(torch.ones(1)).item() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_is_meant_for_a_gpu_is_disabled_with_a_warning():
    from pycnn.cuda.amp import GradScaler, autocast

    for make in (GradScaler, autocast, torch.amp.GradScaler, lambda: torch.autocast("cuda")):
        with pytest.warns(UserWarning, match="CUDA is not available"):
            make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler = GradScaler(enabled=False)
        with autocast(enabled=False), torch.autocast("cuda", enabled=False):
            pass
    assert not scaler.is_enabled() and scaler.get_scale() == 1 and scaler.state_dict() == {}


# -- loss scaling ------------------------------------------------------------------------------------------------------
def one_step(scaler, factor=1.0):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler.scale((weight * factor).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return weight.tolist()


def test_a_disabled_scaler_passes_things_on():
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    assert one_step(scaler) == [0.5, 1.5]
    loss = torch.ones(())
    assert scaler.scale(loss) is loss
    scaler.unscale_(None)
    scaler.load_state_dict({})


def test_the_scale_grows_and_shrinks():
    scaler = torch.amp.GradScaler("cpu", init_scale=8, growth_interval=2)
    assert one_step(scaler) == [0.5, 1.5] and scaler.get_scale() == 8
    assert one_step(scaler) == [0.5, 1.5] and scaler.get_scale() == 16
    assert one_step(scaler, float("inf")) == [1, 2] and scaler.get_scale() == 8
    assert one_step(scaler, float("nan")) == [1, 2] and scaler.get_scale() == 4
    state = scaler.state_dict()
    other = torch.amp.GradScaler("cpu")
    other.load_state_dict(state)
    assert other.state_dict() == state and other.get_scale() == 4
    assert one_step(scaler) == [0.5, 1.5]
    scaler.update(32.0)
    assert scaler.get_scale() == 32 and [t.item() for t in scaler.scale([torch.ones(())])] == [32]


def test_gradients_can_be_clipped_between():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024)
    scaler.scale((weight * weight).sum() / 2).backward()
    scaler.unscale_(optimizer)
    assert weight.grad.tolist() == [3, 4]
    nn.utils.clip_grad_norm_([weight], 1)
    scaler.step(optimizer)
    scaler.update()
    assert np.allclose(weight.detach().numpy(), [2.4, 3.2])


def test_calls_in_a_wrong_order():
    scaler = torch.amp.GradScaler("cpu")
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1)
    with pytest.raises(RuntimeError, match="No inf checks"):
        scaler.update()
    with pytest.raises(RuntimeError, match="no parameter has a gradient"):
        scaler.step(optimizer)
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)
    with pytest.raises(ValueError, match="growth_factor"):
        torch.amp.GradScaler("cpu", growth_factor=0.5)
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(optimizer, lambda: None)


def test_the_scaler_does_what_pytorchs_does():
    pytorch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    found = []
    for package in (torch, pytorch):
        scaler = package.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
        weight = package.nn.Parameter(package.tensor([1.0, -2.0]))
        optimizer = package.optim.SGD([weight], lr=0.1, momentum=0.9)
        rows = []
        for factor in (1.0, 1e38, 2.0, 3.0, float("nan"), 1.0):
            optimizer.zero_grad()
            scaler.scale((weight * weight * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            rows.append((scaler.get_scale(), np.array(weight.detach().numpy()).tolist()))
        found.append((rows, scaler.state_dict()))
    assert found[0][1] == found[1][1]
    for ours, theirs in zip(found[0][0], found[1][0], strict=True):
        assert ours[0] == theirs[0] and np.allclose(ours[1], theirs[1], rtol=1e-6)


PATHS = """
from torch.autograd.gradcheck import gradcheck, gradgradcheck
from torch.cuda.amp import GradScaler, autocast, custom_bwd, custom_fwd
from torch.hub import load_state_dict_from_url
from torch.nn.common_types import _size_2_t, _size_any_t
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import Conv2d, _ConvNd
from torch.nn.modules.loss import _Loss, _WeightedLoss
from torch.nn.modules.utils import _pair
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parallel.data_parallel import DataParallel
from torch.nn.utils.clip_grad import clip_grad_norm_
from torch.nn.utils.convert_parameters import parameters_to_vector
from torch.optim.adagrad import Adagrad
from torch.optim.adamw import AdamW
from torch.optim.asgd import ASGD
from torch.optim.rmsprop import RMSprop
from torch.types import Device, Number
from torch.utils import model_zoo
from torch.utils.data._utils.collate import default_collate
from torch.utils.data.dataset import Subset
from torch.utils.model_zoo import load_url
import torch.utils.model_zoo
import torch.nn.parallel.data_parallel
import torch.utils.data
assert torch.utils.data._utils.collate.default_collate is torch.utils.data.default_collate
assert torch.nn.parallel.data_parallel(torch.nn.ReLU(), torch.ones(1) * -1).tolist() == [0]
"""


def test_paths_of_pytorch() -> None:
    done = subprocess.run([sys.executable, "-c", PATHS.replace("torch", "pycnn")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_paths_hide_no_functions() -> None:
    assert callable(torch.autograd.gradcheck) and callable(torch.optim.AdamW)


def test_downloaded_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycnn import hub

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = "https://example.org/models/net-00112233.pth?version=2"
    with pytest.raises(FileNotFoundError, match="downloads nothing"):
        hub.load_state_dict_from_url(url)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"weight": torch.ones(2)}, folder / "net-00112233.pth")
    assert hub.load_state_dict_from_url(url, progress=False)["weight"].tolist() == [1.0, 1.0]
    assert hub.load_state_dict_from_url("x", folder, file_name="net-00112233.pth").keys() == {"weight"}
    with pytest.raises(RuntimeError, match="invalid hash value"):
        hub.load_state_dict_from_url(url, check_hash=True)


def test_hashes_of_downloaded_weights(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(600_000)}, tmp_path / "net")
    digits = hashlib.sha256((tmp_path / "net").read_bytes()).hexdigest()[:8]
    (tmp_path / "net").rename(tmp_path / f"net-{digits}.pth")
    loaded = torch.hub.load_state_dict_from_url(f"https://x.org/net-{digits}.pth", tmp_path, check_hash=True)
    assert loaded["weight"][-1] == 599_999


def test_data_parallel_calls_the_module() -> None:
    net, x = nn.Bilinear(2, 3, 4), (torch.ones(5, 2), torch.ones(5, 3))
    assert torch.equal(nn.parallel.data_parallel(net, x, [0], dim=0), net(*x))
    assert torch.equal(nn.parallel.data_parallel(net, x[:1], module_kwargs={"input2": x[1]}), net(*x))


def test_distributed_training_needs_a_process_group() -> None:
    with pytest.raises(ValueError, match="process group has not been initialized"):
        nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
