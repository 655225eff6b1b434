"""Every row of layer_cases.py: PyTorch's state, outputs and gradients; modes, threads, precision; derivatives."""

from __future__ import annotations

import copy
import pickle
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from case import Array, distance, numpy_of
from layer_cases import LAYERS, LayerCase

import pycnn
from pycnn import _core, nn

pytestmark = pytest.mark.filterwarnings("ignore:.?NLLLoss2d.? has been deprecated")
CONTAINERS = {"DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase",
              "RNNCellBase", "Sequential"}  # fmt: skip
ALL = {name for name in nn.__all__ if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)}
every_layer = pytest.mark.parametrize("case", [c for c in LAYERS.values() if c.name in ALL], ids=lambda case: case.name)


def generator(case: LayerCase, salt: int) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(case.name.encode()) + salt)


def drawn(case: LayerCase) -> list[Array]:
    """Samples that float32 represents exactly."""
    rng = generator(case, 0)
    arrays = [spec.make(rng) for spec in case.inputs]
    return [a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]


@dataclass
class Run:
    layer: Any
    outputs: list[Array]
    gradients: dict[str, Array]  # of inputs, by number, and of parameters
    state: dict[str, Array]

    def bits(self) -> list[tuple[str, str, bytes]]:
        named = [*enumerate(self.outputs), *self.gradients.items(), *self.state.items()]
        return [(str(name), str(a.dtype), a.tobytes()) for name, a in named]


def made(package: Any, case: LayerCase, dtype: str) -> Any:
    """The layer with numbers of the case's own for parameters and buffers."""
    layer = case.build(package.nn)
    layer.to(getattr(package, dtype))
    if "Lazy" in case.name:
        with package.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer(*(package.tensor(a.astype(dtype)) for a in drawn(case)))
    rng = generator(case, 1)
    for name, tensor in layer.state_dict().items():
        if tensor.is_floating_point():
            numbers = rng.uniform(0.5, 1.5, tuple(tensor.shape)) if "var" in name else rng.normal(
                0, 0.5, tuple(tensor.shape))  # fmt: skip
            with package.no_grad():
                tensor.copy_(package.tensor(numbers.astype(np.float32).astype(dtype)))
    return layer


def flat(results: Any) -> list[Any]:
    if isinstance(results, (tuple, list)):
        return [part for result in results for part in flat(result)]
    return [] if results is None else [results]


def run(
    package: Any, case: LayerCase, dtype: str = "float64", training: bool = True, backward: bool = True,
    moved: tuple[str, Array] | None = None,
) -> Run:  # fmt: skip
    """Calls the layer and backpropagates a random direction through all outputs.

    moved: the number of an input or the name of a parameter, and what is added to it.
    """
    layer = made(package, case, dtype).train(training)
    package.manual_seed(7)
    inputs = []
    for number, (spec, array) in enumerate(zip(case.inputs, drawn(case), strict=True)):
        if moved is not None and moved[0] == str(number):
            array = array + moved[1]
        floating = array.dtype.kind == "f"
        tensor = package.tensor(np.array(array.astype(dtype) if floating else array, order="C"))
        inputs.append(tensor.requires_grad_() if floating and spec.gradient else tensor)
    if moved is not None and not moved[0].isdigit():
        with package.no_grad():
            dict(layer.named_parameters())[moved[0]].add_(package.tensor(moved[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = flat(case.call(package, layer, *inputs) if case.call else layer(*inputs))
    wanted = [output for output in outputs if output.requires_grad]
    if wanted and backward:
        terms = [
            (o * package.tensor(d.astype(dtype))).sum() for o, d in zip(wanted, directions(case, wanted), strict=True)
        ]
        sum(terms[1:], terms[0]).backward()
    leaves = {str(number): tensor for number, tensor in enumerate(inputs)} | dict(layer.named_parameters())
    gradients = {name: numpy_of(leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None}
    state = {name: numpy_of(tensor) for name, tensor in layer.state_dict().items()}
    return Run(layer, [numpy_of(output) for output in outputs], gradients, state)


def directions(case: LayerCase, outputs: list[Any]) -> list[Array]:
    rng = generator(case, 2)
    return [rng.standard_normal(tuple(o.shape)).astype(np.float32).astype(np.float64) for o in outputs]


def assert_near(found: Run, expected: Run, tolerance: float) -> None:
    assert len(found.outputs) == len(expected.outputs) and list(found.gradients) == list(expected.gradients)
    assert list(found.state) == list(expected.state)
    for a, e in zip(found.outputs, expected.outputs, strict=True):
        assert distance(a, e) <= tolerance
    for name, e in expected.gradients.items():
        assert distance(found.gradients[name], e) <= tolerance, f"gradient of {name}"
    for name, e in expected.state.items():
        assert distance(found.state[name], e) <= tolerance, f"state {name}"


def test_every_layer_has_a_row() -> None:
    assert set(LAYERS) >= ALL - CONTAINERS


@every_layer
def test_pytorch_agrees(case: LayerCase) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not case.torch:
        pytest.skip("PyTorch does not have it")
    training = not case.random
    ours, theirs = run(pycnn, case, training=training), run(torch, case, training=training)
    assert repr(ours.layer) == repr(theirs.layer)
    assert_near(ours, theirs, 1e-7)
    single, reference = (run(package, case, "float32", training) for package in (pycnn, torch))
    for a, e in zip(single.outputs, reference.outputs, strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_allclose(a, e, rtol=1.3e-6, atol=1e-5)


@every_layer
def test_gradient_equals_differences(case: LayerCase) -> None:
    """Along two random directions of each input and parameter."""
    if not case.derivative:
        pytest.skip("defined to be something else")
    whole = run(pycnn, case)
    rng, step = generator(case, 3), 1e-5
    for name, gradient in whole.gradients.items():
        for _ in range(2):
            direction = rng.standard_normal(gradient.shape)
            ends = []
            for sign in (1, -1):
                moved = run(pycnn, case, backward=False, moved=(name, sign * step * direction))
                floating = [o for o in moved.outputs if o.dtype.kind == "f"]
                chosen = directions(case, floating)
                ends.append([float((o * d).sum()) for o, d in zip(floating, chosen, strict=True)])
            slope = sum(a - b for a, b in zip(*ends, strict=True)) / (2 * step)
            along = float((gradient * direction).sum())
            assert abs(slope - along) <= 1e-6 * max(1.0, np.linalg.norm(gradient) * np.linalg.norm(direction)), name


@every_layer
@pytest.mark.parametrize("level", _core.available_levels())
def test_float32_is_near_float64(case: LayerCase, level: str) -> None:
    if case.random:
        pytest.skip("the numbers that are drawn differ")
    _core.set_level(level)
    assert_near(run(pycnn, case, "float32"), run(pycnn, case), 1e-5)


@every_layer
def test_modes_and_threads_have_the_same_bits(case: LayerCase) -> None:
    found = []
    for mode, threads in (("lazy", 2), ("eager", 2), ("lazy", 1), ("lazy", 3)):
        _core.set_mode(mode)
        pycnn.set_num_threads(threads)
        found.append(run(pycnn, case, "float32").bits())
    assert found[1:] == found[:1] * 3


@every_layer
def test_state_survives_files_and_copies(case: LayerCase, tmp_path: Any) -> None:
    layer = made(pycnn, case, "float32")
    path = tmp_path / "state.pt"
    pycnn.save(layer.state_dict(), path)
    other = made(pycnn, case, "float32")
    for tensor in other.state_dict().values():
        with pycnn.no_grad():
            tensor.zero_()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert {k: v.tolist() for k, v in twin.state_dict().items()} == {
            k: v.tolist() for k, v in layer.state_dict().items()
        }
    other.load_state_dict(pycnn.load(path))
    assert {k: v.tolist() for k, v in other.state_dict().items()} == {
        k: v.tolist() for k, v in layer.state_dict().items()
    }
