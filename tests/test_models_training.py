"""Training the networks: modes, captures, PyTorch's results, and whether they learn."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import SMALL, samples, small, tensors_in
from torch_models import models_on_torch

import pycnn
from pycnn import _core, models
from pycnn.nn import functional as F


def step(model, name: str) -> list[bytes]:
    """One step of SGD on the mean square of all outputs; the bits of loss and state after it."""
    model.train()
    optimizer = pycnn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    outputs = tensors_in(model(*map(pycnn.tensor, samples(name))))
    loss = sum((output**2).mean() for output in outputs)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    optimizer.step()
    assert np.isfinite(loss.item())
    return [loss.detach().numpy().tobytes(), *(t.numpy().tobytes() for t in model.state_dict().values())]


@pytest.mark.parametrize("name", SMALL)
def test_a_training_step_has_the_same_bits_in_both_modes(name):
    results = []
    for mode in ("lazy", "eager"):
        _core.set_mode(mode)
        pycnn.manual_seed(0)
        results.append(step(small(models, name), name))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", SMALL)
def test_captured_training_steps_have_the_same_bits(name):
    inputs = [pycnn.tensor(sample) for sample in samples(name)]
    results = []
    for captured in (False, True):
        pycnn.manual_seed(0)
        model = small(models, name)
        optimizer = pycnn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def train(*inputs, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = sum((output**2).mean() for output in tensors_in(model(*inputs)))
            loss.backward()
            optimizer.step()
            return loss.detach()

        function = pycnn.capture(train) if captured else train
        losses = [function(*inputs).item() for _ in range(3)]
        results.append([losses, [t.numpy().tobytes() for t in model.state_dict().values()]])
    assert results[0] == results[1] and function.recordings == 1


@pytest.fixture(scope="module")
def theirs():
    """PyTorch, and the networks made of its layers."""
    torch = pytest.importorskip("torch")
    return torch, models_on_torch(torch)


@pytest.mark.parametrize("name", SMALL)
def test_logits_of_the_same_layers_in_pytorch(name, theirs, tmp_path):
    """The state crosses to PyTorch in a file and back; the outputs agree to 1e-4 of the largest."""
    torch, packaged = theirs
    model = small(models, name)
    rng = np.random.default_rng(1)
    for key, tensor in model.state_dict().items():
        if key.endswith("running_mean"):
            tensor.copy_(pycnn.tensor(rng.normal(0, 0.1, tuple(tensor.shape)).astype(np.float32)))
        elif key.endswith("running_var"):
            tensor.copy_(pycnn.tensor(rng.uniform(0.5, 1.5, tuple(tensor.shape)).astype(np.float32)))
    state = model.state_dict()
    pycnn.save(state, tmp_path / "mine.pt")
    other = small(packaged, name)
    assert list(other.state_dict()) == list(state)
    other.load_state_dict(torch.load(tmp_path / "mine.pt", weights_only=True))
    inputs = samples(name)
    with torch.no_grad(), pycnn.no_grad():
        expected = tensors_in(other.eval()(*map(torch.tensor, inputs)))
        outputs = tensors_in(model.eval()(*map(pycnn.tensor, inputs)))
        for mine, reference in zip(outputs, expected, strict=True):
            assert tuple(mine.shape) == tuple(reference.shape)
            scale = float(reference.abs().max())
            np.testing.assert_allclose(mine.numpy(), reference.numpy(), rtol=1e-4, atol=1e-4 * scale)
    torch.save(other.state_dict(), tmp_path / "theirs.pt")
    for key, tensor in pycnn.load(tmp_path / "theirs.pt").items():
        assert np.array_equal(tensor.numpy(), state[key].numpy()), key


@pytest.mark.parametrize("name", ["lenet5_1998", "resnet20", "mlp"])
def test_overfits_a_small_real_batch(name):
    from pycnn import datasets
    from pycnn.training import create_classifier

    data = datasets.digits()
    size = models.entry(name).inputs[0][1:]
    images = datasets.Preprocessing.fit(data.train_images, data.maximum, *size)(data.train_images[:20], data.maximum)
    x, y = pycnn.tensor(images), pycnn.tensor(data.train_labels[:20])
    model = create_classifier(name, 10)
    optimizer = pycnn.optim.SGD(model.parameters(), lr=0.05 if name != "lenet5_1998" else 5e-4, momentum=0.9)
    for _ in range(60 if name == "lenet5_1998" else 25):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert (model(x).argmax(1) == y).float().mean().item() == 1.0
