"""Rows of the operator table: comparisons, logic and bits, and other names of what has rows elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import Case, Input, apart, booleans, constant, distinct, integers, normal, positive

CASES: list[Case] = []


def add(name: str, function: str | Callable[..., Any], *inputs: Input | None, **keywords: Any) -> None:
    CASES.append(Case(name, function, inputs, keywords, "pytorch"))


def whole(low: int, high: int, *shape: int) -> Input:
    """Floats that are often equal."""
    return Input(lambda rng: rng.integers(low, high, shape).astype(float), gradient=False)


for name in ("eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    add(name, name, whole(0, 3, 4, 5), whole(0, 3, 5))
    add(f"{name} method", f".{name}", integers(0, 3, 4, 5), integers(0, 3, 4, 1))
for name in ("logical_and", "logical_or", "logical_xor"):
    add(name, name, whole(0, 2, 4, 5), booleans(5))
    add(f"{name} method", f".{name}", booleans(4), booleans(4))
add("logical_not", "logical_not", whole(0, 2, 4, 5))
add("logical_not method", ".logical_not", booleans(4))
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    add(name, name, integers(-9, 9, 4, 5), integers(-9, 9, 5))
    add(f"{name} of booleans", name, booleans(7), booleans(7))
for name in ("bitwise_left_shift", "bitwise_right_shift"):
    add(name, name, integers(-9, 9, 4, 5), integers(0, 4, 5))
add("bitwise_not", "bitwise_not", integers(-9, 9, 4, 5))
add("isclose", lambda p, x: p.isclose(x, x + 1e-6), normal(4, 5))
add("allclose", lambda p, x: p.tensor([p.allclose(x, x + 1e-6), p.allclose(x, x + 1)]), normal(4, 5))
add("equal", lambda p, x: p.tensor([p.equal(x, x + 0), p.equal(x, x + 1)]), normal(4))
add("count_nonzero", "count_nonzero", whole(0, 2, 4, 5))
add("nonzero", "nonzero", whole(0, 2, 4, 5))
add("masked_select", "masked_select", normal(4, 5), booleans(4, 5))

for name in ("multiply", "subtract", "divide", "true_divide", "remainder"):
    add(f"{name} by name", name, distinct(4, 5), positive(5))
add("floor_divide", "floor_divide", integers(-20, 20, 4, 5), integers(1, 7, 5))
add("rsub", "rsub", normal(4, 5), normal(5))
for name in ("absolute", "negative"):
    add(name, name, apart(4, 5))
add("clip", lambda p, x: p.clip(x, -0.52, 0.51), distinct(4, 5))
add("clamp_min", lambda p, x: p.clamp_min(x, 0.51), distinct(4, 5))
add("clamp_max", lambda p, x: p.clamp_max(x, 0.51), distinct(4, 5))
add("std_mean", lambda p, x: list(p.std_mean(x, 1)), normal(4, 5))
add("addmm", lambda p, c, a, b: p.addmm(c, a, b, beta=0.5, alpha=2), normal(5), normal(3, 4), normal(4, 5))
add("mm", "mm", normal(3, 4), normal(4, 5))
add("mv", "mv", normal(3, 4), normal(4))
add("dot", "dot", normal(4), normal(4))
add("outer", "outer", normal(3), normal(4))

for name in ("concat", "concatenate"):
    add(name, lambda p, x, y, f=name: getattr(p, f)((x, y), 1), normal(3, 4), normal(3, 2))
for name in ("hstack", "vstack"):
    add(f"{name} of matrices", lambda p, x, y, f=name: getattr(p, f)((x, y)), normal(3, 4), normal(3, 4))
for name in ("moveaxis", "movedim"):
    add(name, lambda p, x, f=name: getattr(p, f)(x, (0, 2), (1, 0)), normal(2, 3, 4))
for name in ("swapaxes", "swapdims"):
    add(name, lambda p, x, f=name: getattr(p, f)(x, 0, -1), normal(2, 3, 4))
add("ravel", "ravel", normal(2, 3))
add("tile", lambda p, x: p.tile(x, (2, 1, 3)), normal(2, 3))
add("repeat", lambda p, x: x.repeat(2, 1, 3), normal(2, 3))
add("broadcast_to", lambda p, x: p.broadcast_to(x, (4, 2, 3)), normal(2, 1))
add("broadcast_tensors", lambda p, x, y: list(p.broadcast_tensors(x, y)), normal(2, 1), normal(3))
add("expand_as", ".expand_as", normal(3, 4), constant(normal(2, 3, 4)))
add("view_as", ".view_as", normal(2, 6), constant(normal(3, 4)))
add("reshape_as", ".reshape_as", normal(2, 6), constant(normal(3, 4)))
for name in ("adjoint", "conj", "conj_physical", "resolve_conj", "resolve_neg", "fix"):
    add(name, name, distinct(3, 4))
add("sgn", "sgn", constant(distinct(3, 4)))
add("arccosh", "arccosh", Input(lambda rng: rng.uniform(1.3, 5.0, (3, 4))))
add("arctanh", "arctanh", Input(lambda rng: rng.uniform(-0.8, 0.8, (3, 4))))
add("arctan2", "arctan2", apart(3, 4), apart(4))
add("dsplit", lambda p, x: list(p.dsplit(x, 2)), normal(2, 3, 4))
add("ger", "ger", normal(3), normal(4))
add("narrow_copy", lambda p, x: p.narrow_copy(x, 1, 1, 2), normal(3, 4))
add("nextafter", "nextafter", constant(normal(3, 4)), constant(normal(4)))
add("split_with_sizes", lambda p, x: list(p.split_with_sizes(x, [1, 3], 1)), normal(2, 4))
add("unsafe_split", lambda p, x: list(p.unsafe_split(x, 3, 1)), normal(2, 4))
add("unsafe_chunk", lambda p, x: list(p.unsafe_chunk(x, 2, 1)), normal(2, 4))
add("fill_diagonal", lambda p, x: (x * 1).fill_diagonal_(2.0), normal(3, 4))
add("trapz", "trapz", normal(3, 4))
add("pdist", "pdist", normal(4, 3))
add("pdist of a function", "F.pdist", normal(4, 3))
