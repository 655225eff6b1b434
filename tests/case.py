"""What a row of the table in operator_cases.py is made of, and how one row is run."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Input:
    """One sample operand: how to draw it, whether its gradient is checked, how it lies in memory."""

    make: Callable[[np.random.Generator], Array]
    gradient: bool = True
    layout: str = "contiguous"


def normal(*shape: int) -> Input:
    return Input(lambda rng: rng.standard_normal(shape))


def positive(*shape: int) -> Input:
    return Input(lambda rng: rng.uniform(0.5, 2.0, shape))


def unit(*shape: int) -> Input:
    """Inside (0, 1), away from both ends."""
    return Input(lambda rng: rng.uniform(0.05, 0.95, shape))


def distinct(*shape: int) -> Input:
    """No two elements nearer than 0.1, so that a small step never changes which is the largest; none at 0."""
    size = int(np.prod(shape))
    return Input(lambda rng: (rng.permutation(size).reshape(shape) - size // 2 + 0.5) * 0.1)


def apart(*shape: int) -> Input:
    """At least 0.1 away from 0, where relu and abs have their kink."""

    def make(rng: np.random.Generator) -> Array:
        values = rng.standard_normal(shape)
        return values + np.where(values < 0, -0.1, 0.1)

    return Input(make)


def probabilities(*shape: int) -> Input:
    """Sums to one along dimension 1."""

    def make(rng: np.random.Generator) -> Array:
        values = rng.uniform(0.1, 1.0, shape)
        return values / values.sum(1 if len(shape) > 1 else 0, keepdims=True)

    return Input(make)


def integers(low: int, high: int, *shape: int, dtype: str = "int64") -> Input:
    return Input(lambda rng: rng.integers(low, high, shape).astype(dtype), gradient=False)


def booleans(*shape: int) -> Input:
    return Input(lambda rng: rng.integers(0, 2, shape).astype(bool), gradient=False)


def values(*elements: Any, dtype: str = "int64") -> Input:
    return Input(lambda rng: np.array(elements, dtype), gradient=False)


def constant(spec: Input) -> Input:
    """An operand whose gradient is not asked for."""
    return replace(spec, gradient=False)


def permuted(spec: Input) -> Input:
    """The same values, with the dimensions in reverse order in memory."""
    return replace(spec, layout="permuted")


def strided(spec: Input) -> Input:
    """The same values, every second element of the last dimension of a wider tensor."""
    return replace(spec, layout="strided")


@dataclass(frozen=True)
class Case:
    """One call of one operator. `function`: "F.relu" of nn.functional, "add" of the package, ".sum" a method, or
    a callable of (package, *tensors). `oracle`: the same in NumPy; "same" if the callable runs on NumPy as it is,
    "pytorch" if the comparison with PyTorch is all there is."""

    name: str
    function: str | Callable[..., Any]
    inputs: tuple[Input | None, ...]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    oracle: Callable[..., Any] | str | None = None
    random: bool = False
    float32_tolerance: float = 2e-6

    def arrays(self) -> list[Array | None]:
        """Float64 samples that float32 represents exactly; the same in every process."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        drawn = [None if spec is None else spec.make(rng) for spec in self.inputs]
        return [a.astype(np.float32).astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in drawn]

    def call(self, package: ModuleType, tensors: list[Any]) -> list[Any]:
        """The operator's results, always as a list."""
        if not isinstance(self.function, str):
            results = self.function(package, *tensors, **self.keywords)
        elif self.function.startswith("."):
            results = getattr(tensors[0], self.function[1:])(*tensors[1:], **self.keywords)
        else:
            owner = package.nn.functional if self.function.startswith("F.") else package
            results = getattr(owner, self.function.removeprefix("F."))(*tensors, **self.keywords)
        return list(results) if isinstance(results, (tuple, list)) else [results]


@dataclass
class Result:
    outputs: list[Array]
    gradients: list[Array | None]
    differentiable: list[bool]

    def bits(self) -> list[tuple[str, tuple[int, ...], bytes]]:
        """Everything that must agree when two runs are said to be equal bit for bit."""
        arrays = [*self.outputs, *(g for g in self.gradients if g is not None)]
        return [(str(a.dtype), a.shape, a.tobytes()) for a in arrays]


def _leaf(package: ModuleType, spec: Input, array: Array, device: str) -> tuple[Any, Any, Callable[[Array], Array]]:
    """A leaf tensor, the view of it that holds `array`, and the way from the leaf's gradient to the view's."""
    if spec.layout == "permuted":
        leaf = package.tensor(np.array(array.T, order="C"), device=device)
        return leaf, lambda: leaf.permute(*reversed(range(array.ndim))), lambda gradient: gradient.T
    if spec.layout == "strided":
        leaf = package.tensor(np.repeat(array, 2, axis=-1), device=device)
        return leaf, lambda: leaf[..., ::2], lambda gradient: gradient[..., ::2]
    leaf = package.tensor(np.array(array, order="C"), device=device)
    return leaf, lambda: leaf, lambda gradient: gradient


def numpy_of(tensor: Any) -> Array:
    return np.array(tensor.detach().cpu().numpy())


def cotangents(case: Case, outputs: list[Any]) -> list[Array]:
    """A random direction per output, exact in float32."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()) + 1)
    return [np.float64(np.float32(rng.standard_normal(tuple(o.shape)))) for o in outputs]


def run(
    package: ModuleType, case: Case, dtype: str = "float64", arrays: list[Array | None] | None = None,
    gradients: bool = True, device: str = "cpu",
) -> Result:  # fmt: skip
    """Calls the operator and, if asked, backpropagates a random direction through all floating outputs at once.

    What only creates tensors does so on the device; elsewhere the device of its operands is all an operator knows.
    """
    leaves, views, backs = [], [], []
    for spec, array in zip(case.inputs, case.arrays() if arrays is None else arrays, strict=True):
        if spec is None or array is None:
            leaves.append(None), views.append(None), backs.append(None)
            continue
        floating = array.dtype.kind == "f"
        leaf, view, back = _leaf(package, spec, array.astype(dtype) if floating else array, device)
        if gradients and spec.gradient and floating:
            leaf.requires_grad_()
        leaves.append(leaf), views.append(view()), backs.append(back)
    if case.random:
        package.manual_seed(7)
    with nullcontext() if any(view is not None for view in views) else package.device(device):
        results = case.call(package, views)
    wanted = [bool(gradients and r.requires_grad) for r in results]
    if any(wanted):
        directions = [package.tensor(d.astype(dtype), device=device) for d in cotangents(case, results)]
        parts = [(r * d).sum() for r, d, w in zip(results, directions, wanted, strict=True) if w]
        sum(parts[1:], parts[0]).backward()
    found: list[Array | None] = [
        back(numpy_of(leaf.grad)) if leaf is not None and leaf.grad is not None else None
        for leaf, back in zip(leaves, backs, strict=True)
    ]
    return Result([numpy_of(r) for r in results], found, wanted)


def in_bfloat16(case: Case) -> Case:
    """The same operator on operands cast to bfloat16; what is given and returned stays as it was."""

    def function(package: ModuleType, *tensors: Any, **_: Any) -> list[Any]:
        narrow = [t.bfloat16() if t is not None and t.is_floating_point() else t for t in tensors]
        return [r.float() if r.is_floating_point() else r for r in case.call(package, narrow)]

    return replace(case, function=function)


def distance(actual: Array, expected: Array) -> float:
    """|actual - expected| / |expected| in the 2-norm; non-finite elements must be the same ones."""
    assert actual.shape == expected.shape, f"shape {actual.shape} instead of {expected.shape}"
    if actual.size == 0:
        return 0.0
    a, e = actual.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    finite = np.isfinite(e)
    np.testing.assert_array_equal(a[~finite], e[~finite])
    norm = float(np.linalg.norm(e[finite]))
    return float(np.linalg.norm(a[finite] - e[finite])) / (norm if norm > 0 else 1.0)
