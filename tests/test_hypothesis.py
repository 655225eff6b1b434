"""Shapes, broadcasting, reductions, indexing and padding of arbitrary small tensors, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pycnn
import pycnn.nn.functional as F

settings.register_profile(
    "pycnn",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("pycnn")

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float64)


@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=4, min_side=0))
def test_broadcasting(broadcast: Any) -> None:
    a, b, c = (numbers(s, i) for i, s in enumerate(broadcast.input_shapes))
    tensors = [pycnn.tensor(v).requires_grad_() for v in (a, b, c)]
    found = tensors[0] * tensors[1] - tensors[2]
    np.testing.assert_array_equal(found.detach().numpy(), a * b - c)
    assert tuple(found.shape) == broadcast.result_shape
    found.sum().backward()
    ones = np.ones(broadcast.result_shape)
    for tensor, full in zip(tensors, (ones * b, ones * a, -ones), strict=True):
        shape = tuple(tensor.shape)
        lead = full.ndim - len(shape)
        axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and full.shape[i + lead] != 1)
        np.testing.assert_array_equal(tensor.grad.numpy(), full.sum(axes, keepdims=True).reshape(shape))


@given(st.data())
def test_incompatible_shapes_raise_and_name_both(data: st.DataObject) -> None:
    a = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4))
    b = (*a[:-1], a[-1] + 1)
    try:
        pycnn.zeros(*a) + pycnn.zeros(*b)
    except RuntimeError as error:
        assert str(a[-1]) in str(error)
        assert str(b[-1]) in str(error)
    else:
        raise AssertionError("no error")


@given(shapes, st.data())
def test_reductions(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbers(shape)
    axes = data.draw(st.lists(st.integers(0, max(0, len(shape) - 1)), unique=True)) if shape else []
    axis = tuple(a - (len(shape) if data.draw(st.booleans()) else 0) for a in axes)
    keep = data.draw(st.booleans())
    if not axes:
        assert pycnn.tensor(array).sum().item() == array.sum()
        return
    x = pycnn.tensor(array)
    np.testing.assert_array_equal(x.sum(axis, keepdim=keep).numpy(), array.sum(axis, keepdims=keep))
    np.testing.assert_array_equal(x.sum(dim=axis[0]).numpy(), array.sum(axis[0]))
    if all(shape[a] for a in axes):
        np.testing.assert_array_equal(x.amax(axis, keepdim=keep).numpy(), array.max(axis, keepdims=keep))
        np.testing.assert_allclose(
            x.mean(axis, keepdim=keep).numpy(), array.mean(axis, keepdims=keep), rtol=1e-14, atol=1e-14
        )
        np.testing.assert_array_equal(x.argmin(axis[0], keepdim=keep).numpy(), array.argmin(axis[0], keepdims=keep))


@given(shapes, st.data())
def test_permutations_and_reshapes(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbers(shape)
    order = data.draw(st.permutations(range(len(shape))))
    x = pycnn.tensor(array).requires_grad_()
    y, expected = x.permute(order), array.transpose(order)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    target = data.draw(st.sampled_from([(-1,), (array.size,), (1, array.size), expected.shape[::-1]]))
    if array.size == 0 and -1 in target:
        target = (0,)
    z = y.reshape(target)
    np.testing.assert_array_equal(z.detach().numpy(), expected.reshape(target))
    weights = numbers(z.shape, 1)
    (z * pycnn.tensor(weights)).sum().backward()
    inverse = np.argsort(order) if order else []
    np.testing.assert_array_equal(x.grad.numpy(), weights.reshape(expected.shape).transpose(inverse))


@given(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4), st.data())
def test_basic_indexing_and_assignment(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbers(shape)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True).filter(forward_steps))
    x = pycnn.tensor(array)
    np.testing.assert_array_equal(x[index].numpy(), array[index])
    x[index] = 99
    array[index] = 99
    np.testing.assert_array_equal(x.numpy(), array)
    x[index] += 1
    array[index] += 1
    np.testing.assert_array_equal(x.numpy(), array)


def forward_steps(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(not isinstance(p, slice) or p.step is None or p.step > 0 for p in parts)


@given(st.lists(hnp.array_shapes(min_dims=3, max_dims=3, max_side=3), min_size=1, max_size=4), st.integers(0, 2))
def test_concatenation(pieces: list[tuple[int, ...]], dim: int) -> None:
    shapes = [
        tuple(s if i == dim else p for i, (s, p) in enumerate(zip(piece, pieces[0], strict=True))) for piece in pieces
    ]
    arrays = [numbers(s, i) for i, s in enumerate(shapes)]
    tensors = [pycnn.tensor(a).requires_grad_() for a in arrays]
    joined = pycnn.cat(tensors, dim)
    np.testing.assert_array_equal(joined.detach().numpy(), np.concatenate(arrays, dim))
    parts = pycnn.split(joined, [s[dim] for s in shapes], dim)
    for number, (part, array) in enumerate(zip(parts, arrays, strict=True)):
        np.testing.assert_array_equal(part.detach().numpy(), array)
        (part * (number + 1)).sum().backward(retain_graph=True)
    for number, tensor in enumerate(tensors):
        np.testing.assert_array_equal(tensor.grad.numpy(), np.full(tensor.shape, number + 1))


@given(st.lists(st.integers(1, 3), min_size=0, max_size=2), st.integers(0, 4), st.integers(0, 4), st.integers(1, 4))
def test_matmul(batch: list[int], n: int, k: int, m: int) -> None:
    a, b = numbers((*batch, n, k)), numbers((k, m), 1)
    np.testing.assert_array_equal((pycnn.tensor(a) @ pycnn.tensor(b)).numpy(), a @ b)
    b = numbers((*batch, k, m), 2)
    np.testing.assert_array_equal((pycnn.tensor(a) @ pycnn.tensor(b)).numpy(), a @ b)


@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    """Any shape, stride, padding, dilation and grouping; small integers, so that every sum is exact in float32."""
    draw = data.draw
    d, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(d)]
    options = {
        "stride": tuple(draw(st.integers(1, 3)) for _ in range(d)),
        "padding": tuple(draw(st.integers(0, 2)) for _ in range(d)),
        "dilation": tuple(draw(st.integers(1, 2)) for _ in range(d)),
    }
    spatial = [
        max(1, gap * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for k, p, gap in zip(kernel, options["padding"], options["dilation"], strict=True)
    ]
    x = numbers((draw(st.integers(1, 2)), inputs, *spatial))
    w = numbers((outputs, inputs // groups, *kernel), 1)
    function = [F.conv1d, F.conv2d, F.conv3d][d - 1]
    tx, tw = (pycnn.tensor(v.astype(np.float32)).requires_grad_() for v in (x, w))
    found = function(tx, tw, groups=groups, **options)
    np.testing.assert_array_equal(found.detach().numpy(), oracles.convolution(x, w, groups=groups, **options))
    direction = numbers(tuple(found.shape), 2)
    (found * pycnn.tensor(direction.astype(np.float32))).sum().backward()
    # the gradients are linear: their inner products with x and w are both the output's with the direction
    inner = (oracles.convolution(x, w, groups=groups, **options) * direction).sum()
    assert (tx.grad.numpy().astype(np.float64) * x).sum() == inner
    assert (tw.grad.numpy().astype(np.float64) * w).sum() == inner


@given(st.data())
def test_pooling(data: st.DataObject) -> None:
    draw = data.draw
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    options: dict[str, Any] = {
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    size = [k + draw(st.integers(0, 5)) for k in kernel]
    x = np.random.default_rng(0).permutation(2 * 3 * size[0] * size[1]).reshape(2, 3, *size).astype(np.float64)
    found, where = F.max_pool2d(pycnn.tensor(x), kernel, return_indices=True, **options)
    values, indices = oracles.max_pool2d(x, kernel, return_indices=True, **options)
    np.testing.assert_array_equal(found.numpy(), values)
    np.testing.assert_array_equal(where.numpy(), indices)
    options["count_include_pad"] = draw(st.booleans())
    np.testing.assert_allclose(
        F.avg_pool2d(pycnn.tensor(x), kernel, **options).numpy(), oracles.avg_pool2d(x, kernel, **options), rtol=1e-14
    )


@given(hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), st.data())
def test_padding(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbers(shape)
    amounts = [(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))) for _ in range(2)]
    flat = [n for pair in reversed(amounts) for n in pair]
    expected = np.pad(array, [(0, 0)] * (len(shape) - 2) + amounts, constant_values=1.5)
    np.testing.assert_array_equal(F.pad(pycnn.tensor(array), flat, value=1.5).numpy(), expected)
