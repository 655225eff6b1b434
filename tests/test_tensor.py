"""Tensors: making them, casting, handing them to NumPy and DLPack and back, changing them in place, printing."""

from __future__ import annotations

import copy
import gc
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pycnn

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
NUMPY_DTYPES = [d for d in DTYPES if d != "bfloat16"]


def dtype(name: str) -> Any:
    return getattr(pycnn, name)


# -- creation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_creation(name: str) -> None:
    d = dtype(name)
    for made, value in [
        (pycnn.zeros(2, 3, dtype=d), 0),
        (pycnn.ones((2, 3), dtype=d), 1),
        (pycnn.full((2, 3), 1, dtype=d), 1),
        (pycnn.empty(2, 3, dtype=d).fill_(1), 1),
        (pycnn.zeros_like(pycnn.ones(2, 3, dtype=d)), 0),
        (pycnn.ones_like(pycnn.zeros(2, 3, dtype=d)), 1),
        (pycnn.full_like(pycnn.zeros(2, 3, dtype=d), 1), 1),
    ]:
        assert made.dtype == d
        assert tuple(made.shape) == (2, 3)
        assert made.numel() == 6
        assert made.dim() == made.ndim == 2
        assert made.double().tolist() == [[value] * 3] * 2


def test_ranges() -> None:
    assert pycnn.arange(5).dtype == pycnn.int64
    assert pycnn.arange(5).tolist() == [0, 1, 2, 3, 4]
    assert pycnn.arange(2, 9, 3).tolist() == [2, 5, 8]
    assert pycnn.arange(0, 1, 0.25).dtype == pycnn.float32
    assert pycnn.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert pycnn.arange(3, -3, -2).tolist() == [3, 1, -1]
    assert pycnn.linspace(0, 1, 5, dtype=pycnn.float64).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert pycnn.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(1, "int64"), (1.5, "float32"), (True, "bool"), ([1, 2], "int64"), ([1, 2.0], "float32"), ([True, False], "bool"),
     ([[1.0], [2.0]], "float32"), ([], "float32")],
)  # fmt: skip
def test_inference_of_the_dtype(data: Any, expected: str) -> None:
    made = pycnn.tensor(data)
    assert made.dtype == dtype(expected)
    assert made.tolist() == data
    assert tuple(made.shape) == np.shape(data)


def test_default_dtype() -> None:
    pycnn.set_default_dtype(pycnn.float64)
    assert pycnn.get_default_dtype() == pycnn.float64
    assert pycnn.zeros(1).dtype == pycnn.tensor(0.5).dtype == pycnn.rand(2).dtype == pycnn.float64
    assert (pycnn.arange(3) / 2).dtype == pycnn.float64


def test_scalars_and_empty_tensors() -> None:
    scalar = pycnn.tensor(2.5)
    assert (tuple(scalar.shape), scalar.item(), float(scalar), int(scalar), bool(scalar)) == ((), 2.5, 2.5, 2, True)
    empty = pycnn.zeros(0, 3)
    assert (empty.numel(), len(empty), empty.tolist()) == (0, 0, [])
    assert tuple((empty + 1).sum(0).shape) == (3,)
    assert pycnn.zeros(2, 0).tolist() == [[], []]
    assert empty.sum().item() == 0
    assert empty.prod().item() == 1
    assert np.isnan(empty.mean().item())
    assert pycnn.cat([empty, pycnn.ones(1, 3)]).shape == (1, 3)


def test_item_and_truth_need_one_element() -> None:
    assert pycnn.tensor([[3]]).item() == 3
    assert isinstance(pycnn.tensor(3).item(), int)
    assert isinstance(pycnn.tensor(True).item(), bool)
    assert [1, 2, 3][pycnn.tensor(1)] == 2
    with pytest.raises(RuntimeError):
        pycnn.zeros(2).item()
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(pycnn.zeros(2))


def test_iteration_and_containers() -> None:
    x = pycnn.arange(6).view(2, 3)
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    assert len(x) == 2
    assert x.size() == x.shape == (2, 3)
    assert x.size(-1) == 3
    assert len({x, x}) == 1
    with pytest.raises(TypeError):
        len(pycnn.tensor(1))


# -- casts -----------------------------------------------------------------------------------------------------------


def bfloat16_of(values: np.ndarray) -> np.ndarray:
    """Rounds float32 to the nearest bfloat16, ties to even, in integers."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return np.where(np.isnan(values), np.float32(np.nan), rounded.astype(np.uint32).view(np.float32))


def hard_floats() -> np.ndarray:
    """Ties, subnormals, overflow, signed zeros, infinities and a sweep over all exponents."""
    rng = np.random.default_rng(0)
    special = [0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 65504, 65519.99, 65520, 1e30,
               3.4e38, np.inf, -np.inf, np.nan, 6e-8, 2.9e-8, 2**-24, 2**-25, 2**-14, 1e-40, 1e-45]  # fmt: skip
    sweep = rng.integers(0, 2**32, 4000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([np.float32(special), -np.float32(special), sweep])


def test_bfloat16_rounds_to_nearest_even() -> None:
    x = hard_floats()
    cast = pycnn.tensor(x).to(pycnn.bfloat16)
    assert cast.dtype == pycnn.bfloat16
    np.testing.assert_array_equal(cast.float().numpy(), bfloat16_of(x))


def test_float16_rounds_as_numpy() -> None:
    x = hard_floats()
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    np.testing.assert_array_equal(pycnn.tensor(x).half().numpy(), expected)
    np.testing.assert_array_equal(pycnn.tensor(expected).float().numpy(), expected.astype(np.float32))


def test_float64_to_16_bits_rounds_as_pytorch() -> None:
    """PyTorch converts through float32; so twice-rounded ties are part of the meaning."""
    x = np.array([1 + 2**-8 + 2**-30, 1 - 2**-9 - 2**-40, 3.0, 1e-3])
    np.testing.assert_array_equal(pycnn.tensor(x).bfloat16().double().numpy(), bfloat16_of(x.astype(np.float32)))


@pytest.mark.parametrize(("source", "target"), itertools.product(DTYPES, DTYPES))
def test_casts_of_small_integers_are_exact(source: str, target: str) -> None:
    x = pycnn.tensor([0, 1, 5, 100], dtype=dtype(source))
    expected = [0, 1, 1, 1] if "bool" in (source, target) else [0, 1, 5, 100]
    assert x.to(dtype(target)).dtype == dtype(target)
    assert x.to(dtype(target)).long().tolist() == expected


def test_casts_truncate_and_wrap() -> None:
    assert pycnn.tensor([1.9, -1.9]).long().tolist() == [1, -1]
    assert pycnn.tensor([300, -1]).to(pycnn.uint8).tolist() == [44, 255]
    assert pycnn.tensor([200]).to(pycnn.int8).tolist() == [-56]
    assert pycnn.tensor([0.0, 0.1, float("nan")]).bool().tolist() == [False, True, True]
    big = 2**53 + 1
    assert pycnn.tensor([big]).item() == big
    assert (pycnn.tensor([big]) + 1).item() == big + 1
    assert pycnn.tensor([2**62, -(2**62)]).sum().item() == 0


def test_bfloat16_rounds_at_every_operator() -> None:
    """Fused or not: (x + y) is rounded before it is multiplied."""
    rng = np.random.default_rng(0)
    a, b, c = (bfloat16_of(rng.standard_normal(200).astype(np.float32)) for _ in range(3))
    x, y, z = (pycnn.tensor(v).bfloat16() for v in (a, b, c))
    expected = bfloat16_of(bfloat16_of(a + b) * c)
    np.testing.assert_array_equal(((x + y) * z).float().numpy(), expected)


PROMOTIONS = [  # Python numbers count by their kind only
    ("int64", 1, "int64"), ("int8", 300, "int8"), ("int64", 1.0, "float32"), ("float64", 1, "float64"),
    ("float16", 1.0, "float16"), ("bool", 1, "int64"), ("bool", True, "bool"), ("uint8", True, "uint8"),
    ("bfloat16", 2.5, "bfloat16"), ("bool", 1.0, "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "number", "expected"), PROMOTIONS)
def test_promotion_with_numbers(name: str, number: Any, expected: str) -> None:
    x = pycnn.ones(2, dtype=dtype(name))
    assert (x * number).dtype == (number * x).dtype == dtype(expected)


@pytest.mark.parametrize(("a", "b"), itertools.combinations_with_replacement(DTYPES, 2))
def test_promotion_is_pytorchs(a: str, b: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def outcomes(p: Any) -> list[str]:
        da, db = getattr(p, a), getattr(p, b)
        full, scalar = p.ones(2, dtype=da), p.ones((), dtype=db)
        results = [
            full + p.ones(2, dtype=db),
            full * scalar,
            scalar * full,
            full / scalar,
            p.ones((), dtype=da) + scalar,
        ]
        return [str(r.dtype).rpartition(".")[2] for r in results] + [str(p.promote_types(da, db)).rpartition(".")[2]]

    assert outcomes(pycnn) == outcomes(torch)


# -- NumPy and DLPack ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_numpy_both_ways(name: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(name)
    for made in (pycnn.tensor(array), pycnn.from_numpy(array), pycnn.as_tensor(array)):
        assert made.dtype == dtype(name)
        back = made.numpy()
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


def test_numpy_out_is_not_a_copy() -> None:
    x = pycnn.arange(12).view(3, 4) * 1
    first, second = x.numpy(), x.numpy()
    assert np.shares_memory(first, second)
    assert np.shares_memory(np.asarray(x), first)


def test_numpy_out_outlives_the_tensor() -> None:
    array = (pycnn.arange(1000) * 2).numpy()
    gc.collect()
    for _ in range(5):
        (pycnn.zeros(1000) + 1).sum().item()
    assert array.tolist() == list(range(0, 2000, 2))


def test_strided_and_negative_numpy_input() -> None:
    base = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    for view in (
        base[::-1],
        base[:, ::2, ::-2],
        base.transpose(2, 0, 1),
        base[..., 1:3],
        np.broadcast_to(base[0, 0], (2, 5)),
    ):
        np.testing.assert_array_equal(pycnn.tensor(view.copy()).numpy(), view)
        np.testing.assert_array_equal((pycnn.tensor(np.array(view)) + 0).numpy(), view)


def test_foreign_byte_order_and_dtypes() -> None:
    with pytest.raises((TypeError, ValueError)):
        pycnn.from_numpy(np.array(["a"]))
    with pytest.raises((TypeError, ValueError)):
        pycnn.from_numpy(np.array([1 + 2j]).astype("complex128").astype(object))


def test_tensor_copies_numpy_memory() -> None:
    array = np.zeros(4, np.float32)
    x = pycnn.tensor(array)
    array[:] = 5
    assert x.tolist() == [0, 0, 0, 0]


def test_numpy_needs_a_tensor_without_gradient() -> None:
    with pytest.raises(RuntimeError, match="detach"):
        pycnn.ones(2, requires_grad=True).numpy()


def test_dlpack_out_and_in() -> None:
    x = pycnn.arange(6, dtype=pycnn.float32).view(2, 3) * 1
    array = np.from_dlpack(x)
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    assert np.shares_memory(array, x.numpy())
    assert pycnn.from_dlpack(np.arange(6.0)).tolist() == [0, 1, 2, 3, 4, 5]
    transposed = np.from_dlpack(x.t())
    np.testing.assert_array_equal(transposed, [[0, 3], [1, 4], [2, 5]])


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = pycnn.randn(3, 4)
    theirs = torch.from_dlpack(x)
    assert theirs.shape == (3, 4)
    np.testing.assert_array_equal(theirs.numpy(), x.numpy())
    np.testing.assert_array_equal(pycnn.from_dlpack(torch.arange(5)).numpy(), np.arange(5))
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert pycnn.from_dlpack(half).dtype == pycnn.bfloat16
    assert pycnn.from_dlpack(half).float().tolist() == [1.5, -2.0]


# -- in place and through views --------------------------------------------------------------------------------------


def test_arithmetic_in_place_keeps_the_handle() -> None:
    x = pycnn.ones(3)
    alias = x
    x += 1
    x *= 3
    x -= pycnn.tensor([1.0, 2.0, 3.0])
    x /= 2
    assert alias is x
    assert alias.tolist() == [2.5, 2.0, 1.5]
    assert x.add_(1).sub_(1).mul_(2).div_(2).neg_().abs_().tolist() == [2.5, 2.0, 1.5]
    assert x.zero_().tolist() == [0, 0, 0]
    assert x.fill_(7).tolist() == [7, 7, 7]
    assert x.copy_(pycnn.arange(3)).tolist() == [0, 1, 2]
    assert x.dtype == pycnn.float32
    assert x.clamp_(max=1).tolist() == [0, 1, 1]


def test_in_place_does_not_promote() -> None:
    x = pycnn.ones(2, dtype=pycnn.int64)
    with pytest.raises(RuntimeError, match="[Ff]loat"):
        x += 0.5
    with pytest.raises(RuntimeError):
        x += pycnn.ones(3, 2)
    y = pycnn.ones(2)
    y += pycnn.ones(2, dtype=pycnn.float64)
    assert y.dtype == pycnn.float32


ASSIGNMENTS: dict[str, Any] = {
    "x[0] = 5": lambda x, a: x.__setitem__(0, 5),
    "x[-1, 2] = 1": lambda x, a: x.__setitem__((-1, 2), 1),
    "x[1:, ::2] = array": lambda x, a: x.__setitem__((slice(1, None), slice(None, None, 2)), a(np.full((2, 2), 9.0))),
    "x[...] = row": lambda x, a: x.__setitem__(Ellipsis, a(np.arange(4.0))),
    "x[:, None] = 3": lambda x, a: x.__setitem__((slice(None), None), 3),
    "x[x > 4] = 0": lambda x, a: x.__setitem__(x > 4, 0),
    "x[[0, 2]] = 8": lambda x, a: x.__setitem__([0, 2], 8),
    "x[0] += 1": lambda x, a: x.__setitem__(0, x[0] + 1),
    "x[:, 1] *= 2": lambda x, a: x.__setitem__((slice(None), 1), x[:, 1] * 2),
}


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignment_equals_numpy(name: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    x = pycnn.tensor(array)
    ASSIGNMENTS[name](x, pycnn.tensor)
    ASSIGNMENTS[name](array, np.asarray)
    np.testing.assert_array_equal(x.numpy(), array)


def test_writes_through_views_reach_the_base() -> None:
    base = pycnn.zeros(2, 3, 4)
    array = np.zeros((2, 3, 4), np.float32)
    base.view(-1)[5] = 1
    array.reshape(-1)[5] = 1
    base[1].fill_(2)
    array[1] = 2
    base[0].t()[1:3] += 10
    array[0].T[1:3] += 10
    base.permute(2, 0, 1)[3, 1] = pycnn.tensor([7.0, 8.0, 9.0])
    array.transpose(2, 0, 1)[3, 1] = [7, 8, 9]
    base.unsqueeze(0)[0, 0, 0, 0] = -1
    array[0, 0, 0] = -1
    base[:, 1, ::2].mul_(-3)
    array[:, 1, ::2] *= -3
    base.transpose(1, 2)[0][2].zero_()
    array.swapaxes(1, 2)[0][2] = 0
    base.flatten(1)[1, -1] = 0.5
    array.reshape(2, -1)[1, -1] = 0.5
    base.narrow(1, 0, 1).select(2, 1).copy_(pycnn.tensor([[4.0], [6.0]]))
    array[:, 0:1, 1] = [[4], [6]]
    np.testing.assert_array_equal(base.numpy(), array)


def test_views_see_writes_to_their_base_and_to_each_other() -> None:
    base = pycnn.zeros(4)
    left, right, whole = base[:2], base[2:], base.view(2, 2)
    base[1] = 1
    assert left.tolist() == [0, 1]
    left += 10
    assert (base.tolist(), whole.tolist()) == ([10, 11, 0, 0], [[10, 11], [0, 0]])
    whole[1, 0] = 5
    assert (right.tolist(), base.tolist()) == ([5, 0], [10, 11, 5, 0])
    for piece, value in zip(base.chunk(2), (1, 2), strict=True):
        piece.fill_(value)
    assert (base.tolist(), left.tolist()) == ([1, 1, 2, 2], [1, 1])


def test_copies_are_not_views() -> None:
    base = pycnn.zeros(4)
    for copied in (base.clone(), base * 1, base.to(pycnn.float64), base[[0, 1]], base.repeat(2), copy.deepcopy(base)):
        copied.fill_(3)
    assert base.tolist() == [0, 0, 0, 0]
    same = base.detach()
    same[0] = 4
    assert base.tolist() == [4, 0, 0, 0]


def test_parameters_change_through_data_and_no_grad() -> None:
    bias = pycnn.zeros(6, requires_grad=True)
    bias.data[2:4].fill_(1)
    assert bias.tolist() == [0, 0, 1, 1, 0, 0]
    with pycnn.no_grad():
        bias[0] = 5
        bias.view(2, 3)[1, 2] -= 2
    assert bias.tolist() == [5, 0, 1, 1, 0, -2]
    assert bias.is_leaf
    assert bias.requires_grad
    bias.data = pycnn.ones(6)
    assert bias.tolist() == [1] * 6


def test_sizes_past_all_memory_neither_overflow_nor_run() -> None:
    x = pycnn.arange(4.0)
    assert x[:: 2**63 - 1].tolist() == [0]
    assert x[1 :: 2**63 - 1].tolist() == [1]
    with pytest.raises(RuntimeError, match="exceeds dimension size"):
        x.narrow(0, 1, 2**63 - 1)
    for shape in ((2**61,), (2**30, 2**31), (2**58,)):
        with pytest.raises(RuntimeError, match="out of memory"):
            pycnn.empty(shape, dtype=pycnn.float64).numpy()


def test_what_cannot_be_written_back_raises() -> None:
    with pytest.raises((RuntimeError, IndexError)):
        pycnn.zeros(3)[5] = 1
    with pytest.raises(RuntimeError):
        pycnn.zeros(3)[:2] = pycnn.ones(3)


def _expanded(held: list[Any]) -> Any:
    held.append(pycnn.zeros(3))
    return held[-1].expand(2, 3)


OVERLAPPING_WRITES: dict[str, Callable[[Any], Any]] = {
    "add_": lambda t: t.add_(1),
    "augmented": lambda t: t.__imul__(2),
    "copy_": lambda t: t.copy_(pycnn.ones(2, 3)),
    "normal_": lambda t: t.normal_(),
    "scatter_": lambda t: t.scatter_(0, pycnn.zeros(1, 3, dtype=pycnn.int64), 1.0),
    "view": lambda t: t.t().add_(1),
    "detached": lambda t: t.detach().add_(1),
    "data": lambda t: t.data.sub_(1),
    "slice": lambda t: t[:, 1:].mul_(2),
    "item": lambda t: t.__setitem__((slice(None), 0), 5),
    "all": lambda t: t.__setitem__(..., pycnn.ones(2, 3)),
    "mask": lambda t: t.__setitem__(t == 0, 1),
    "indices": lambda t: t.__setitem__([0, 1], 1),
}


@pytest.mark.parametrize("name", OVERLAPPING_WRITES)
@pytest.mark.parametrize("base_is_held", [True, False])
def test_elements_that_share_a_place_cannot_be_changed_one_by_one(name: str, base_is_held: bool) -> None:
    held: list[Any] = []
    t = _expanded(held)
    if not base_is_held:
        held.clear()
    with pytest.raises(RuntimeError, match="unsupported operation: more than one element of the written-to tensor"):
        OVERLAPPING_WRITES[name](t)
    assert t.tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("base_is_held", [True, False])
def test_an_expanded_tensor_changes_where_that_is_unambiguous(base_is_held: bool) -> None:
    held: list[Any] = []
    t = _expanded(held)
    if not base_is_held:
        held.clear()
    t[1] = pycnn.tensor([1.0, 2.0, 3.0])
    assert t.tolist() == [[1, 2, 3]] * 2
    t[:1] += 1
    assert t.tolist() == [[2, 3, 4]] * 2
    t[0, 2] = 7
    assert t.tolist() == [[2, 3, 7]] * 2
    assert not held or held[0].tolist() == [2, 3, 7]
    t.fill_(4)
    assert t.tolist() == [[4, 4, 4]] * 2
    t[:, 1].zero_()
    assert t.tolist() == [[4, 0, 4]] * 2
    assert not held or held[0].tolist() == [4, 0, 4]
    with pytest.raises(RuntimeError, match="unsupported operation"):
        t.add_(1)
    assert t.clone().add_(1).tolist() == [[5, 1, 5]] * 2
    one = pycnn.zeros(1)
    one.expand(0).add_(1)
    one.expand(1, 1).add_(2)
    assert one.tolist() == [2]


def test_gradient_of_a_change_through_an_expanded_tensor() -> None:
    value = pycnn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    t = pycnn.zeros(3).expand(2, 3)
    t[0] = value * 2
    (t * pycnn.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])).sum().backward()
    assert value.grad.tolist() == [4, 6, 8]


def test_a_reshape_that_copies_in_pytorch_raises_as_a_view() -> None:
    x = pycnn.arange(6).view(2, 3).t()
    with pytest.raises(RuntimeError, match="view"):
        x.view(6)
    assert x.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]


# -- printing, comparing, copying ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: pycnn.tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: pycnn.tensor([[1, 2], [3, 40]]), "tensor([[ 1,  2],\n        [ 3, 40]])"),
        (lambda: pycnn.tensor(3.0), "tensor(3.)"),
        (lambda: pycnn.tensor([True, False]), "tensor([ True, False])"),
        (lambda: pycnn.tensor([1.0], dtype=pycnn.float64), "dtype="),
        (lambda: pycnn.ones(2, requires_grad=True), "requires_grad=True"),
        (lambda: pycnn.zeros(0, 3), "size=(0, 3)"),
        (lambda: pycnn.tensor([float("nan"), float("inf")]), "tensor([nan, inf])"),
    ],
    ids=range(8),
)
def test_printing(made: Any, text: str) -> None:
    assert text in repr(made())


def test_printing_a_result_names_its_operator() -> None:
    assert "grad_fn=" in repr(pycnn.ones(2, requires_grad=True) * 2)
    assert len(repr(pycnn.zeros(1000, 1000))) < 2000


def test_equality() -> None:
    x = pycnn.tensor([1.0, 2.0])
    assert pycnn.equal(x, x.clone())
    assert not pycnn.equal(x, pycnn.ones(3))
    assert pycnn.allclose(x, x + 1e-9)
    assert not pycnn.allclose(x, x + 1e-3)


def test_memory_formats_are_accepted_with_the_same_values() -> None:
    x = pycnn.randn(2, 3, 4, 5)
    y = x.to(memory_format=pycnn.channels_last)
    assert tuple(y.shape) == (2, 3, 4, 5)
    assert pycnn.equal(x, y)
    assert pycnn.equal(x.contiguous(memory_format=pycnn.channels_last).flatten(1), x.flatten(1))
