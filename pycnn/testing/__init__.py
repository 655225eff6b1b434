"""Comparing results with what was expected, and tensors to try things with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pycnn import _core
from pycnn._core import Tensor

__all__ = ["assert_close", "make_tensor"]

_TOLERANCES = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}

Message = str | Callable[[str], str] | None


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Raises AssertionError, saying where, unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Args:
        actual, expected: tensors, arrays or numbers of equal shapes; or sequences or mappings of such.
        allow_subclasses: whether tensors may be of different classes.
        rtol, atol: both or none; by default according to the dtype: (1.3e-6, 1e-5) for float32, (1e-7, 1e-7) for
            float64, (1e-3, 1e-5) for float16, (1.6e-2, 1e-5) for bfloat16, 0 for the others.
        equal_nan: whether NaN equals NaN.
        check_dtype: whether dtypes must be equal.
        check_stride: whether strides must be equal.
        check_device, check_layout: accepted; there is one of each.
        msg: another message, or a function from the message to another.

    Errors: AssertionError; TypeError for what cannot be compared; ValueError for one tolerance without the other.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            "Both 'rtol' and 'atol' must be either specified or omitted, "
            f"but got no {'rtol' if rtol is None else 'atol'}."
        )
    tolerances = None if rtol is None or atol is None else (float(rtol), float(atol))
    comparison = _Comparison(tolerances, equal_nan, check_dtype, check_stride, allow_subclasses)
    found = comparison.difference(actual, expected, ())
    if found is not None:
        raise AssertionError(found if msg is None else msg(found) if callable(msg) else msg)


class _Comparison:
    def __init__(
        self,
        tolerances: tuple[float, float] | None,
        equal_nan: bool,
        check_dtype: bool,
        check_stride: bool,
        allow_subclasses: bool,
    ) -> None:
        self.tolerances = tolerances
        self.equal_nan = equal_nan
        self.check_dtype = check_dtype
        self.check_stride = check_stride
        self.allow_subclasses = allow_subclasses

    def difference(self, actual: Any, expected: Any, path: tuple[Any, ...]) -> str | None:
        """What is wrong, or None."""
        message: str | None
        if actual is None or expected is None:
            message = None if actual is expected else f"None mismatch: {actual} is not {expected}"
        elif isinstance(actual, Tensor) and isinstance(expected, Tensor):
            same = self.allow_subclasses or type(actual) is type(expected)
            message = self._tensors(actual, expected) if same else self._incomparable(actual, expected)
        elif isinstance(actual, np.ndarray) and isinstance(expected, np.ndarray):
            message = self._tensors(_core.from_numpy(actual), _core.from_numpy(expected))
        elif isinstance(actual, (bool, int, float, np.number)) and isinstance(expected, (bool, int, float, np.number)):
            message = self._numbers(actual, expected)
        elif isinstance(actual, Mapping) and isinstance(expected, Mapping):
            return self._mappings(actual, expected, path)
        elif all(isinstance(value, Sequence) and not isinstance(value, str) for value in (actual, expected)):
            return self._sequences(actual, expected, path)
        else:
            message = self._incomparable(actual, expected)
        if message is not None and path:
            message += "\n\nThe failure occurred for item " + "".join(f"[{key!r}]" for key in path)
        return message

    def _incomparable(self, actual: Any, expected: Any) -> str:
        raise TypeError(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.")

    def _mappings(self, actual: Mapping[Any, Any], expected: Mapping[Any, Any], path: tuple[Any, ...]) -> str | None:
        missing = [key for key in expected if key not in actual]
        additional = [key for key in actual if key not in expected]
        if missing or additional:
            return (
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {missing}\nAdditional keys in the actual mapping: {additional}"
            )
        found = (self.difference(actual[key], expected[key], (*path, key)) for key in expected)
        return next((message for message in found if message is not None), None)

    def _sequences(self, actual: Sequence[Any], expected: Sequence[Any], path: tuple[Any, ...]) -> str | None:
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
        found = (self.difference(a, b, (*path, i)) for i, (a, b) in enumerate(zip(actual, expected, strict=True)))
        return next((message for message in found if message is not None), None)

    def _numbers(self, actual: Any, expected: Any) -> str | None:
        if self.check_dtype and type(actual) is not type(expected):
            return f"The (d)types do not match: {type(actual)} != {type(expected)}."
        whole = all(isinstance(value, (bool, int, np.integer)) for value in (actual, expected))
        rtol, atol = self.tolerances or ((0.0, 0.0) if whole else _TOLERANCES["float64"])
        return self._scalars(actual, expected, rtol, atol)

    def _scalars(self, actual: Any, expected: Any, rtol: float, atol: float) -> str | None:
        if actual == expected or (self.equal_nan and actual != actual and expected != expected):
            return None
        difference = abs(actual - expected)
        if np.isfinite(expected) and difference <= atol + rtol * abs(expected):
            return None
        relative = difference / abs(expected) if expected != 0 else float("inf")
        head = f"Expected {expected} but got {actual}."
        if rtol == atol == 0:
            return (
                f"Scalars are not equal!\n\n{head}\nAbsolute difference: {difference}\nRelative difference: {relative}"
            )
        return (
            f"Scalars are not close!\n\n{head}\nAbsolute difference: {difference} (up to {atol:g} allowed)\n"
            f"Relative difference: {relative} (up to {rtol:g} allowed)"
        )

    def _tensors(self, actual: Tensor, expected: Tensor) -> str | None:
        def mismatch(attribute: str, a: Any, b: Any) -> str:
            return f"The values for attribute '{attribute}' do not match: {a} != {b}."

        if tuple(actual.shape) != tuple(expected.shape):
            return mismatch("shape", actual.shape, expected.shape)
        if self.check_dtype and actual.dtype != expected.dtype:
            return mismatch("dtype", actual.dtype, expected.dtype)
        if self.check_stride and actual.stride() != expected.stride():
            return mismatch("stride()", actual.stride(), expected.stride())
        kinds = [str(tensor.dtype).rpartition(".")[2] for tensor in (actual, expected)]
        either = [_TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds]
        rtol, atol = self.tolerances or (max(t[0] for t in either), max(t[1] for t in either))
        whole = all(kind not in _TOLERANCES for kind in kinds)
        common = _core.int64 if whole else _core.float64 if "float64" in kinds else _core.float32
        a, b = (t.detach().to(common).numpy() for t in (actual, expected))
        with np.errstate(all="ignore"):
            difference = np.abs(a - b)
            bad = ~((a == b) | (np.isfinite(b) & (difference <= atol + rtol * np.abs(b))))
            if self.equal_nan:
                bad &= ~(np.isnan(a) & np.isnan(b))
            if not bad.any():
                return None
            if a.ndim == 0:
                return self._scalars(a.item(), b.item(), rtol, atol)
            relative = difference / np.abs(b)
            for values in (difference, relative):
                values[~bad] = 0
        lines = [f"Mismatched elements: {int(bad.sum())} / {bad.size} ({bad.sum() / bad.size:.1%})"]
        for name, values, allowed in (("absolute", difference, atol), ("relative", relative, rtol)):
            index = tuple(int(i) for i in np.unravel_index(np.argmax(values), values.shape))
            line = f"Greatest {name} difference: {values[index].item()} at index {index}"
            lines.append(line if rtol == atol == 0 else f"{line} (up to {allowed:g} allowed)")
        kind = "equal" if rtol == atol == 0 else "close"
        return f"Tensor-likes are not {kind}!\n\n" + "\n".join(lines)


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any = None,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of values drawn uniformly from [low, high).

    Args:
        shape: its sizes.
        dtype: [-9, 9) is the default for floating ones, [-9, 10) for integers ([0, 10) for uint8), {0, 1} for bool.
        device: "cpu".
        low, high: the interval.
        requires_grad: whether it is a leaf that does.
        noncontiguous, memory_format: accepted; layouts are not seen.
        exclude_zero: 0 becomes the smallest positive number (1 for integers).
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    kind = str(dtype).rpartition(".")[2]
    if kind == "bool":
        result = _core.randint(0, 2, sizes).to(dtype)
    elif kind in _TOLERANCES:
        least, most = -9.0 if low is None else low, 9.0 if high is None else high
        result = (_core.rand(sizes, dtype=_core.float64) * (most - least) + least).to(dtype)
    else:
        least = (0 if kind == "uint8" else -9) if low is None else int(low)
        result = _core.randint(int(least), 10 if high is None else int(high), sizes).to(dtype)
    if exclude_zero:
        from pycnn._tensor_types import finfo

        result = _core.where(result == 0, finfo(dtype).tiny if kind in _TOLERANCES else 1, result).to(dtype)
    return result.requires_grad_() if requires_grad else result
