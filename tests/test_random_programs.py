"""Programs drawn at random have the same bits whether they are planned as a whole or step by step: results, gradients
and updated parameters. Likely are sizes of 1, products with several results, and values that only some of them need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import Tensor

Step = Callable[[Tensor, Tensor, dict[str, Tensor], int], Tensor]


def exact_bits(t: Tensor) -> bytes:
    return (t.detach().float() if t.dtype == pycnn.bfloat16 else t.detach()).numpy().tobytes()


def changed(p: Tensor, change: Callable[[Tensor], Any]) -> Tensor:
    copy = p.clone()
    change(copy)
    return copy


def write_rows(p: Tensor, q: Tensor) -> Tensor:
    return changed(p, lambda copy: copy[:, :, 0].copy_(q[:, :, -1]))


def write_one(p: Tensor, q: Tensor) -> Tensor:
    return changed(p, lambda copy: copy.view(-1)[:1].copy_(q.reshape(-1)[-1:]))


#: Of two earlier results, the leaves and a number below 4.
STEPS: list[Step] = [
    lambda p, q, w, d: F.conv2d(p, w["1x1"], w["bias"] if d > 1 else None),
    lambda p, q, w, d: F.conv2d(p, w["3x3"], padding=1),
    lambda p, q, w, d: F.conv2d(p, w["3x3"], padding=2, dilation=2),
    lambda p, q, w, d: F.conv2d(p, w["depthwise"], padding=1, groups=p.shape[1]),
    lambda p, q, w, d: F.conv_transpose2d(p, w["3x3"], padding=1),
    lambda p, q, w, d: F.linear(p, w["square"]),
    lambda p, q, w, d: p @ w["square"],
    lambda p, q, w, d: F.relu(p),
    lambda p, q, w, d: p.sigmoid() * q,
    lambda p, q, w, d: p + q,
    lambda p, q, w, d: q - p * 2,
    lambda p, q, w, d: p * w["bias"].reshape(1, -1, 1, 1),
    lambda p, q, w, d: p / (q.abs() + 1),
    lambda p, q, w, d: pycnn.where(p > q, p, q * 0.5),
    lambda p, q, w, d: p - p.mean(d, keepdim=True),
    lambda p, q, w, d: p.amax(d, keepdim=True) + q,
    lambda p, q, w, d: p.sum((0, 2, 3), keepdim=True) * q,
    lambda p, q, w, d: (p * q).sum() * 0.01 + p,
    lambda p, q, w, d: F.softmax(p, d),
    lambda p, q, w, d: F.max_pool2d(p, 3, 1, 1),
    lambda p, q, w, d: F.avg_pool2d(p, 3, 1, 1),
    lambda p, q, w, d: pycnn.cat([p, q], d).narrow(d, p.shape[d] // 2, p.shape[d]),
    lambda p, q, w, d: p.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    lambda p, q, w, d: p.reshape(-1).reshape(p.shape) * 3,
    lambda p, q, w, d: p.bfloat16().to(p.dtype),
    lambda p, q, w, d: p.detach() * q,
    lambda p, q, w, d: write_rows(p, q),
    lambda p, q, w, d: write_one(p, q),
    lambda p, q, w, d: changed(p, lambda copy: copy.add_(q)),
]


def run(seed: int, step_by_step: bool) -> list[bytes]:
    rng = np.random.default_rng(seed)

    def one_of(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    dtype = one_of(pycnn.float32, pycnn.float32, pycnn.float64, pycnn.bfloat16)
    n, c, h, w = one_of(1, 1, 2, 3), one_of(1, 2, 3, 8, 16, 20), one_of(1, 2, 4, 6, 9), one_of(1, 2, 4, 7, 16)
    trains, autocasts = one_of(True, False), dtype == pycnn.float32 and one_of(True, False, False)

    def leaf(*shape: int) -> Tensor:
        values = pycnn.from_numpy(rng.standard_normal(shape, dtype=np.float32) * np.float32(0.5))
        return values.to(dtype).requires_grad_(trains)

    leaves = {
        "x": leaf(n, c, h, w),
        "1x1": leaf(c, c, 1, 1),
        "3x3": leaf(c, c, 3, 3),
        "depthwise": leaf(c, 1, 3, 3),
        "bias": leaf(c),
        "square": leaf(w, w),
    }
    values = [leaves["x"]]
    with pycnn.autocast("cpu", dtype=pycnn.bfloat16, enabled=autocasts):
        for _ in range(rng.integers(4, 14)):
            p, q = one_of(*values), one_of(*values)
            value = one_of(*STEPS)(p, q, leaves, int(rng.integers(4))).to(dtype)
            if step_by_step:
                pycnn.eval(value)
            values.append(value)
            del p, q, value
    results = [value for value in values[1:-1] if one_of(True, False, False, False)] + values[-1:]
    del values
    if trains and (loss := sum((result.float().mean() for result in results), pycnn.zeros(()))).requires_grad:
        loss.backward()
        trained = [tensor for tensor in leaves.values() if tensor.grad is not None]
        before = [tensor.detach() for tensor in trained if one_of(True, False)]
        pycnn.optim.SGD(trained, lr=0.1, momentum=0.9).step()
        results += [*before, *trained, *(tensor.grad for tensor in trained)]
    pycnn.eval(*results)
    return [exact_bits(result) for result in results]


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_plans_have_the_bits_of_their_steps(first: int) -> None:
    for seed in range(first, first + 50):
        assert run(seed, step_by_step=False) == run(seed, step_by_step=True), f"seed {seed}"
