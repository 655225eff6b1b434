"""Tensors of more than 2³¹ elements on a GPU, of which what lies beyond must be right.

Slow, and skipped where a GPU has too little memory, as the emulated one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import pycnn
from pycnn.nn import functional as F

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not pycnn.cuda.is_available(), reason=pycnn.cuda.unavailable_reason()),
]

#: Elements; no multiple of anything that kernels cut work into.
SIZE = 2**31 + 12_345
GIB = 2**30


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    pycnn.cuda.empty_cache()
    yield
    pycnn.plan.clear_cache()
    pycnn.cuda.empty_cache()


def needs(gibibytes: int) -> None:
    """Skips a test that needs more of the GPU's memory than is free."""
    free, _ = pycnn.cuda.mem_get_info()
    if free < gibibytes * GIB:
        pytest.skip(f"needs {gibibytes} GiB of the GPU's memory, {free / GIB:.1f} are free")


def counted(size: int, period: int = 251) -> pycnn.Tensor:
    """0, 1, …, period - 1, 0, 1, … in uint8: where an element came from shows, as `period` divides no power of 2."""
    repeats = -(-size // period)
    row = pycnn.arange(period, device="cuda").to(pycnn.uint8)
    return row.expand(repeats, period).reshape(-1)[:size]


def expected(places: np.ndarray, period: int = 251) -> np.ndarray:
    return places % period


def ends(size: int) -> np.ndarray:
    """Places at both ends and around each multiple of 2³¹."""
    around = [np.arange(-70, 70) + boundary for boundary in range(0, size + 2**31, 2**31)]
    places = np.concatenate([*around, np.arange(size - 70, size)])
    return np.unique(places[(places >= 0) & (places < size)])


def taken(x: pycnn.Tensor, places: np.ndarray) -> np.ndarray:
    """Elements of a line, copied by slices: what is compared must not depend on the kernel for indexing."""
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    return np.concatenate([x[int(run[0]) : int(run[-1]) + 1].cpu().numpy() for run in runs])


def test_pointwise_and_copies() -> None:
    needs(12)
    places = ends(SIZE)
    x = counted(SIZE)
    np.testing.assert_array_equal(taken(x, places), expected(places))
    shifted = x[1:] ^ x[:-1]
    np.testing.assert_array_equal(
        taken(shifted, places[places < SIZE - 1]),
        expected(places[places < SIZE - 1] + 1) ^ expected(places[places < SIZE - 1]),
    )
    back = pycnn.empty(SIZE, dtype=pycnn.uint8, device="cuda")
    back.copy_(x)
    np.testing.assert_array_equal(taken(back, places), expected(places))


def test_floats_by_groups() -> None:
    needs(30)
    places = ends(SIZE)
    x = counted(SIZE).to(pycnn.float32)
    y = (x * 2 + 1).relu().to(pycnn.bfloat16)
    np.testing.assert_array_equal(
        taken(y.to(pycnn.float32), places),
        pycnn.tensor(2.0 * expected(places) + 1).to(pycnn.bfloat16).to(pycnn.float32).numpy(),
    )


def test_wide_registers() -> None:
    needs(45)
    places = ends(SIZE)
    x = counted(SIZE).to(pycnn.int64)
    np.testing.assert_array_equal(taken(x * 3, places), 3 * expected(places))


def test_transposed() -> None:
    needs(12)
    rows, columns = 3, SIZE // 3
    x = counted(rows * columns).reshape(rows, columns).T.contiguous().reshape(-1)
    places = ends(rows * columns)
    np.testing.assert_array_equal(taken(x, places), expected(places % rows * columns + places // rows))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reductions(dtype: str) -> None:
    needs(30)
    size = SIZE if dtype == "bfloat16" else SIZE // 2 * 2
    kind = getattr(pycnn, dtype)
    x = pycnn.ones(size, dtype=kind, device="cuda")
    assert x.sum(dtype=pycnn.float64).item() == size
    x[-1] = 5
    assert x.max().item() == 5
    assert x.argmax().item() == size - 1
    assert x.reshape(-1, 3 if size % 3 == 0 else 1).sum(0, dtype=pycnn.float64).sum().item() == size + 4


def test_few_sums_of_many_and_many_of_few() -> None:
    needs(12)
    rows, columns = 5, SIZE // 5
    x = pycnn.ones(rows, columns, dtype=pycnn.bfloat16, device="cuda")
    x[rows - 1, columns - 1] = 9
    many = x.to(pycnn.float32).sum(0)
    assert many[:-1].max().item() == many[:-1].min().item() == rows and many[-1].item() == rows + 8
    few = (x == 9).sum(1)
    assert few.tolist() == [0, 0, 0, 0, 1]


def test_concatenation_and_padding() -> None:
    needs(12)
    half = SIZE // 2 + 5
    x = pycnn.cat([counted(half), counted(half)])
    places = ends(2 * half)
    np.testing.assert_array_equal(taken(x, places), expected(places % half))
    padded = F.pad(counted(SIZE), (3, 2), value=255)
    places = ends(SIZE + 5)
    inside = (places >= 3) & (places < SIZE + 3)
    np.testing.assert_array_equal(taken(padded, places), np.where(inside, expected(np.maximum(places - 3, 0)), 255))


def test_indexing() -> None:
    needs(16)
    x = counted(SIZE)
    places = ends(SIZE)
    index = pycnn.tensor(places[::-1].copy(), device="cuda")
    np.testing.assert_array_equal(x[index].cpu().numpy(), expected(places[::-1]))
    rows = counted(SIZE // 1000 * 1000).reshape(-1, 1000)
    last = len(rows) - 1
    np.testing.assert_array_equal(
        rows[pycnn.tensor([last, 0], device="cuda")].cpu().numpy(),
        expected(np.array([[last * 1000], [0]]) + np.arange(1000)),
    )
    x[index] = pycnn.full((len(places),), 252, dtype=pycnn.uint8, device="cuda")
    assert (taken(x, places) == 252).all()
    assert (x == 252).sum().item() == len(places)


def test_scattered_sums() -> None:
    needs(16)
    x = pycnn.zeros(SIZE, dtype=pycnn.bfloat16, device="cuda")
    places = [SIZE - 1, 2**31, 0, SIZE - 1]
    x.index_add_(0, pycnn.tensor(places, device="cuda"), pycnn.ones(4, dtype=pycnn.bfloat16, device="cuda"))
    assert [x[place].item() for place in (0, 2**31 - 1, 2**31, SIZE - 1)] == [1, 0, 1, 2]
    assert x.sum(dtype=pycnn.float64).item() == 4


def test_random_numbers_do_not_repeat() -> None:
    needs(16)
    x = pycnn.rand(SIZE, device="cuda")
    mean = x.mean(dtype=pycnn.float64).item()
    assert abs(mean - 0.5) < 1e-4
    assert not np.array_equal(x[:1000].cpu().numpy(), x[2**31 : 2**31 + 1000].cpu().numpy())
    assert x[-1000:].min().item() >= 0 and x[-1000:].max().item() < 1
    assert len(set(x[-1000:].tolist())) > 990


# Images of more than 2³¹ elements in all, (N, C, H, W), channels last in memory; the last one is computed again alone.
SHAPE = (331, 64, 320, 320)


def images(dtype: pycnn.dtype) -> pycnn.Tensor:
    n, c, h, w = SHAPE
    return pycnn.randn(n, h, w, c, device="cuda").to(dtype).permute(0, 3, 1, 2)


def close(actual: pycnn.Tensor, wanted: pycnn.Tensor, tolerance: float) -> None:
    a, w = (each.detach().to(pycnn.float32).cpu().numpy() for each in (actual, wanted))
    assert np.isfinite(a).all()
    assert np.linalg.norm(a - w) <= tolerance * np.linalg.norm(w)


@pytest.mark.parametrize("groups", [1, 64])
def test_convolutions(groups: int) -> None:
    needs(40)
    assert np.prod(SHAPE) > 2**31
    x = images(pycnn.bfloat16)
    pycnn.eval(x)
    weight = pycnn.randn(64, 64 // groups, 3, 3, device="cuda").to(pycnn.bfloat16)
    y = F.conv2d(x, weight, None, 1, 1, 1, groups)
    pycnn.eval(y)
    for image in (0, 164, 330):
        alone = F.conv2d(x[image : image + 1].clone(), weight, None, 1, 1, 1, groups)
        close(y[image : image + 1], alone, 1e-2)


def test_gradients_of_convolutions() -> None:
    needs(50)
    x, gradient = images(pycnn.bfloat16), images(pycnn.bfloat16)
    weight = pycnn.randn(64, 64, 3, 3, device="cuda").to(pycnn.bfloat16).requires_grad_()
    pycnn.eval(x, gradient, weight)
    leaf = x.detach().requires_grad_()
    (of_input,) = pycnn.autograd.grad(F.conv2d(leaf, weight, None, 1, 1), [leaf], gradient)
    pycnn.eval(of_input)
    one = x[330:].clone().requires_grad_()
    (alone,) = pycnn.autograd.grad(F.conv2d(one, weight, None, 1, 1), [one], gradient[330:].clone())
    close(of_input[330:], alone, 1e-2)
    del of_input
    (of_weight,) = pycnn.autograd.grad(F.conv2d(x, weight, None, 1, 1), [weight], gradient)
    total = pycnn.zeros(64, 64, 3, 3, device="cuda")
    for begin in range(0, SHAPE[0], 83):
        part = slice(begin, begin + 83)
        (few,) = pycnn.autograd.grad(F.conv2d(x[part].clone(), weight, None, 1, 1), [weight], gradient[part].clone())
        total = total + few.to(pycnn.float32)
    close(of_weight, total, 1e-2)


@pytest.mark.parametrize("what", ["max", "average"])
def test_pooling(what: str) -> None:
    needs(40)
    x = images(pycnn.bfloat16)
    pycnn.eval(x)
    pool = F.max_pool2d if what == "max" else F.avg_pool2d
    leaf = x.detach().requires_grad_()
    y = pool(leaf, 2)
    (gradient,) = pycnn.autograd.grad(y, [leaf], pycnn.ones_like(y))
    pycnn.eval(y, gradient)
    one = x[330:].clone().requires_grad_()
    alone = pool(one, 2)
    (gradient_alone,) = pycnn.autograd.grad(alone, [one], pycnn.ones_like(alone))
    close(y[330:], alone, 1e-2)
    close(gradient[330:], gradient_alone, 1e-2)


def test_batch_norm() -> None:
    needs(40)
    x = images(pycnn.bfloat16)
    y = F.batch_norm(x, None, None, None, None, training=True)
    last = x[330:].to(pycnn.float32)
    # Of standard normal numbers: mean 0 and variance 1 to within the few that are in a channel.
    close(y[330:], last, 2e-2)


def test_softmax_and_normalised_rows() -> None:
    needs(30)
    rows, columns = 2_200_001, 1000
    assert rows * columns > 2**31
    x = pycnn.randn(rows, columns, device="cuda")
    y = F.softmax(x, 1)
    close(y[-3:], F.softmax(x[-3:].clone(), 1), 1e-5)
    del y
    y = F.layer_norm(x, (columns,))
    close(y[-3:], F.layer_norm(x[-3:].clone(), (columns,)), 1e-5)


def test_products_of_large_matrices() -> None:
    needs(30)
    rows, depth = 33_554_500, 64
    assert rows * depth > 2**31
    a = pycnn.randn(rows, depth, device="cuda").to(pycnn.bfloat16)
    b = pycnn.randn(depth, depth, device="cuda").to(pycnn.bfloat16)
    c = a @ b
    close(c[-100:], a[-100:].clone() @ b, 1e-2)
    total = pycnn.zeros(depth, 8, device="cuda")
    for begin in range(0, rows, 2**22):
        part = slice(begin, begin + 2**22)
        total = total + (a[part].clone().T @ c[part, :8].clone()).to(pycnn.float32)
    close(a.T @ c[:, :8], total, 1e-2)


def test_scans() -> None:
    needs(45)
    x = pycnn.ones(SIZE, dtype=pycnn.float64, device="cuda")
    total = x.cumsum(0)
    assert total[-1].item() == SIZE and total[2**31].item() == 2**31 + 1
