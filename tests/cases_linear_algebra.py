"""Rows of the operator table: square matrices, selection and search, places, and the package's second names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from case import Case, Input, apart, booleans, constant, distinct, integers, normal, permuted, positive, unit, values

CASES: list[Case] = []


def add(name: str, function: str | Callable[..., Any], *inputs: Input | None, **keywords: Any) -> None:
    CASES.append(Case(name, function, inputs, keywords, "pytorch", float32_tolerance=1e-5))


def regular(*shape: int) -> Input:
    """Square matrices far from singular, none of which needs no exchange of rows."""
    return Input(lambda rng: np.roll(rng.standard_normal(shape) + 4 * np.eye(shape[-1]), 1, -2))


def tied(*shape: int) -> Input:
    return Input(lambda rng: rng.integers(0, 4, shape).astype(float), gradient=False)


def numbers(*elements: Any) -> Input:
    return Input(lambda rng: np.array(elements, float))


# -- square matrices -----------------------------------------------------------------------------------------------

for batch in ((), (2,), (2, 3)):
    add(f"det of batch {batch}", "det", regular(*batch, 3, 3))
    add(f"inverse of batch {batch}", "inverse", regular(*batch, 3, 3))
    add(f"slogdet of batch {batch}", lambda p, x: list(p.slogdet(x)), regular(*batch, 3, 3))
    add(
        f"linalg.solve of batch {batch}",
        lambda p, a, b: p.linalg.solve(a, b),
        regular(*batch, 3, 3),
        normal(*batch, 3, 2),
    )
add("det of a permuted matrix", "det", permuted(regular(4, 4)))
add("det of one element", "det", normal(1, 1))
add("det of large matrices", "det", Input(lambda rng: rng.standard_normal((2, 17, 17)) / 4))
add("linalg.det", lambda p, x: p.linalg.det(x), regular(2, 2))
add("linalg.slogdet", lambda p, x: list(p.linalg.slogdet(x)), regular(2, 2))
add("linalg.inv", lambda p, x: p.linalg.inv(x), permuted(regular(3, 3)))
add("logdet", "logdet", Input(lambda rng: 3 * np.eye(3) + 0.3 * rng.standard_normal((2, 3, 3))))
add("linalg.solve of vectors", lambda p, a, b: p.linalg.solve(a, b), regular(3, 3), normal(3))
add("linalg.solve of a batch of vectors", lambda p, a, b: p.linalg.solve(a, b), regular(2, 3, 3), normal(2, 3))
add("linalg.solve broadcast", lambda p, a, b: p.linalg.solve(a, b), regular(2, 1, 3, 3), normal(4, 3, 2))
add("linalg.solve from the right", lambda p, a, b: p.linalg.solve(a, b, left=False), regular(3, 3), normal(2, 3))
for upper in (True, False):
    add(f"linalg.solve_triangular upper {upper}",
        lambda p, a, b, u=upper: p.linalg.solve_triangular(a, b, upper=u),
        Input(lambda rng: rng.standard_normal((3, 3)) + 4 * np.eye(3)), normal(3, 2))  # fmt: skip
add("linalg.solve_triangular unitriangular",
    lambda p, a, b: p.linalg.solve_triangular(a, b, upper=True, unitriangular=True), normal(3, 3),
    normal(3, 2))  # fmt: skip
add("linalg.solve_triangular from the right, broadcast",
    lambda p, a, b: p.linalg.solve_triangular(a, b, upper=False, left=False),
    Input(lambda rng: rng.standard_normal((2, 1, 5, 5)) + 4 * np.eye(5)), normal(3, 2, 5))  # fmt: skip
for upper in (True, False):
    add(f"linalg.solve_triangular of zeros, upper {upper}",
        lambda p, a, b, u=upper: p.linalg.solve_triangular(a, b, upper=u),
        constant(Input(lambda rng: np.array([[0.0, 2, 1], [5, 1, 3], [2, 4, 0]]))),
        constant(normal(3, 2)))  # fmt: skip
add("linalg.solve_triangular unitriangular of zeros",
    lambda p, a, b: p.linalg.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
    Input(lambda rng: rng.standard_normal((4, 4)) * (1 - np.eye(4))), normal(2, 4))  # fmt: skip
add("linalg.tensorinv", lambda p, a: p.linalg.tensorinv(a.reshape(2, 3, 6)), regular(6, 6))
add("linalg.tensorsolve", lambda p, a, b: p.linalg.tensorsolve(a.reshape(2, 3, 6), b), regular(6, 6), normal(2, 3))
add("matrix_power negative", lambda p, x: p.matrix_power(x, -3), regular(3, 3))
add("matrix_exp", "matrix_exp", normal(2, 3, 3))
add("matrix_exp of large elements", "matrix_exp", Input(lambda rng: 3 * rng.standard_normal((3, 3))))
add("matrix_exp of unlike norms", "matrix_exp",
    Input(lambda rng: rng.standard_normal((5, 3, 3)) * np.array([1e-3, 0, 0.3, 2, 5]).reshape(5, 1, 1)))  # fmt: skip
add("linalg.matrix_exp", lambda p, x: p.linalg.matrix_exp(x), normal(2, 2))

# -- selection and search ------------------------------------------------------------------------------------------

for largest in (True, False):
    add(f"topk largest {largest}", lambda p, x, g=largest: list(p.topk(x, 3, 1, g)), distinct(3, 7, 2))
    add(f"topk of equals, largest {largest}", lambda p, x, g=largest: list(p.topk(x, 5, -1, g)), tied(3, 9))
    add(f"topk of few, largest {largest}", lambda p, x, g=largest: list(p.topk(x, 2, -1, g)), tied(2, 300))
add("kthvalue of equals", lambda p, x: list(p.kthvalue(x, 4)), tied(5, 11))
add("kthvalue along 0", lambda p, x: list(p.kthvalue(x, 2, 0, True)), distinct(5, 3))
for right in (False, True):
    add(f"searchsorted right {right}", lambda p, s, x, r=right: p.searchsorted(s.sort()[0], x, right=r),
        tied(2, 5), tied(2, 7))  # fmt: skip
    add(f"bucketize right {right}", lambda p, s, x, r=right: p.bucketize(x, s.sort()[0], right=r),
        integers(0, 9, 4), integers(-2, 12, 3, 5))  # fmt: skip
add("searchsorted of other dtypes", lambda p, s, x: p.searchsorted(s, x, right=True), values(1, 2, 3), values(2.5, 0.5))
add("bucketize of a number", lambda p, s: p.bucketize(2.5, s), values(1, 2, 3))
add("searchsorted of a number, rounded", lambda p, s: p.searchsorted(s.float(), 0.1, right=True),
    values(0.1, 0.2, dtype="float64"))  # fmt: skip
add("searchsorted of NaN", lambda p, s, x: p.searchsorted(s, x), values(1.0, 2.0, dtype="float64"),
    values(float("nan"), float("inf"), -1.0, dtype="float64"))  # fmt: skip
add("isin of many", lambda p, x, y: p.isin(x, y), integers(0, 60, 5, 6), integers(0, 60, 20))
for reduce in ("prod", "amax", "amin"):
    add(f"scatter_reduce {reduce} of equals", lambda p, x, i, y, r=reduce: x.scatter_reduce(0, i, y, r),
        tied(4, 3), integers(0, 4, 5, 3), tied(5, 3))  # fmt: skip
    add(f"scatter_reduce {reduce} in part", lambda p, x, i, y, r=reduce: x.scatter_reduce(1, i, y, r),
        normal(4, 5), integers(0, 5, 3, 6), normal(3, 6))  # fmt: skip
add("scatter_reduce prod with zeros", lambda p, x, i, y: x.scatter_reduce(0, i, y, "prod"), numbers(0, 2, 3, 0, 5, 0),
    values(0, 1, 2, 2, 2, 3, 3, 4, 5, 5), numbers(2, 0, 4, 0, 5, 0, 3, 2, 0, 0))  # fmt: skip
add("cdist through a product", "cdist", normal(30, 3), normal(2, 4, 3))
add(
    "cdist without a product",
    lambda p, x, y: p.cdist(x, y, 2.0, "donot_use_mm_for_euclid_dist"),
    normal(30, 3),
    normal(4, 3),
)
add("repeat_interleave of counts", lambda p, r: p.repeat_interleave(r), values(2, 0, 3))
add("median of lines with NaN", lambda p, x: list(p.median(x, 1)),
    values([1.0, float("nan"), 0.5], [3.0, 1.0, 2.0], dtype="float64"))  # fmt: skip

# -- places --------------------------------------------------------------------------------------------------------

add("as_strided of a view", lambda p, x: p.as_strided(x.t()[1:], (2, 2), (1, 3)), normal(4, 3))
add("as_strided overlapping", lambda p, x: x.as_strided((3, 2), (1, 1)), normal(5))
add("as_strided_scatter", lambda p, x, y: p.as_strided_scatter(x, y, (2, 2), (3, 1), 1),
    constant(normal(3, 3)), normal(2, 2))  # fmt: skip
add(
    "unfold written through",
    lambda p, x, y: _written(x * 1, lambda z: z.unfold(1, 2, 3), y),
    normal(2, 6),
    normal(2, 2, 2),
)
add("as_strided written through", lambda p, x, y: _written(x * 1, lambda z: z.as_strided((2, 2), (3, 1), 2), y),
    normal(8), normal(2, 2))  # fmt: skip
add("storage_offset", lambda p, x: p.tensor([x[1].storage_offset(), x[:, 1:][1].storage_offset(),
                                             x.t()[2, 1:].storage_offset()]), normal(3, 4))  # fmt: skip


def _first_differentiable(results: Any) -> list[Any]:
    return [results[0], *(r.detach() for r in results[1:])]


def _written(x: Any, window: Callable[[Any], Any], y: Any) -> Any:
    window(x).copy_(y)
    return x * 2


# -- second names --------------------------------------------------------------------------------------------------

add(
    "igamma",
    "igamma",
    constant(Input(lambda rng: rng.integers(1, 20, (20,)).astype(float))),
    Input(lambda rng: rng.uniform(0.1, 40, (20,))),
)
add(
    "igammac",
    "igammac",
    constant(Input(lambda rng: rng.integers(1, 20, (20,)).astype(float))),
    Input(lambda rng: rng.uniform(0.1, 40, (20,))),
)
add("igamma at the edges", "igamma", values(1.0, -1.0, 0.0, 2.0, 0.0, 3.0, -0.5, -3.0, dtype="float64"),
    values(0.0, 1.0, 2.0, -1.0, 0.0, float("inf"), 0.2, -2.0, dtype="float64"))  # fmt: skip
add("constant_pad_nd", lambda p, x: p.constant_pad_nd(x, (1, -1, 2, 0), 1.5), normal(3, 4))
add("convolution", lambda p, x, w, b: p.convolution(x, w, b, [2, 1], [1, 0], [1, 2], False, [0, 0], 2),
    normal(2, 4, 6, 7), normal(6, 2, 3, 2), normal(6))  # fmt: skip
add("convolution transposed", lambda p, x, w: p.convolution(x, w, None, [2], [1], [1], True, [1], 1),
    normal(2, 3, 5), normal(3, 4, 3))  # fmt: skip
add("grid_sampler", lambda p, x, g: p.grid_sampler(x, g, 0, 0, False), normal(1, 2, 4, 5), unit(1, 3, 3, 2))
add("grid_sampler_2d", lambda p, x, g: p.grid_sampler_2d(x, g, 0, 1, True), normal(1, 2, 4, 5), unit(1, 3, 3, 2))
add("grid_sampler_3d", lambda p, x, g: p.grid_sampler_3d(x, g, 0, 0, False), normal(1, 2, 3, 4, 3), unit(1, 2, 3, 2, 3))
add("embedding with the weight first", lambda p, w, i: p.embedding(w, i), normal(5, 3), integers(0, 5, 2, 2))
add(
    "embedding_renorm", lambda p, w, i: p.embedding_renorm_(w * 1, i, 0.7, 2.0), constant(normal(5, 3)), values(1, 3, 1)
)
add("native_layer_norm", lambda p, x, w, b: _first_differentiable(p.native_layer_norm(x, (3, 4), w, b, 1e-5)),
    normal(2, 3, 4), normal(3, 4), normal(3, 4))  # fmt: skip
add("native_group_norm", lambda p, x, w, b: list(p.native_group_norm(x, w, b, 2, 4, 3, 2, 1e-5)),
    normal(2, 4, 3), normal(4), normal(4))  # fmt: skip
add("native_batch_norm",
    lambda p, x, w, b: _first_differentiable(p.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)),
    normal(3, 2, 4), normal(2), normal(2))  # fmt: skip
add("native_dropout of none", lambda p, x: list(p.native_dropout(x, 0.5, False)), normal(3))
for name in ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"):
    add(f"{name} of none", lambda p, x, f=name: getattr(p, f)(x, 0.5, False), normal(2, 3))
    add(f"{name}_ of none", lambda p, x, f=name: getattr(p, f + "_")(x * 1, 0.5, False), normal(2, 3))
for d in (0, 1, -1):
    add(f"norm_except_dim {d}", lambda p, x, d=d: p.norm_except_dim(x, 2, d), normal(3, 4))
add("fill", lambda p, x: p.fill(x, 2.5), normal(3))
add("detach", "detach", normal(3))
add("real", "real", normal(3))
add("angle", "angle", constant(apart(5)))
add("to_dense", ".to_dense", normal(3))
add("unsafe_split_with_sizes", lambda p, x: list(p.unsafe_split_with_sizes(x, [1, 3], 1)), normal(2, 4))
add("hardshrink method", ".hardshrink", apart(4))
add("prelu method", ".prelu", apart(3, 4), normal(1))
add("apply", lambda p, x: x.apply_(lambda v: v * 2 + 1), constant(normal(3, 2)))
add("map", lambda p, x, y: x.map_(y, lambda v, w: v - w), constant(normal(3, 2)), constant(normal(2)))
add("resize", lambda p, x: (x * 1).resize_(2, 2), constant(normal(3, 4)))
add("resize of a transposed one", lambda p, x: (x * 1).t().resize_(3, 3), constant(normal(3, 4)))
add("resize of a view", lambda p, x: (x * 1)[:, 1:].resize_(6), constant(normal(3, 4)))
add("resize to channels last", lambda p, x: (x * 1).resize_(1, 2, 3, 2, memory_format=p.channels_last),
    constant(normal(3, 4)))  # fmt: skip
add("resize_as", lambda p, x, y: (x * 1).resize_as_(y), constant(normal(3, 4)), constant(normal(5)))
add("as_strided in place", lambda p, x: (x * 1).as_strided_((2, 2), (1, 2)), constant(normal(6)))
add("set", lambda p, x, y: x.set_(y), constant(normal(3)), constant(normal(2, 2)))
add("reversed", lambda p, x: reversed(x), normal(3, 2))
add("clamp_min of bool", lambda p, x, y: [p.clamp_min(x, y), p.clamp_max(x, y)], booleans(3, 4), booleans(4))
add("frombuffer",
    lambda p, x: p.frombuffer(bytearray(range(16)), dtype=p.int32, count=2, offset=4).to(x.device) + x,
    values(1))  # fmt: skip
add("kaiser_window", lambda p, x: p.kaiser_window(7, False, 5.0, dtype=x.dtype, device=x.device) + x, normal(1))
add("polygamma of positive", lambda p, x: [p.polygamma(n, x) for n in (2, 3)], constant(positive(6)))
