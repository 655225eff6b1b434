"""Which copies between layouts a plan holds."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F

Network = Callable[[pycnn.Tensor], pycnn.Tensor]


@functools.cache
def parameter(*shape: int) -> pycnn.Tensor:
    value = pycnn.randn(*shape)
    pycnn.eval(value)
    return value


def conv(x: pycnn.Tensor) -> pycnn.Tensor:
    return F.conv2d(x, parameter(8, 8, 3, 3), padding=1)


def channels_last_image(*shape: int) -> pycnn.Tensor:
    image = pycnn.randn(*shape).contiguous(memory_format=pycnn.channels_last)
    pycnn.eval(image)
    return image


def copies(*results: pycnn.Tensor) -> int:
    """Steps that only load and store, epilogues included."""
    steps = pycnn.plan.describe(*results).splitlines()[1:-1]
    return sum("[r0=Load(" in step and step.partition("]")[0].count("=") == 1 for step in steps)


def shuffled(x: pycnn.Tensor) -> pycnn.Tensor:
    """Channels of two groups, interleaved (Zhang et al. 2017)."""
    return x.view(2, 2, 4, 10, 10).transpose(1, 2).reshape(2, 8, 10, 10)


NETWORKS: dict[str, tuple[Network, int, int]] = {
    # name: (network, copies, steps)
    "pooling": (lambda x: conv(F.max_pool2d(conv(x).relu(), 2)), 0, 3),
    "contiguous": (lambda x: conv(conv(x).contiguous()), 0, 2),
    "clone": (lambda x: conv(conv(x).clone()), 0, 2),
    "permuted and back": (
        lambda x: conv(conv(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).contiguous()),
        0,
        2,
    ),
    "flattened and back": (lambda x: conv(conv(x).flatten(1).reshape(2, 8, 10, 10)), 0, 2),
    "flattened, halves": (lambda x: conv(conv(x).flatten(1)[1:].reshape(1, 8, 10, 10)), 0, 2),
    "rows as images": (lambda x: conv(conv(x).flatten(1).reshape(2, 8, 10, 10)[:, :, 3:, 1::2]), 1, 3),
    "channels shuffled": (lambda x: conv(shuffled(conv(x))), 1, 3),
    "flatten of one pixel": (lambda x: F.linear(F.adaptive_avg_pool2d(conv(x), 1).flatten(1), parameter(3, 8)), 0, 3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_that_undo_each_other_cancel(name: str) -> None:
    network, expected_copies, steps = NETWORKS[name]
    x = channels_last_image(2, 8, 10, 10)
    for shape in ((8, 8, 3, 3), (3, 8)):
        parameter(*shape)  # evaluating them later would evaluate what is pending
    y = network(x)
    text = pycnn.plan.describe(y)
    assert copies(y) == expected_copies, text
    assert text.startswith(f"plan: {steps} steps"), text
    planned = y.numpy()
    pycnn.plan.set_mode("eager")
    np.testing.assert_array_equal(planned, network(x).numpy())


def test_an_image_is_converted_once_for_both_passes() -> None:
    """Forward and weight gradient read the same copy; two networks on one image as well."""
    image = pycnn.randn(2, 3, 10, 10)
    weight, other = pycnn.randn(8, 3, 3, 3).requires_grad_(), pycnn.randn(4, 3, 3, 3)
    pycnn.eval(image, weight, other)
    loss = F.conv2d(image, weight).square().sum() + F.conv2d(image, other).sum()
    (gradient,) = pycnn.autograd.grad(loss, [weight])
    assert copies(loss, gradient) == 1, pycnn.plan.describe(loss, gradient)


def test_copies_of_parts_keep_their_values() -> None:
    """Windows onto copies that the original shows in other strides, or not at all."""
    x = pycnn.arange(2 * 8 * 6 * 6, dtype=pycnn.float32).reshape(2, 8, 6, 6)
    pycnn.eval(x)
    expected = x.numpy()
    windows: list[tuple[Callable[[pycnn.Tensor], pycnn.Tensor], Callable[[np.ndarray], np.ndarray]]] = [
        (lambda t: t.flatten(2)[:, :, 5:].transpose(1, 2), lambda a: a.reshape(2, 8, 36)[:, :, 5:].transpose(0, 2, 1)),
        (lambda t: t.flatten()[3:].reshape(-1, 3).t(), lambda a: a.reshape(-1)[3:].reshape(-1, 3).T),
        (lambda t: t.reshape(2, 2, 4, 36).transpose(1, 2), lambda a: a.reshape(2, 2, 4, 36).transpose(0, 2, 1, 3)),
        (
            lambda t: t.reshape(4, 4, 6, 6)[1:3, ::2].transpose(0, 3),
            lambda a: a.reshape(4, 4, 6, 6)[1:3, ::2].transpose(3, 1, 2, 0),
        ),
        (
            lambda t: t[:, 1:2].expand(2, 3, 6, 6).transpose(1, 2),
            lambda a: np.broadcast_to(a[:, 1:2], (2, 3, 6, 6)).transpose(0, 2, 1, 3),
        ),
    ]
    for window, oracle in windows:
        for layout in (pycnn.contiguous_format, pycnn.channels_last):
            copy = (x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)).contiguous(memory_format=layout)
            np.testing.assert_array_equal(window(copy).contiguous().numpy(), oracle(expected))
