"""Rows of the table in operator_cases.py: elementary tensor operations beyond arithmetic and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from case import (
    Case,
    Input,
    apart,
    booleans,
    constant,
    distinct,
    integers,
    normal,
    permuted,
    positive,
    strided,
    unit,
    values,
)

CASES: list[Case] = []


def add(name: str, function: str | Callable[..., Any], *inputs: Input | None, **keywords: Any) -> None:
    CASES.append(Case(name, function, inputs, keywords, "pytorch"))


def loose(name: str, function: str | Callable[..., Any], *inputs: Input | None, **keywords: Any) -> None:
    """float32 loses digits where results cancel."""
    CASES.append(Case(name, function, inputs, keywords, "pytorch", float32_tolerance=2e-5))


# -- pointwise -----------------------------------------------------------------------------------------------------

for name in ("asinh", "arcsinh", "exp2", "erfc", "sinc", "deg2rad", "rad2deg", "positive", "signbit", "isposinf",
             "isneginf", "isreal", "arctan"):  # fmt: skip
    add(name, name, apart(3, 4))
add("frac", "frac", values(0.25, -1.75, 3.5, dtype="float64"))
for name in ("acosh", "lgamma"):
    loose(name, name, Input(lambda rng: rng.uniform(1.3, 5.0, (3, 4))))
loose("lgamma below zero", "lgamma", Input(lambda rng: rng.uniform(-2.8, -2.2, (5,))))
# PyTorch's own gradient of digamma has nine digits only.
loose("digamma", "digamma", constant(positive(3, 4)))
loose("digamma below zero", "digamma", Input(lambda rng: rng.uniform(-2.8, -2.2, (5,)), gradient=False))
for name in ("atanh", "arcsin", "arccos", "erfinv", "logit"):
    loose(name, name, unit(3, 4))
loose("erfinv near one", "erfinv", values(-0.999, 0.99999, 0.0, 0.7, dtype="float64"))
add("polygamma 2", lambda p, x: p.polygamma(2, x), positive(5))
add("logit with eps", lambda p, x: p.logit(x, eps=0.3), unit(10))
add("mvlgamma", lambda p, x: p.mvlgamma(x, 2), Input(lambda rng: rng.uniform(1.3, 5.0, (3,))))
for name in ("fmax", "fmin", "copysign", "hypot", "logaddexp", "logaddexp2"):
    add(name, name, apart(3, 4), apart(4))
add("xlogy", "xlogy", normal(3, 4), positive(3, 1))
add("xlogy of zero", "xlogy", values(0.0, 2.0, 0.0, dtype="float64"), values(0.0, 3.0, 2.0, dtype="float64"))
add("heaviside", "heaviside", values(-1.5, 0.0, 2.0, dtype="float64"), values(0.5, 0.5, 0.5, dtype="float64"))
add("gcd", "gcd", integers(-20, 20, 10), integers(-20, 20, 10))
add("lcm", "lcm", integers(-20, 20, 10), integers(1, 20, 10))
add("float_power", lambda p, x: p.float_power(x, 2).to(x.dtype), normal(3))
add("ldexp", "ldexp", normal(3), integers(-3, 4, 3))
add("ldexp of fractions", "ldexp", normal(3), normal(2, 3))
add("ldexp far", "ldexp", values(1e-30, 1e30, 0.0, 1.0, -1.0, dtype="float64"), values(130, -160, 120, 2000, -2000))
add("nan_to_num", lambda p, x: p.nan_to_num(x, 1.5, 9.0, -9.0),
    values(float("nan"), float("inf"), -float("inf"), 2.5, dtype="float64"))  # fmt: skip
add("frexp", lambda p, x: list(p.frexp(x)), values(0.0, 1.0, -8.0, 0.3, 5.7, dtype="float64"))
add("round with decimals", lambda p, x: p.round(x, decimals=2), normal(6))
add("dist", lambda p, x, y: p.dist(x, y, 3), normal(3, 4), normal(3, 4))
add("sum_to_size", lambda p, x: x.sum_to_size(3, 1), normal(2, 3, 4))
add("isin", lambda p, x, y: p.isin(x, y), integers(0, 9, 3, 4), values(1, 5, 7))

# -- shapes --------------------------------------------------------------------------------------------------------

for rank in (1, 2, 3):
    for shape in ((), (3,), (2, 3)):
        add(f"atleast_{rank}d of rank {len(shape)}", f"atleast_{rank}d", normal(*shape))
for name in ("column_stack", "dstack", "row_stack", "hstack", "vstack"):
    for shape in ((3,), (2, 3)):
        add(
            f"{name} of rank {len(shape)}",
            lambda p, x, y, f=name: getattr(p, f)((x, y)),
            normal(*shape),
            normal(*shape),
        )
add("tensor_split by number", lambda p, x: list(p.tensor_split(x, 3, dim=1)), normal(2, 7))
add("tensor_split by places", lambda p, x: list(p.tensor_split(x, (1, 5), dim=1)), normal(2, 7))
add("hsplit", lambda p, x: list(p.hsplit(x, 2)), normal(2, 4))
add("vsplit", lambda p, x: list(p.vsplit(x, [1])), normal(3, 4))
for offset in (-1, 0, 2):
    add(f"diagonal {offset}", lambda p, x, o=offset: p.diagonal(x, o), normal(3, 5))
    add(f"diagonal {offset} of dimensions", lambda p, x, o=offset: p.diagonal(x, o, 2, 0), normal(3, 2, 4))
    add(f"diag {offset} of a vector", lambda p, x, o=offset: p.diag(x, o), normal(3))
    add(f"diag {offset} of a matrix", lambda p, x, o=offset: p.diag(x, o), permuted(normal(4, 3)))
    add(f"diag_embed {offset}", lambda p, x, o=offset: p.diag_embed(x, o), normal(2, 3))
    add(f"tril {offset}", lambda p, x, o=offset: p.tril(x, o), normal(2, 4, 3))
    add(f"triu {offset}", lambda p, x, o=offset: x.triu(o), strided(normal(4, 5)))
add("diag_embed of dimensions", lambda p, x: p.diag_embed(x, 1, 0, 2), normal(2, 3))
add("diagflat", "diagflat", normal(2, 2))
add("trace", "trace", normal(3, 4))
add("block_diag", "block_diag", normal(2, 3), normal(1), normal(2, 2))
for shifts, dims in ((2, None), (-1, 0), ((1, -5), (1, 0)), ((3, 1), (1, 1))):
    add(f"roll {shifts} {dims}", lambda p, x, s=shifts, d=dims: p.roll(x, s, d), normal(3, 4))
for k in (-1, 0, 1, 2, 7):
    add(f"rot90 {k}", lambda p, x, k=k: p.rot90(x, k, (1, 2)), normal(2, 3, 4))
add("fliplr", "fliplr", normal(2, 3))
add("flipud", "flipud", normal(2, 3))
add("repeat_interleave", lambda p, x: p.repeat_interleave(x, 2, dim=1), normal(2, 3))
add("repeat_interleave flat", lambda p, x: x.repeat_interleave(3), normal(2, 3))
add("repeat_interleave by tensor", lambda p, x, r: p.repeat_interleave(x, r, dim=0), normal(3, 2), values(2, 0, 3))
for indexing in ("ij", "xy"):
    add(f"meshgrid {indexing}", lambda p, x, y, z, i=indexing: list(p.meshgrid(x, y, z, indexing=i)),
        normal(2), normal(3), normal(4))  # fmt: skip
add("cartesian_prod", "cartesian_prod", normal(2), normal(3))
add("combinations", lambda p, x: p.combinations(x, 2), normal(4))
add("unfold", lambda p, x: x.unfold(1, 3, 2), normal(2, 8, 3))
add("as_strided", lambda p, x: p.as_strided(x, (2, 3), (2, 1), 1), normal(8))
add("slice_scatter", lambda p, x, y: p.slice_scatter(x, y, 1, 1, 5, 2), normal(3, 6), normal(3, 2))
add("select_scatter", lambda p, x, y: p.select_scatter(x, y, 0, 1), normal(3, 4), normal(4))
add("diagonal_scatter", lambda p, x, y: p.diagonal_scatter(x, y, 1), normal(3, 4), normal(3))
add("unravel_index", lambda p, i: list(p.unravel_index(i, (3, 4))), integers(0, 12, 5))
loose("renorm", lambda p, x: p.renorm(x, 2, 0, 1.5), normal(3, 4))

# -- indexing ------------------------------------------------------------------------------------------------------

_INDICES: dict[str, Callable[[Any], Any]] = {
    "a list": lambda p: [1, 0, -1],
    "a matrix with an index twice": lambda p: p.tensor([[0, 2], [1, 1]]),
    "two vectors": lambda p: (p.tensor([0, 2, 1]), p.tensor([3, 3, 0])),
    "broadcast vectors": lambda p: (p.tensor([[0], [2]]), p.tensor([1, 3, 0])),
    "vectors apart": lambda p: (p.tensor([0, 2]), slice(None), p.tensor([1, 3])),
    "a vector behind a slice": lambda p: (slice(1, None), p.tensor([3, 0])),
    "a vector with an index twice behind an ellipsis": lambda p: (..., p.tensor([1, 1])),
    "an integer and a vector": lambda p: (1, p.tensor([1, 3])),
    "an integer behind a vector": lambda p: (p.tensor([1, 2]), 1),
    "an integer, a slice, a vector": lambda p: (1, slice(None), p.tensor([0, 1])),
    "None and a vector": lambda p: (None, p.tensor([1, 0])),
    "a vector, None, a vector": lambda p: (p.tensor([1, 0]), None, p.tensor([1, 0])),
    "a vector with None behind": lambda p: (p.tensor([1, 0]), None),
    "a mask of rows": lambda p: p.tensor([True, False, True]),
    "a mask of places": lambda p: p.tensor([[True, False, True, True]] * 2 + [[False] * 4]),
    "a mask and a slice": lambda p: (slice(None), p.tensor([True, False, True, False]), slice(1, None)),
    "a mask and a vector": lambda p: (p.tensor([True, False, True]), p.tensor([0, 3])),
    "True": lambda p: True,
    "None, slices and an integer": lambda p: (None, slice(None, None, 2), 3, ...),
    "an empty list": lambda p: [],
}
for note, index in _INDICES.items():
    add(f"read {note}", lambda p, x, i=index: x[i(p)], normal(3, 4, 5))

    def _write(p: Any, x: Any, y: Any, i: Any = index) -> Any:
        result = x * 1
        result[i(p)] = y
        return result

    if "twice" not in note:  # PyTorch leaves open which of several values a place takes
        add(f"write {note}", _write, normal(3, 4, 5), constant(normal(1)) if "empty" in note else normal(1))

    def _change(p: Any, x: Any, i: Any = index) -> Any:
        result = x * 1
        result[i(p)] *= 3
        return result

    if "twice" not in note:
        add(f"change {note}", _change, normal(3, 4, 5))

add("take", lambda p, x, i: p.take(x, i), normal(3, 4), values([0, 11], [-1, 5]))
add("take_along_dim", lambda p, x, i: p.take_along_dim(x, i, 1), normal(3, 4), integers(0, 4, 1, 2))
add("put", lambda p, x, i, y: x.put(i, y), normal(3, 4), values(1, 7, -1), normal(3))
add("put accumulating", lambda p, x, i, y: x.put(i, y, accumulate=True), normal(3, 4), values(1, 7, 1), normal(3))
add("index_add", lambda p, x, i, y: p.index_add(x, 1, i, y, alpha=2), normal(2, 3), values(0, 2, 0, 1), normal(2, 4))
add("index_copy", lambda p, x, i, y: p.index_copy(x, 0, i, y), normal(4, 3), values(2, 0), normal(2, 3))
add("index_fill", lambda p, x, i: p.index_fill(x, 1, i, 2.5), normal(3, 4), values(3, -4))
add("index_put", lambda p, x, i, y: p.index_put(x, (i,), y), normal(4, 3), values(2, 0), normal(2, 3))
add("index_put accumulating", lambda p, x, i, j, y: p.index_put(x, (i, j), y, accumulate=True), normal(4, 3),
    values(2, 0, 2), values(1, 1, 1), normal(3))  # fmt: skip
add("masked_scatter", lambda p, x, m, y: p.masked_scatter(x, m, y), normal(3, 4), booleans(3, 4), normal(12))
add("scatter a value", lambda p, x, i: p.scatter(x, 1, i, 2.5), normal(2, 4), values([2, 0], [3, 1]))
add("scatter a keyword value", lambda p, x, i: p.scatter(x, 1, i, value=2.5), normal(2, 4), values([2, 0], [3, 1]))
for reduce in ("sum", "prod", "mean", "amax", "amin"):
    for include in (True, False):
        add(f"scatter_reduce {reduce} {include}",
            lambda p, x, i, y, r=reduce, f=include: p.scatter_reduce(x, 0, i, y, r, include_self=f), distinct(3, 4),
            integers(0, 3, 5, 3), Input(lambda rng: rng.permutation(15).reshape(5, 3) * 0.11 - 0.71))  # fmt: skip
add("nonzero as tuple", lambda p, x: list(p.nonzero(x, as_tuple=True)), booleans(3, 4))
add("argwhere", "argwhere", booleans(3, 4))

# -- order ---------------------------------------------------------------------------------------------------------

for dim in (0, 1, -1):
    for descending in (False, True):
        add(f"sort {dim} {descending}", lambda p, x, d=dim, f=descending: p.sort(x, d, f), distinct(3, 4, 5))
        add(f"topk {dim} {descending}", lambda p, x, d=dim, f=descending: p.topk(x, 2, d, f), distinct(3, 4, 5))
    add(f"kthvalue {dim}", lambda p, x, d=dim: p.kthvalue(x, 2, d), distinct(3, 4, 5))
    add(f"median {dim}", lambda p, x, d=dim: p.median(x, d), distinct(3, 4, 5))
    add(f"nanmedian {dim}", lambda p, x, d=dim: p.nanmedian(x, d, True), distinct(3, 4, 5))
    add(f"quantile {dim}", lambda p, x, d=dim: p.quantile(x, 0.3, d), distinct(3, 4, 5))
    for name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
        loose(f"{name} {dim}", lambda p, x, f=name, d=dim: getattr(p, f)(x, d), distinct(3, 4, 5))
    add(f"diff {dim}", lambda p, x, d=dim: p.diff(x, dim=d), normal(3, 4, 5))
add("sort stable", lambda p, x: p.sort(x, dim=1, stable=True), integers(0, 3, 4, 40))
add("sort stable descending", lambda p, x: p.sort(x, dim=1, descending=True, stable=True), integers(0, 3, 4, 40))
add("sort of rank 0", "sort", normal())
add("argsort", lambda p, x: p.argsort(x, 0), distinct(4, 3))
add("msort", "msort", distinct(4, 3))
add("cumprod with zeros", lambda p, x: p.cumprod(x, 1), Input(lambda rng: rng.integers(-1, 3, (3, 7)).astype(float)))
add("cumsum of integers", lambda p, x: p.cumsum(x, 0), integers(-5, 5, 4, 3))
add("median of all", "median", distinct(3, 4))
add(
    "median with NaN", lambda p, x: p.median(x, 0), values([1.0, float("nan")], [2.0, 1.0], [3.0, 2.0], dtype="float64")
)
for interpolation in ("linear", "lower", "higher", "midpoint", "nearest"):
    add(f"quantile {interpolation}",
        lambda p, x, i=interpolation: p.quantile(x, x.new_tensor([0.2, 0.5, 0.9]), 1, True, interpolation=i),
        distinct(3, 8))  # fmt: skip
add("nanquantile", lambda p, x: p.nanquantile(x, 0.4, 0),
    values([1.0, float("nan")], [2.0, 1.0], [3.0, 2.0], dtype="float64"))  # fmt: skip
add("mode", lambda p, x: p.mode(x, 1).values, integers(0, 4, 3, 9))
add("unique", lambda p, x: list(p.unique(x, return_inverse=True, return_counts=True)), integers(0, 6, 3, 4))
add("unique of rows", lambda p, x: list(p.unique(x, return_inverse=True, return_counts=True, dim=0)),
    integers(0, 2, 6, 2))  # fmt: skip
add("unique_consecutive", lambda p, x: list(p.unique_consecutive(x, return_inverse=True, return_counts=True)),
    integers(0, 2, 3, 5))  # fmt: skip
add("searchsorted", lambda p, s, x: p.searchsorted(s, x), values([1.0, 2.0, 4.0], [0.0, 2.0, 2.0], dtype="float64"),
    values([2.0, 5.0], [2.0, -1.0], dtype="float64"))  # fmt: skip
add("bucketize", lambda p, x, b: p.bucketize(x, b, right=True), values(0.5, 2.0, 9.0, dtype="float64"),
    values(1.0, 2.0, 4.0, dtype="float64"))  # fmt: skip
add("bincount", "bincount", integers(0, 6, 10), minlength=9)
add("bincount with weights", "bincount", integers(0, 6, 10), Input(lambda rng: rng.uniform(size=10), gradient=False))
add("histc", "histc", Input(lambda rng: rng.uniform(-1, 3, 20), gradient=False), bins=5, min=0, max=2)
add("aminmax", lambda p, x: p.aminmax(x, dim=1), distinct(3, 4))
_GAPS = values([1.0, float("nan"), 3.0], [2.0, 1.5, float("nan")], dtype="float64")
add("nansum", lambda p, x: p.nansum(x, 1), _GAPS)
add("nanmean", lambda p, x: p.nanmean(x, 1), _GAPS)
add("diff prepended", lambda p, x, y: p.diff(x, 2, prepend=y), normal(2, 4), normal(2, 1))
add("trapezoid", lambda p, y, x: p.trapezoid(y, x), normal(2, 4), normal(4))
add("cumulative_trapezoid", lambda p, y: p.cumulative_trapezoid(y, dx=0.5), normal(2, 4))
loose("cov", "cov", normal(3, 6))
loose("corrcoef", "corrcoef", normal(3, 6))

# -- products ------------------------------------------------------------------------------------------------------

for equation, *shapes in (
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ii->i", (3, 3)),
    ("ii", (3, 3)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)), ("...ij,...jk->...ik", (2, 2, 3), (3, 4)),
    ("i,j->ij", (3,), (4,)), ("ij,ij->", (2, 3), (2, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)), ("i...->...", (3, 2, 4)), ("bn,anm,bm->ba", (2, 3), (5, 3, 4), (2, 4)),
    ("ba", (2, 3)), ("iij->j", (3, 3, 2)), ("ij,j->i", (2, 3), (1,)), (" i j , j k -> k i ", (2, 3), (3, 4)),
):  # fmt: skip
    loose(f"einsum {equation}", lambda p, *x, e=equation: p.einsum(e, *x), *(normal(*shape) for shape in shapes))
add("tensordot", lambda p, x, y: p.tensordot(x, y, 2), normal(2, 3, 4), normal(3, 4, 5))
add("tensordot of dimensions", lambda p, x, y: p.tensordot(x, y, ([2, 0], [0, 1])), normal(2, 3, 4), normal(4, 2, 5))
add("kron", "kron", normal(2, 3), normal(2, 1, 2))
add("inner", "inner", normal(2, 3), normal(4, 3))
add("cross", lambda p, x, y: p.cross(x, y, dim=1), normal(2, 3), normal(2, 3))
add("vdot", "vdot", normal(3), normal(3))
add("baddbmm", lambda p, x, a, b: p.baddbmm(x, a, b, beta=0.5, alpha=2), normal(4), normal(2, 3, 2), normal(2, 2, 4))
add("addbmm", "addbmm", normal(3, 4), normal(2, 3, 2), normal(2, 2, 4))
add("addmv", "addmv", normal(3), normal(3, 2), normal(2))
add("addr", lambda p, x, a, b: p.addr(x, a, b, alpha=0.5), normal(3, 2), normal(3), normal(2))
loose("chain_matmul", "chain_matmul", normal(2, 3), normal(3, 4), normal(4, 2))
loose("matrix_power", lambda p, x: p.matrix_power(x, 5), normal(3, 3))
for norm in (1.0, 2.0, 3.0):
    loose(f"cdist {norm}", lambda p, x, y, n=norm: p.cdist(x, y, n), normal(2, 3, 4), normal(2, 5, 4))

# -- special -------------------------------------------------------------------------------------------------------

for name in ("i0e", "i1e", "erfcx", "log_ndtr"):
    loose(f"special.{name}", lambda p, x, f=name: getattr(p.special, f)(x), normal(3, 4))
for name in ("i0", "i1", "ndtr"):
    loose(f"special.{name}", lambda p, x, f=name: getattr(p.special, f)(x), normal(3, 4))
loose("special.entr", lambda p, x: p.special.entr(x), positive(3, 4))
loose("special.ndtri", lambda p, x: p.special.ndtri(x), Input(lambda rng: rng.uniform(0.05, 0.95, (3, 4))))
loose("special.xlog1py", lambda p, x, y: p.special.xlog1py(x, y), normal(3, 4), positive(4))
loose("special.zeta", lambda p, x: p.special.zeta(3.0, x), positive(5))

# -- norms and products --------------------------------------------------------------------------------------------

for order in (-2, -1, 0.5, 3, float("inf"), float("-inf")):
    loose(f"vector_norm {order}", lambda p, x, o=order: p.linalg.vector_norm(x, o, 1), apart(3, 4))
for order in ("fro", "nuc", 1, -1, 2, -2, float("inf"), float("-inf")):
    loose(
        f"matrix_norm {order}", lambda p, x, o=order: p.linalg.matrix_norm(x, o, (0, 2), keepdim=True), apart(3, 2, 4)
    )
loose("linalg.norm", lambda p, x: p.linalg.norm(x), apart(3, 4))
loose("linalg.norm of vectors", lambda p, x: p.linalg.norm(x, 3, dim=0), apart(3, 4))
loose("nuclear norm", lambda p, x: p.norm(x, "nuc"), apart(3, 4))
loose("norm of order -1", lambda p, x: p.norm(x, -1), apart(3, 4))
add("linalg.cross", lambda p, x, y: p.linalg.cross(x, y, dim=0), normal(3, 4), normal(3, 1))
add("linalg.diagonal", lambda p, x: p.linalg.diagonal(x, offset=1), normal(2, 3, 4))
loose("linalg.vecdot", lambda p, x, y: p.linalg.vecdot(x, y), normal(3, 4), normal(4))
loose("linalg.multi_dot", lambda p, x, y, z: p.linalg.multi_dot([x, y, z]), normal(3), normal(3, 4), normal(4, 2))
add("linalg.vander", lambda p, x: p.linalg.vander(x, N=3), normal(4))
loose(
    "chain_matmul in another order",
    lambda p, x, y, z: p.chain_matmul(x, y, z),
    normal(2, 5),
    normal(5, 3),
    normal(3, 4),
)

# -- places and differences ----------------------------------------------------------------------------------------

for reduce in ("prod", "mean", "amax", "amin"):
    for whole in (True, False):
        loose(
            f"index_reduce {reduce} {whole}",
            lambda p, x, i, y, r=reduce, w=whole: p.index_reduce(x, 0, i, y, r, include_self=w),
            apart(4, 3),
            values(1, 1, 3, dtype="int64"),
            apart(3, 3),
        )
add("nonzero_static", lambda p, x: p.nonzero_static(x, size=9), integers(0, 2, 3, 4))
add("gradient", lambda p, x: p.gradient(x), normal(4, 5))
add("gradient to second order at the edges",
    lambda p, x, s, t: p.gradient(x, spacing=(s, t), edge_order=2), normal(4, 5),
    constant(values(0.0, 0.5, 2.0, 2.25, dtype="float64")),
    constant(values(0.0, 0.5, 0.75, 2.0, 2.25, dtype="float64")))  # fmt: skip
add("histogram", lambda p, x: list(p.histogram(x, 4, range=(-1.0, 1.0))), constant(normal(20)))
add("histogram with edges", lambda p, x, e: list(p.histogram(x, e, density=True)), constant(normal(20)),
    constant(values(-1.0, 0.0, 0.5, 2.0, dtype="float64")))  # fmt: skip
add("rsub with alpha", lambda p, x, y: p.rsub(x, y, alpha=2.5), normal(3), normal(3))
add("diff no times", lambda p, x, y: p.diff(x, 0, prepend=y), normal(3), normal(2))
add("logspace of integers", lambda p, x: p.logspace(1.2, 3.9, 3, dtype=p.int64, device=x.device) + x, integers(0, 3, 3))
add("addr of bool", lambda p, x, y, z: p.addr(x, y, z, beta=0, alpha=2), booleans(2, 3), booleans(2), booleans(3))
