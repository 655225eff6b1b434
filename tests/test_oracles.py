"""The table of operator_cases.py against NumPy and SciPy, and the hand examples of the lectures and papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from case import Case, distance, run
from operator_cases import CASES
from scipy import linalg, signal

import pycnn
import pycnn.nn.functional as F
from pycnn import datasets, nn


def expected_of(case: Case) -> list[Any]:
    arrays = case.arrays()
    if case.oracle == "same":
        assert not isinstance(case.function, str)
        results = case.function(np, *arrays, **case.keywords)
    elif callable(case.oracle):
        first = [] if isinstance(case.function, str) else [np]
        results = case.oracle(*first, *arrays, **case.keywords)
    elif case.oracle == "binary_cross_entropy_with_logits":
        results = oracles.binary_cross_entropy_with_logits(*arrays[:3], pos_weight=arrays[3], **case.keywords)
    else:
        name = case.function.removeprefix("F.") if isinstance(case.function, str) else case.function.__name__
        results = getattr(oracles, name)(*arrays, **case.keywords)
    return [np.asarray(r) for r in (results if isinstance(results, (tuple, list)) else [results])]


@pytest.mark.parametrize(
    "case", [c for c in CASES if not c.random and c.oracle != "pytorch"], ids=lambda case: case.name
)
def test_operator_equals_numpy(case: Case) -> None:
    found, expected = run(pycnn, case, gradients=False).outputs, expected_of(case)
    assert len(found) == len(expected)
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype.kind == wanted.dtype.kind
        if wanted.dtype.kind == "f":
            assert distance(actual, wanted) <= (1e-13 if wanted.dtype == np.float64 else 1e-7)
        else:
            np.testing.assert_array_equal(actual, wanted)


def double(values: Any) -> pycnn.Tensor:
    return pycnn.tensor(values, dtype=pycnn.float64)


def correlate(image: Any, kernel: Any, **keywords: Any) -> Any:
    """conv2d of one image and one kernel given as rows."""
    return F.conv2d(double(image)[None, None], double(kernel)[None, None], **keywords)[0, 0].numpy()


def rows(text: str) -> list[list[float]]:
    """ "1 2 / 3 4" or "110 011": rows of numbers, or of binary digits."""
    if "/" in text:
        return [[float(x) for x in row.split()] for row in text.split("/")]
    return [[float(x) for x in row] for row in text.split()]


# -- convolution arithmetic ------------------------------------------------------------------------------------------


def test_one_dimensional_convolution_flips_the_kernel() -> None:
    """Lecture example: 5 9 2 6 7 9 8 with 1 0 -1."""
    x, w = double([5, 9, 2, 6, 7, 9, 8])[None, None], double([1, 0, -1])[None, None]
    assert F.conv1d(x, w).flatten().tolist() == [3, 3, -5, -3, -1]
    assert F.conv1d(x, pycnn.flip(w, (2,))).flatten().tolist() == [-3, -3, 5, 3, 1]


def test_example_of_dumoulin_and_visin() -> None:
    """Dumoulin & Visin 2016, figure 1.1."""
    image = rows("3 3 2 1 0 / 0 0 1 3 1 / 3 1 2 2 3 / 2 0 0 2 2 / 2 0 0 0 1")
    found = correlate(image, rows("0 1 2 / 2 2 0 / 0 1 2"))
    assert found.tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_binary_image() -> None:
    """Lecture example: 5×5 binary image, diagonal cross."""
    found = correlate(rows("11100 01110 00111 00110 01100"), rows("101 010 101"))
    assert found.tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


SZELISKI = """45 60 98 127 132 133 137 133 / 46 65 98 123 126 128 131 133 / 47 65 96 115 119 123 135 137 /
47 63 91 107 113 122 138 134 / 50 59 80 97 110 123 133 134 / 49 53 68 83 97 113 128 133 /
50 50 58 70 84 102 116 126 / 50 50 52 58 69 86 101 120"""


def test_smoothing_kernel_of_szeliski() -> None:
    """Szeliski, Computer Vision, figure 3.10; the kernel is 0.1 everywhere and 0.2 in the middle."""
    found = correlate(rows(SZELISKI), rows("0.1 0.1 0.1 / 0.1 0.2 0.1 / 0.1 0.1 0.1"))
    np.testing.assert_allclose(found[0], [68.5, 94.5, 115.7, 125.2, 129.2, 132.1], atol=1e-9)
    np.testing.assert_allclose(found[-1], [53.0, 60.0, 70.9, 84.6, 99.8, 114.1], atol=1e-9)


@pytest.mark.parametrize("kernel", ["box", "gaussian", "sharpen"])
def test_fixed_kernels_equal_scipy(kernel: str) -> None:
    """Box 1/9, Gaussian exp(-(x²+y²)/2σ²)/(2πσ²), sharpen 2δ - box."""
    y, x = np.mgrid[-1:2, -1:2]
    delta, box = (x == 0) & (y == 0), np.full((3, 3), 1 / 9)
    weights = {"box": box, "gaussian": np.exp(-(x**2 + y**2) / 2) / (2 * np.pi), "sharpen": 2 * delta - box}[kernel]
    found = correlate(rows(SZELISKI), weights, padding="same")
    np.testing.assert_allclose(found, signal.correlate(np.array(rows(SZELISKI)), weights, "same", "direct"), rtol=1e-13)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [(7, 3, 1, 0, 5), (7, 3, 2, 0, 3), (7, 3, 3, 0, 2), (7, 3, 1, 1, 7), (32, 5, 1, 0, 28), (28, 5, 1, 0, 24)],
)
def test_output_size(size: int, kernel: int, stride: int, padding: int, expected: int) -> None:
    """(N - F + 2P) / S + 1, rounded down (CS231n)."""
    found = F.conv2d(pycnn.zeros(1, 3, size, size), pycnn.zeros(2, 3, kernel, kernel), stride=stride, padding=padding)
    assert tuple(found.shape) == (1, 2, expected, expected)


def test_average_pooling_is_a_convolution() -> None:
    """With constant weights 1/k² per channel and no bias; exact here, since all numbers are small integers over 4."""
    x = pycnn.randint(-8, 9, (2, 3, 6, 6)).double()
    weight = pycnn.full((3, 1, 2, 2), 0.25, dtype=pycnn.float64)
    assert pycnn.equal(F.avg_pool2d(x, 2), F.conv2d(x, weight, stride=2, groups=3))


def test_convolution_is_a_toeplitz_matrix() -> None:
    """The kernel's Toeplitz matrix times the signal."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(9), rng.standard_normal(4)
    matrix = linalg.toeplitz(np.r_[w[0], np.zeros(5)], np.r_[w, np.zeros(5)])
    found = F.conv1d(double(x)[None, None], double(w)[None, None]).flatten().numpy()
    np.testing.assert_allclose(found, matrix @ x, rtol=1e-13)


@pytest.mark.parametrize("shift", [(1, 0), (0, 2), (3, 1)])
def test_convolution_is_shift_equivariant(shift: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((1, 2, 12, 12))
    image[:, :, 4:8, 4:8] = rng.standard_normal((1, 2, 4, 4))
    weight = double(rng.standard_normal((3, 2, 3, 3)))
    found = F.conv2d(double(np.roll(image, shift, (2, 3))), weight, padding=1).numpy()
    assert np.array_equal(found, np.roll(F.conv2d(double(image), weight, padding=1).numpy(), shift, (2, 3)))


def test_transposed_convolution_is_the_adjoint() -> None:
    """<conv(x), y> = <x, conv_transpose(y)> with the same weight (Dumoulin & Visin 2016, section 4)."""
    rng = np.random.default_rng(0)
    x, w = double(rng.standard_normal((2, 3, 7, 9))), double(rng.standard_normal((4, 3, 3, 3)))
    forward = F.conv2d(x, w, stride=2, padding=1)
    y = double(rng.standard_normal(tuple(forward.shape)))
    back = F.conv_transpose2d(y, w, stride=2, padding=1)
    assert (forward * y).sum().item() == pytest.approx((x * back).sum().item(), rel=1e-12)


# -- parameters ------------------------------------------------------------------------------------------------------


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def lenet5() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def test_lenet5_has_61706_parameters() -> None:
    """LeCun et al. 1998 with every C3 map connected."""
    assert parameters(lenet5()) == 61706
    assert tuple(lenet5()(pycnn.zeros(2, 1, 32, 32)).shape) == (2, 10)


def test_filters_of_the_lecture() -> None:
    """CS231n: one 5×5×3 filter has 76 parameters, ten have 760."""
    assert (parameters(nn.Conv2d(3, 1, 5)), parameters(nn.Conv2d(3, 10, 5))) == (76, 760)


def test_keras_example() -> None:
    """Input 64×64×3; three (convolution 3×3, ReLU, pooling) blocks with 16, 32, 48 filters; 3 classes."""
    layers: list[nn.Module] = []
    for before, after in [(3, 16), (16, 32), (32, 48)]:
        layers += [nn.Conv2d(before, after, 3), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1728, 3))
    assert [parameters(m) for m in net if parameters(m)] == [448, 4640, 13872, 5187]
    assert parameters(net) == 24147
    x, sizes = pycnn.zeros(1, 3, 64, 64), []
    for layer in net:
        x = layer(x)
        sizes.append(x.shape[-1])
    assert sizes == [62, 62, 31, 29, 29, 14, 12, 12, 6, 1728, 3]


# -- behaviour -------------------------------------------------------------------------------------------------------


def test_softmax_gradient_is_prediction_minus_truth() -> None:
    logits = pycnn.randn(5, 4, dtype=pycnn.float64, requires_grad=True)
    labels = pycnn.tensor([0, 3, 1, 1, 2])
    F.cross_entropy(logits, labels, reduction="sum").backward()
    expected = oracles.softmax(logits.detach().numpy(), 1) - np.eye(4)[labels.numpy()]
    np.testing.assert_allclose(logits.grad.numpy(), expected, atol=1e-14)


def test_logistic_regression_gradient() -> None:
    """Prediction error times feature."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.integers(0, 2, 6).astype(float)
    w = pycnn.randn(3, dtype=pycnn.float64, requires_grad=True)
    F.binary_cross_entropy_with_logits(double(x) @ w, double(y), reduction="sum").backward()
    error = 1 / (1 + np.exp(-x @ w.detach().numpy())) - y
    np.testing.assert_allclose(w.grad.numpy(), error @ x, rtol=1e-13)


def test_momentum_of_the_lecture() -> None:
    """Δw = μ Δw_previous + η ∇L; w -= Δw. With constant η this is PyTorch's velocity form."""
    w = pycnn.tensor([1.0, -2.0], dtype=pycnn.float64, requires_grad=True)
    optimizer = pycnn.optim.SGD([w], lr=0.1, momentum=0.9)
    expected, delta = np.array([1.0, -2.0]), np.zeros(2)
    for _ in range(5):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
        delta = 0.9 * delta + 0.1 * 2 * expected
        expected = expected - delta
    np.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-13)


def test_a_step_descends() -> None:
    """One lecture prints θ + λ∇L; that is ascent."""
    w = pycnn.tensor([3.0], requires_grad=True)
    (w * w).sum().backward()
    pycnn.optim.SGD([w], lr=0.1).step()
    assert w.item() == pytest.approx(2.4)


def test_small_steps_along_the_sign_of_the_gradient_mislead() -> None:
    """The fast gradient sign method, Goodfellow et al. 2015: x + eps sign(dJ/dx), on the digits of the package."""
    data = datasets.digits()
    images = pycnn.tensor((data.train_images / data.maximum).astype(np.float32)).unsqueeze(1)
    labels = pycnn.tensor(data.train_labels.astype(np.int64))
    pycnn.manual_seed(0)
    net = pycnn.models.softmax_classifier(size=8)
    optimizer = pycnn.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    x = pycnn.tensor((data.test_images / data.maximum).astype(np.float32)).unsqueeze(1).requires_grad_()
    y = pycnn.tensor(data.test_labels.astype(np.int64))
    F.cross_entropy(net(x), y).backward()
    assert x.grad is not None
    steps = {"along": x.grad.sign(), "random": pycnn.randn(*x.shape).sign()}
    shares = {
        name: (net((x + 0.15 * step).clamp(0, 1)).argmax(1) == y).float().mean().item() for name, step in steps.items()
    }
    clean = (net(x).argmax(1) == y).float().mean().item()
    assert clean > 0.92 and shares["random"] > clean - 0.05 and shares["along"] < clean - 0.5


def test_glorot_uniform_bound() -> None:
    """Glorot & Bengio 2010: Uniform(-r, r), r = sqrt(6 / (fan_in + fan_out)); a gain of 4 for the sigmoid."""
    for gain in (1.0, 4.0):
        weight = nn.init.xavier_uniform_(pycnn.empty(200, 100), gain=gain).numpy()
        bound = gain * np.sqrt(6 / 300)
        assert np.abs(weight).max() <= bound
        assert np.abs(weight).max() > 0.99 * bound
        assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    kernel = nn.init.xavier_uniform_(pycnn.empty(20, 10, 5, 5)).numpy()
    assert np.abs(kernel).max() <= np.sqrt(6 / (250 + 500))


def test_default_initialisation_has_pytorchs_bound() -> None:
    """kaiming_uniform with a = sqrt(5): Uniform(-1/sqrt(fan_in), 1/sqrt(fan_in)), weights and biases."""
    for layer, fan_in in [(nn.Linear(64, 300), 64), (nn.Conv2d(16, 80, 3), 144)]:
        for parameter in layer.parameters():
            values = np.abs(parameter.detach().numpy())
            assert values.max() <= 1 / np.sqrt(fan_in)
            assert values.max() > 0.9 / np.sqrt(fan_in)


def test_residual_block_passes_the_gradient() -> None:
    """He et al. 2016: y = x + F(x); beside F's part the gradient reaches x unchanged."""
    x = pycnn.randn(1, 2, 4, 4, dtype=pycnn.float64, requires_grad=True)
    zero = pycnn.zeros(2, 2, 3, 3, dtype=pycnn.float64)
    direction = pycnn.randn(1, 2, 4, 4, dtype=pycnn.float64)
    (x + F.conv2d(x, zero, padding=1)).backward(direction)
    assert pycnn.equal(x.grad, direction)


def test_cumulative_batch_norm() -> None:
    """momentum=None keeps the plain average of all batches (PyTorch)."""
    norm = nn.BatchNorm2d(2, momentum=None).double()
    batches = [np.random.default_rng(i).standard_normal((3, 2, 4, 4)) + i for i in range(3)]
    for batch in batches:
        norm(double(batch))
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean([b.mean((0, 2, 3)) for b in batches], 0), rtol=1e-12)
    np.testing.assert_allclose(
        norm.running_var.numpy(), np.mean([b.var((0, 2, 3), ddof=1) for b in batches], 0), rtol=1e-12
    )
    assert norm.num_batches_tracked.item() == 3


def test_max_pooling_ignores_small_shifts_and_takes_the_first_of_equals() -> None:
    image = np.zeros((1, 1, 4, 4))
    image[0, 0, 0, 0] = 1
    shifted = np.roll(image, (1, 1), (2, 3))
    assert pycnn.equal(F.max_pool2d(double(image), 2), F.max_pool2d(double(shifted), 2))
    _, indices = F.max_pool2d(pycnn.zeros(1, 1, 4, 4), 2, return_indices=True)
    assert indices.flatten().tolist() == [0, 2, 8, 10]


def test_normalisation_survives_a_large_mean() -> None:
    """E[x²] - E[x]² would lose everything here: mean 1e4, deviation 1e-2, float32."""
    x = (1e4 + 1e-2 * np.random.default_rng(0).standard_normal((8, 2, 16, 16))).astype(np.float32)
    found = pycnn.tensor(x).var(dim=(0, 2, 3), correction=0).numpy()
    np.testing.assert_allclose(found, x.astype(np.float64).var((0, 2, 3)), rtol=1e-5)
    norm = F.batch_norm(pycnn.tensor(x), None, None, training=True, eps=1e-12).numpy()
    np.testing.assert_allclose(norm.astype(np.float64).std((0, 2, 3)), 1, rtol=1e-3)


def test_softmax_of_large_numbers() -> None:
    x = pycnn.tensor([[1000.0, 1001.0, -1000.0]])
    np.testing.assert_allclose(F.softmax(x, 1).numpy(), [[0.26894143, 0.7310586, 0]], rtol=1e-6)
    assert np.isfinite(F.cross_entropy(x, pycnn.tensor([2])).item())
