"""The one table of operator calls that the tests share: every operator, the corners of its arguments, tiny sizes.

A new operator gets rows here; test_operators.py checks each row's gradient, precision, determinism and modes, and
compares it with PyTorch; test_oracles.py compares it with NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cases_elementary
import cases_linear_algebra
import cases_losses
import cases_sequences
import cases_tensor
import cases_vision
import numpy as np
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
    probabilities,
    strided,
    unit,
    values,
)
from scipy import special

CASES: list[Case] = []


def add(name: str, function: str | Callable[..., Any], *inputs: Input | None, oracle: Any = None, random: bool = False,
        float32_tolerance: float = 2e-6, **keywords: Any) -> None:  # fmt: skip
    CASES.append(Case(name, function, inputs, keywords, oracle, random, float32_tolerance))


def _layer(name: str, function: str, note: str, x: Input, weight: tuple[int, ...], bias: bool = True, **keywords: Any):
    """One layer with weights; for transposed convolutions the bias has groups * weight[1] elements."""
    outputs = weight[1] * keywords.get("groups", 1) if "transpose" in function else weight[0]
    add(f"{name} {note}", function, x, normal(*weight), normal(outputs) if bias else None, **keywords)


# -- convolution ---------------------------------------------------------------------------------------------------

for note, x, weight, keywords in [
    ("plain", normal(2, 3, 6, 7), (4, 3, 3, 3), {}),
    ("without bias", normal(2, 3, 6, 7), (4, 3, 3, 2), {"bias": False}),
    ("1 channel, stride 2", normal(2, 1, 7, 8), (3, 1, 3, 3), {"stride": 2}),
    ("17 channels, stride (2, 1), padding (1, 2)", normal(1, 17, 5, 6), (3, 17, 3, 3),
     {"stride": (2, 1), "padding": (1, 2)}),
    ("to 17 channels", normal(1, 3, 4, 5), (17, 3, 2, 2), {"padding": 1}),
    ("17 to 17 channels", normal(1, 17, 4, 4), (17, 17, 2, 2), {}),
    ("dilation 2", normal(2, 3, 7, 8), (2, 3, 3, 3), {"dilation": 2, "padding": 2}),
    ("dilation (1, 3), stride 2", normal(1, 2, 6, 9), (3, 2, 2, 3), {"dilation": (1, 3), "stride": 2}),
    ("padding same", normal(2, 3, 5, 6), (2, 3, 3, 5), {"padding": "same"}),
    ("padding same, even kernel, dilation", normal(1, 3, 6, 5), (2, 3, 2, 4), {"padding": "same", "dilation": (3, 1)}),
    ("padding valid", normal(2, 3, 5, 6), (2, 3, 3, 3), {"padding": "valid", "stride": 2}),
    ("padding larger than the kernel", normal(1, 2, 3, 3), (2, 2, 2, 2), {"padding": 3}),
    ("groups 2", normal(2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    ("groups 3 of 1, stride 2", normal(1, 3, 6, 6), (3, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    ("depthwise 17, dilation 2", normal(1, 17, 5, 5), (17, 1, 3, 3), {"groups": 17, "dilation": 2, "padding": 2}),
    ("depthwise with multiplier 2", normal(1, 3, 5, 4), (6, 1, 2, 2), {"groups": 3}),
    ("1x1", normal(2, 3, 4, 5), (5, 3, 1, 1), {}),
    ("1x1, stride 2, 17 channels", normal(1, 17, 5, 5), (3, 17, 1, 1), {"stride": 2}),
    ("1x1 image", normal(3, 3, 1, 1), (4, 3, 1, 1), {}),
    ("1x1 image, padding", normal(2, 3, 1, 1), (2, 3, 3, 3), {"padding": 1}),
    ("one row", normal(2, 3, 1, 6), (2, 3, 1, 3), {"padding": (0, 1)}),
    ("kernel as large as the image", normal(2, 3, 4, 5), (2, 3, 4, 5), {}),
    ("empty batch", normal(0, 3, 5, 5), (2, 3, 3, 3), {}),
    ("without a batch", normal(3, 5, 6), (2, 3, 3, 3), {"padding": 1}),
    ("permuted input", permuted(normal(2, 3, 5, 6)), (2, 3, 3, 3), {"padding": 1}),
    ("strided input", strided(normal(2, 3, 5, 6)), (2, 3, 3, 3), {"stride": 2}),
]:  # fmt: skip
    _layer("conv2d", "F.conv2d", note, x, weight, **keywords)

add("conv2d permuted weight", "F.conv2d", normal(2, 3, 5, 5), permuted(normal(4, 3, 3, 2)), strided(normal(4)))

for note, x, weight, keywords in [
    ("plain", normal(2, 3, 9), (4, 3, 3), {}),
    ("stride 2, padding 1, dilation 2", normal(2, 3, 11), (2, 3, 3), {"stride": 2, "padding": 1, "dilation": 2}),
    ("17 channels, groups 17", normal(1, 17, 6), (17, 1, 3), {"groups": 17}),
    ("1 channel, padding same", normal(2, 1, 6), (1, 1, 4), {"padding": "same"}),
    ("length 1", normal(2, 3, 1), (2, 3, 1), {"bias": False}),
    ("empty batch", normal(0, 3, 5), (2, 3, 3), {}),
    ("without a batch", normal(3, 7), (2, 3, 3), {}),
    ("permuted input", permuted(normal(2, 3, 7)), (2, 3, 3), {}),
]:
    _layer("conv1d", "F.conv1d", note, x, weight, **keywords)

for note, x, weight, keywords in [
    ("plain", normal(1, 2, 4, 3, 5), (3, 2, 2, 2, 3), {}),
    ("stride, padding, dilation", normal(1, 3, 5, 4, 4), (2, 3, 2, 3, 2),
     {"stride": (1, 2, 1), "padding": (1, 1, 0), "dilation": (2, 1, 1)}),
    ("groups 2", normal(1, 4, 3, 3, 3), (2, 2, 2, 2, 2), {"groups": 2}),
    ("padding same", normal(1, 1, 3, 4, 3), (2, 1, 3, 2, 1), {"padding": "same"}),
    ("empty batch", normal(0, 2, 3, 3, 3), (2, 2, 2, 2, 2), {}),
]:  # fmt: skip
    _layer("conv3d", "F.conv3d", note, x, weight, **keywords)

for note, x, weight, keywords in [
    ("plain", normal(2, 3, 4, 5), (3, 2, 3, 3), {}),
    ("without bias", normal(1, 3, 3, 4), (3, 2, 2, 3), {"bias": False}),
    ("stride 2, padding 1, output padding 1", normal(1, 3, 4, 3), (3, 2, 3, 3),
     {"stride": 2, "padding": 1, "output_padding": 1}),
    ("stride (3, 1), dilation (1, 2)", normal(1, 2, 3, 4), (2, 3, 2, 2), {"stride": (3, 1), "dilation": (1, 2)}),
    ("groups 3", normal(1, 3, 4, 4), (3, 2, 2, 2), {"groups": 3, "stride": 2}),
    ("17 to 1 channels", normal(1, 17, 3, 3), (17, 1, 2, 2), {}),
    ("1x1 image", normal(2, 1, 1, 1), (1, 3, 3, 3), {"padding": 1}),
    ("empty batch", normal(0, 3, 4, 4), (3, 2, 3, 3), {}),
    ("without a batch", normal(3, 3, 4), (3, 2, 2, 2), {}),
    ("permuted input", permuted(normal(2, 3, 3, 4)), (3, 2, 2, 2), {"stride": 2}),
]:  # fmt: skip
    _layer("conv_transpose2d", "F.conv_transpose2d", note, x, weight, **keywords)
_layer("conv_transpose1d", "F.conv_transpose1d", "plain", normal(2, 3, 5), (3, 2, 3))
_layer("conv_transpose1d", "F.conv_transpose1d", "stride 3, output padding 2, groups 2", normal(1, 4, 4), (4, 1, 3),
       stride=3, output_padding=2, padding=1, groups=2)  # fmt: skip
_layer("conv_transpose3d", "F.conv_transpose3d", "plain", normal(1, 2, 2, 3, 2), (2, 2, 2, 2, 3))
_layer("conv_transpose3d", "F.conv_transpose3d", "stride, padding, output padding", normal(1, 1, 2, 3, 2),
       (1, 2, 2, 3, 2), stride=(1, 2, 2), padding=(0, 1, 0), output_padding=(0, 1, 1))  # fmt: skip

# -- linear --------------------------------------------------------------------------------------------------------

_layer("linear", "F.linear", "matrix", normal(5, 7), (3, 7))
_layer("linear", "F.linear", "vector", normal(7), (3, 7))
_layer("linear", "F.linear", "4 dimensions, without bias", normal(2, 1, 3, 5), (17, 5), bias=False)
_layer("linear", "F.linear", "1 to 1", normal(4, 1), (1, 1))
_layer("linear", "F.linear", "empty batch", normal(0, 5), (3, 5))
add("linear with a matrix of biases", "F.linear", normal(5, 7), normal(3, 7), normal(5, 3))
add("linear with a bias per row", "F.linear", normal(2, 5, 7), normal(3, 7), normal(1, 3))
add("linear permuted", "F.linear", permuted(normal(5, 7)), permuted(normal(3, 7)), strided(normal(3)))

# -- pooling -------------------------------------------------------------------------------------------------------

for name, x, keywords in [
    ("max_pool2d", distinct(2, 3, 6, 7), {"kernel_size": 2}),
    ("max_pool2d", distinct(2, 3, 7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", distinct(1, 2, 7, 6), {"kernel_size": (3, 2), "stride": (2, 3), "ceil_mode": True}),
    ("max_pool2d", distinct(1, 2, 8, 8), {"kernel_size": 3, "dilation": (2, 1), "padding": 1, "return_indices": True}),
    ("max_pool2d", distinct(1, 17, 5, 5), {"kernel_size": 2, "stride": 3, "ceil_mode": True, "return_indices": True}),
    ("max_pool2d", distinct(3, 1, 1), {"kernel_size": 1}),
    ("max_pool2d", distinct(0, 3, 6, 6), {"kernel_size": 2}),
    ("max_pool2d", permuted(distinct(2, 3, 6, 7)), {"kernel_size": 2, "return_indices": True}),
    ("max_pool1d", distinct(2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool1d", distinct(3, 10), {"kernel_size": 2, "dilation": 3, "return_indices": True}),
    ("max_pool3d", distinct(1, 2, 4, 5, 4), {"kernel_size": 2, "stride": (1, 2, 2), "return_indices": True}),
    ("max_pool3d", distinct(1, 1, 5, 4, 5), {"kernel_size": 3, "padding": 1, "stride": 2, "ceil_mode": True}),
    ("avg_pool2d", normal(2, 3, 6, 7), {"kernel_size": 2}),
    ("avg_pool2d", normal(2, 17, 7, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("avg_pool2d", normal(1, 2, 7, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", normal(1, 2, 6, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", normal(1, 2, 6, 8), {"kernel_size": (2, 3), "stride": (3, 2), "ceil_mode": True,
                                        "count_include_pad": False, "padding": (1, 0)}),
    ("avg_pool2d", normal(1, 2, 5, 5), {"kernel_size": 2, "divisor_override": 3}),
    ("avg_pool2d", normal(3, 4, 4), {"kernel_size": 4}),
    ("avg_pool2d", normal(0, 3, 6, 6), {"kernel_size": 2}),
    ("avg_pool1d", normal(2, 3, 9), {"kernel_size": 4, "stride": 2, "padding": 2, "ceil_mode": True}),
    ("avg_pool1d", strided(normal(2, 3, 5)), {"kernel_size": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool3d", normal(1, 2, 4, 5, 4), {"kernel_size": 2, "stride": (2, 1, 2), "padding": 1}),
    ("avg_pool3d", normal(1, 1, 3, 5, 4), {"kernel_size": (1, 2, 3), "ceil_mode": True, "divisor_override": 5}),
    ("adaptive_avg_pool1d", normal(2, 3, 7), {"output_size": 3}),
    ("adaptive_avg_pool2d", normal(2, 3, 7, 5), {"output_size": (3, 2)}),
    ("adaptive_avg_pool2d", normal(2, 17, 4, 4), {"output_size": 1}),
    ("adaptive_avg_pool2d", permuted(normal(1, 2, 3, 4)), {"output_size": (None, 6)}),
    ("adaptive_avg_pool3d", normal(1, 2, 3, 5, 4), {"output_size": (2, 3, 4)}),
    ("adaptive_max_pool1d", distinct(2, 3, 7), {"output_size": 3, "return_indices": True}),
    ("adaptive_max_pool2d", distinct(2, 3, 7, 5), {"output_size": (3, 2), "return_indices": True}),
    ("adaptive_max_pool2d", distinct(0, 3, 4, 4), {"output_size": 2}),
    ("adaptive_max_pool3d", distinct(1, 2, 3, 5, 4), {"output_size": (2, 3, 2)}),
]:  # fmt: skip
    add(f"{name} {len(CASES)} {', '.join(map(str, keywords.values()))}", f"F.{name}", x, **keywords)

# -- normalisation, dropout ----------------------------------------------------------------------------------------


def batch_norm(p: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any, **keywords: Any) -> Any:
    """The running statistics are returned too: training changes them in place."""
    result = p.nn.functional.batch_norm(x, mean, variance, weight, bias, **keywords)
    return result if mean is None else (result, mean, variance)


for note, shape in [("2 d", (5, 3)), ("3 d", (3, 4, 5)), ("4 d", (3, 3, 4, 4)), ("5 d", (2, 3, 2, 3, 2)),
                    ("17 channels", (2, 17, 3, 2)), ("1 channel", (4, 1, 2, 2))]:  # fmt: skip
    channels = shape[1]
    statistics = constant(normal(channels)), constant(positive(channels))
    affine = normal(channels), normal(channels)
    add(f"batch_norm train {note}", batch_norm, normal(*shape), *statistics, *affine, training=True, eps=1e-3,
        float32_tolerance=4e-6)  # fmt: skip
    add(f"batch_norm eval {note}", batch_norm, normal(*shape), *statistics, *affine, training=False)
add("batch_norm train without affine", batch_norm, normal(4, 3, 5), None, None, None, None, training=True,
    float32_tolerance=4e-6)  # fmt: skip
add("batch_norm train, momentum 0.5, permuted", batch_norm, permuted(normal(4, 3, 2, 3)), constant(normal(3)),
    constant(positive(3)), None, normal(3), training=True, momentum=0.5, float32_tolerance=4e-6)  # fmt: skip

for note, x, keywords in [
    ("3 d", normal(2, 5, 4), {"size": 3}),
    ("4 d", normal(2, 7, 3, 4), {"size": 5, "alpha": 0.5, "beta": 0.75, "k": 2.0}),
    ("even size", normal(1, 6, 2, 2), {"size": 4, "alpha": 0.3}),
    ("5 d, size above the channels", normal(1, 3, 2, 2, 2), {"size": 9, "alpha": 1.0}),
]:
    add(f"local_response_norm {note}", "F.local_response_norm", x, **keywords)

add("dropout 0.4", "F.dropout", normal(40, 5), p=0.4, random=True)
add("dropout 0.5 permuted", "F.dropout", permuted(normal(6, 5, 4)), p=0.5, random=True)
add("dropout 0", "F.dropout", normal(4, 5), p=0.0, oracle=lambda x, p: x)
add("dropout 1", "F.dropout", normal(4, 5), p=1.0, oracle=lambda x, p: 0 * x)
add("dropout in evaluation", "F.dropout", normal(4, 5), p=0.5, training=False, oracle=lambda x, p, training: x)

# -- activations ---------------------------------------------------------------------------------------------------

for name, keywords in [
    ("relu", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("sigmoid", {}),
    ("softplus", {}),
    ("softplus", {"beta": 3.0, "threshold": 2.0}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("silu", {}),
    ("tanh", {}),
]:
    suffix = "".join(f" {k} {v}" for k, v in keywords.items())
    oracle = np.tanh if name == "tanh" else None
    add(f"{name}{suffix}", f"F.{name}", apart(3, 4, 5), oracle=oracle, **keywords)
for name in ("relu", "silu"):
    add(f"{name} permuted", f"F.{name}", permuted(apart(3, 4, 2, 3)))
    add(f"{name} empty", f"F.{name}", apart(0, 4))
    add(f"{name} scalar", f"F.{name}", apart())
for name in ("softmax", "log_softmax"):
    for shape, dim in [
        ((4, 5), 1),
        ((4, 5), 0),
        ((2, 17, 3), 1),
        ((2, 3, 4, 3), -1),
        ((5,), 0),
        ((3, 1), 1),
        ((0, 4), 1),
    ]:
        add(f"{name} {shape} {dim}", f"F.{name}", normal(*shape), dim=dim)
    add(f"{name} permuted", f"F.{name}", permuted(normal(3, 4, 5)), dim=1)

# -- losses --------------------------------------------------------------------------------------------------------

for reduction in ("mean", "sum", "none"):
    r = {"reduction": reduction}
    labels, pixels = integers(0, 5, 6), integers(0, 3, 2, 4, 3)
    add(f"cross_entropy {reduction}", "F.cross_entropy", normal(6, 5), labels, **r)
    add(f"cross_entropy weights {reduction}", "F.cross_entropy", normal(6, 5), labels, constant(positive(5)), **r)
    add(f"cross_entropy smoothing {reduction}", "F.cross_entropy", normal(6, 5), labels, label_smoothing=0.1, **r)
    add(f"cross_entropy everything {reduction}", "F.cross_entropy", normal(6, 5), values(0, 4, 2, 2, 1, 3),
        constant(positive(5)), label_smoothing=0.2, ignore_index=2, **r)  # fmt: skip
    add(f"cross_entropy ignore -100 {reduction}", "F.cross_entropy", normal(4, 3), values(0, -100, 2, -100), **r)
    add(f"cross_entropy soft {reduction}", "F.cross_entropy", normal(6, 5), probabilities(6, 5), **r)
    add(f"cross_entropy soft weights smoothing {reduction}", "F.cross_entropy", normal(6, 5),
        constant(probabilities(6, 5)), constant(positive(5)), label_smoothing=0.3, **r)  # fmt: skip
    add(f"cross_entropy pixels {reduction}", "F.cross_entropy", normal(2, 3, 4, 3), pixels, ignore_index=1, **r)
    add(
        f"cross_entropy soft pixels {reduction}",
        "F.cross_entropy",
        normal(2, 3, 4),
        constant(probabilities(2, 3, 4)),
        **r,
    )
    add(f"cross_entropy one sample {reduction}", "F.cross_entropy", normal(5), integers(0, 5), **r)
    add(f"nll_loss {reduction}", "F.nll_loss", normal(6, 5), labels, **r)
    add(f"nll_loss weights {reduction}", "F.nll_loss", normal(6, 5), labels, constant(positive(5)), ignore_index=3, **r)
    add(f"nll_loss pixels {reduction}", "F.nll_loss", normal(2, 3, 4, 3), pixels, **r)
    add(f"mse_loss {reduction}", "F.mse_loss", normal(4, 5), normal(4, 5), **r)
    add(f"l1_loss {reduction}", "F.l1_loss", normal(4, 5), normal(4, 5), **r)
    add(f"bce {reduction}", "F.binary_cross_entropy", unit(4, 5), constant(unit(4, 5)), **r)
    add(
        f"bce weights {reduction}",
        "F.binary_cross_entropy",
        unit(4, 5),
        constant(unit(4, 5)),
        constant(positive(4, 5)),
        **r,
    )
    add(f"bce_with_logits {reduction}", "F.binary_cross_entropy_with_logits", normal(4, 5), constant(unit(4, 5)), **r)
    add(f"bce_with_logits pos_weight {reduction}",
        lambda p, x, y, w, pos, reduction: p.nn.functional.binary_cross_entropy_with_logits(
            x, y, weight=w, reduction=reduction, pos_weight=pos),
        normal(4, 5), constant(unit(4, 5)), constant(positive(4, 5)), constant(positive(5)),
        oracle="binary_cross_entropy_with_logits", **r)  # fmt: skip
add("cross_entropy empty sum", "F.cross_entropy", normal(0, 5), values(), reduction="sum")

# -- pointwise -----------------------------------------------------------------------------------------------------

_SHAPES: list[tuple[Input, Input]] = [
    (apart(3, 4), apart(3, 4)),
    (apart(3, 1, 5), apart(4, 1)),
    (permuted(apart(4, 3)), apart(4, 3)),
    (apart(), apart(2, 3)),
    (apart(0, 3), apart(3)),
]
for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
    oracle = {"sub": np.subtract, "mul": np.multiply, "div": np.divide}.get(name) or getattr(np, name)
    for number, pair in enumerate(_SHAPES):
        # the scalar's gradient is a sum that cancels
        add(f"{name} {number}", name, *pair, oracle=oracle, float32_tolerance=1e-5 if number == 3 else 2e-6)
add("add alpha", "add", normal(3, 4), normal(4), alpha=2.5, oracle=lambda x, y, alpha: x + alpha * y)
add("sub alpha", "sub", normal(3, 4), normal(3, 1), alpha=-0.5, oracle=lambda x, y, alpha: x - alpha * y)
for mode, oracle in [("floor", np.floor_divide), ("trunc", lambda x, y: np.trunc(x / y))]:
    add(
        f"div {mode}",
        "div",
        apart(4, 5),
        apart(4, 5),
        rounding_mode=mode,
        oracle=lambda x, y, rounding_mode, f=oracle: f(x, y),
    )
add("arithmetic operators", lambda p, x, y: (2 * x - y / 4 + 1) * -x / (3 - 0.5 * x * x) + (1.5 / y),
    normal(3, 4), positive(4), oracle="same")  # fmt: skip
add(
    "power operators",
    lambda p, x, y: x**y + x**2 + x**-1 + 2**x + x**0.5 + x**3,
    positive(3, 4),
    normal(3, 4),
    oracle="same",
)
add("integer operators", lambda p, x, y: (x + y, x - y, x * y, x // y, x % y, -x, abs(x)),
    integers(-9, 10, 20), constant(values(*[-3, 2, 5, 7] * 5)), oracle="same")  # fmt: skip
add("true division of integers", lambda p, x, y: (x / y, x / 4, 3 / y),
    integers(-9, 10, 20), values(*[-3, 2, 5, 7] * 5),
    oracle=lambda p, x, y: tuple(p.float32(q) for q in (x / y, x / 4, 3 / y)))  # fmt: skip
add("remainder", lambda p, x, y: x % y, apart(4, 5), constant(apart(4, 5)), oracle="same")
add("floor division", lambda p, x, y: (x // y, x // 0.3), constant(apart(4, 5)), constant(apart(4, 5)), oracle="same")
add("comparisons", lambda p, x, y: (x == y, x != y, x < y, x <= y, x > y, x >= y, x > 0, x >= 1),
    integers(0, 4, 5, 6), integers(0, 4, 6), oracle="same")  # fmt: skip
add("logic", lambda p, x, y: (x & y, x | y, x ^ y, ~x), booleans(5, 6), booleans(6), oracle="same")
_SPECIAL = values(0.0, -1.5, np.inf, -np.inf, np.nan, dtype="float64")
for name, x, oracle in [
    ("neg", normal(3, 4), np.negative), ("abs", apart(3, 4), np.abs), ("exp", normal(3, 4), np.exp),
    ("log", positive(3, 4), np.log), ("sqrt", positive(3, 4), np.sqrt), ("rsqrt", positive(3, 4), lambda x: x**-0.5),
    ("square", normal(3, 4), np.square), ("reciprocal", apart(3, 4), np.reciprocal), ("sin", normal(3, 4), np.sin),
    ("cos", normal(3, 4), np.cos), ("tanh", normal(3, 4), np.tanh), ("sigmoid", normal(3, 4), special.expit),
    ("sign", apart(3, 4), np.sign), ("floor", apart(3, 4), np.floor), ("ceil", apart(3, 4), np.ceil),
    ("round", apart(3, 4), np.round), ("log1p", positive(3, 4), np.log1p), ("expm1", normal(3, 4), np.expm1),
    ("erf", normal(3, 4), special.erf), ("log2", positive(3, 4), np.log2), ("log10", positive(3, 4), np.log10),
    ("tan", unit(3, 4), np.tan), ("asin", unit(3, 4), np.arcsin), ("acos", unit(3, 4), np.arccos),
    ("atan", normal(3, 4), np.arctan), ("sinh", normal(3, 4), np.sinh), ("cosh", normal(3, 4), np.cosh),
    ("trunc", apart(3, 4), np.trunc), ("isnan", _SPECIAL, np.isnan), ("isinf", _SPECIAL, np.isinf),
    ("isfinite", _SPECIAL, np.isfinite),
]:  # fmt: skip
    add(f"pointwise {name}", name, x, oracle=oracle)
add("clamp", "clamp", apart(4, 5), min=-0.5, max=0.7, oracle=lambda x, min, max: np.clip(x, min, max))
add("clamp min", "clamp", apart(4, 5), min=0.05, oracle=lambda x, min: np.maximum(x, min))
add("clamp max", "clamp", apart(4, 5), max=0.0, oracle=lambda x, max: np.minimum(x, max))
add("where", "where", booleans(3, 4), normal(3, 4), normal(4), oracle=np.where)
add("where broadcast", "where", booleans(3, 1, 2), normal(4, 1), normal(), oracle=np.where)
add("where number", lambda p, x: p.where(x > 0, x, 0.0), apart(3, 4), oracle="same")
add(
    "masked_fill",
    lambda p, x, m: x.masked_fill(m, 2.5),
    normal(3, 4),
    booleans(4),
    oracle=lambda p, x, m: p.where(m, 2.5, x),
)
add("lerp", "lerp", normal(3, 4), normal(3, 4), unit(4), oracle=lambda a, b, t: a + t * (b - a))
add(
    "addcmul",
    "addcmul",
    normal(3, 4),
    normal(4),
    normal(3, 1),
    value=0.5,
    oracle=lambda x, a, b, value: x + value * a * b,
)
add(
    "addcdiv",
    "addcdiv",
    normal(3, 4),
    normal(4),
    apart(3, 1),
    value=-2,
    oracle=lambda x, a, b, value: x + value * a / b,
)
add("atan2", "atan2", apart(3, 4), apart(4), oracle=np.arctan2)
add("fmod", "fmod", apart(3, 4), constant(apart(4)), oracle=np.fmod)
add("pow numbers", lambda p, x: (x**1.7, 1.7**x, 3**x, x**-2.3), positive(3, 4), oracle="same")
add("pow tensors", "pow", positive(3, 4), normal(4), oracle=np.power)
add("shifts", lambda p, x, y: (x << y, x >> y), integers(-20, 20, 3, 5), integers(0, 4, 5), oracle="same")
for note, shape, pieces in [("of 2", (2, 6, 3), 2), ("of 3, matrix", (4, 3), 3), ("of 1", (1, 2, 2, 2), 1)]:
    add(f"maxout {note}", lambda p, x, pieces: p.nn.functional.maxout(x, pieces), distinct(*shape), pieces=pieces,
        oracle=lambda p, x, pieces: x.reshape(len(x), -1, pieces, *x.shape[2:]).max(2))  # fmt: skip

# -- reductions ----------------------------------------------------------------------------------------------------

for name, x, oracle in [
    ("sum", normal, np.sum), ("mean", normal, np.mean), ("prod", apart, np.prod), ("amax", distinct, np.max),
    ("amin", distinct, np.min),
]:  # fmt: skip
    add(f"{name} all", f".{name}", x(3, 4, 5), oracle=oracle)
    add(f"{name} dim 1", f".{name}", x(3, 4, 5), dim=1, oracle=lambda x, dim, f=oracle: f(x, dim))
    add(f"{name} dim -1 keepdim", f".{name}", permuted(x(3, 4, 5)), dim=-1, keepdim=True,
        oracle=lambda x, dim, keepdim, f=oracle: f(x, dim, keepdims=keepdim))  # fmt: skip
    add(f"{name} scalar", f".{name}", x(), oracle=oracle)
    if name != "prod":
        add(f"{name} dims (0, 2)", f".{name}", x(3, 4, 5), dim=(0, 2), oracle=lambda x, dim, f=oracle: f(x, dim))
add("sum empty", ".sum", normal(0, 3), dim=0, oracle=lambda x, dim: x.sum(dim))
add("prod with a zero", ".prod", Input(lambda rng: np.array([[2.0, 0.0, 3.0], [1.5, 4.0, -2.0]])), dim=1,
    oracle=lambda x, dim: x.prod(dim))  # fmt: skip
for name, root in [("var", 1), ("std", 0.5)]:
    for keywords in [{}, {"dim": 1}, {"dim": (0, 2), "keepdim": True}, {"dim": 1, "correction": 0}]:
        add(f"{name} {keywords}", f".{name}", strided(normal(3, 4, 5)), **keywords,
            oracle=lambda x, dim=None, keepdim=False, correction=1, root=root:
                x.var(dim, ddof=correction, keepdims=keepdim) ** root)  # fmt: skip
for name in ("max", "min"):
    f, where = getattr(np, name), getattr(np, f"arg{name}")
    add(f"{name} all", f".{name}", distinct(3, 4), oracle=f)
    add(
        f"{name} dim 1",
        f".{name}",
        distinct(3, 4, 5),
        dim=1,
        oracle=lambda x, dim, f=f, w=where: (f(x, dim), w(x, dim)),
    )
    add(f"{name} keepdim", f".{name}", permuted(distinct(3, 4, 5)), dim=0, keepdim=True,
        oracle=lambda x, dim, keepdim, f=f, w=where: (f(x, dim, keepdims=True), w(x, dim, keepdims=True)))  # fmt: skip
    add(f"arg{name} all", f".arg{name}", integers(0, 3, 3, 4), oracle=where)
    add(f"arg{name} ties", f".arg{name}", integers(0, 3, 6, 9), dim=1, oracle=lambda x, dim, w=where: w(x, dim))
    add(f"arg{name} keepdim", f".arg{name}", constant(permuted(distinct(3, 4, 5))), dim=-2, keepdim=True,
        oracle=lambda x, dim, keepdim, w=where: w(x, dim, keepdims=keepdim))  # fmt: skip
for name in ("any", "all"):
    f = getattr(np, name)
    add(f"{name}", f".{name}", booleans(3, 4), oracle=f)
    add(f"{name} dim", f".{name}", booleans(3, 2, 4), dim=1, oracle=lambda x, dim, f=f: f(x, dim))
    add(f"{name} of numbers", f".{name}", integers(0, 2, 5, 2), dim=1, keepdim=True,
        oracle=lambda x, dim, keepdim, f=f: f(x, dim, keepdims=keepdim))  # fmt: skip
for order in (1, 2, 3, float("inf")):
    add(f"norm {order}", ".norm", distinct(3, 4), p=order, dim=1, oracle=lambda x, p, dim: np.linalg.norm(x, p, dim))
add("logsumexp", lambda p, x: p.logsumexp(x, 1), normal(3, 4, 2), oracle=lambda p, x: special.logsumexp(x, 1))
add("var_mean", lambda p, x: p.var_mean(x, 1), normal(3, 4, 2), oracle=lambda p, x: (x.var(1, ddof=1), x.mean(1)))
add("norm all", ".norm", normal(3, 4), oracle=np.linalg.norm)
add("sum of integers", ".sum", integers(-5, 6, 4, 5, dtype="int32"), dim=0, oracle=lambda x, dim: x.sum(dim))
add("sum of booleans", ".sum", booleans(7, 3), oracle=np.sum)

# -- products ------------------------------------------------------------------------------------------------------

for a, b in [
    ((3, 4), (4, 5)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 2)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((0, 3), (3, 2)), ((3, 0), (0, 2)),
    ((1, 1), (1, 1)),
    ((17, 33), (33, 18)),
]:  # fmt: skip
    add(f"matmul {a} {b}", "matmul", normal(*a), normal(*b), oracle=np.matmul)
add("matmul operator permuted", lambda p, x, y: x @ y, permuted(normal(3, 4)), permuted(normal(4, 5)), oracle="same")
add("bmm", "bmm", normal(3, 2, 4), normal(3, 4, 5), oracle=np.matmul)
add("bmm permuted, strided", "bmm", permuted(normal(3, 2, 4)), strided(normal(3, 4, 5)), oracle=np.matmul)
add("bmm empty", "bmm", normal(0, 2, 4), normal(0, 4, 5), oracle=np.matmul)

# -- shapes and indices --------------------------------------------------------------------------------------------

for name, function, x, oracle in [
    ("reshape", lambda p, x: x.reshape(4, -1), normal(2, 4, 3), "same"),
    ("reshape permuted", lambda p, x: x.reshape(3, 8), permuted(normal(2, 4, 3)), "same"),
    ("view", lambda p, x: x.view(2, -1), normal(4, 3), lambda p, x: x.reshape(2, -1)),
    ("flatten", lambda p, x: x.flatten(1), normal(2, 3, 4, 2), lambda p, x: x.reshape(2, -1)),
    ("flatten middle", lambda p, x: p.flatten(x, 1, 2), permuted(normal(2, 3, 4, 2)), lambda p, x: x.reshape(2, 12, 2)),
    ("flatten scalar", lambda p, x: x.flatten(), normal(), lambda p, x: x.reshape(1)),
    ("transpose", lambda p, x: x.transpose(0, -1), normal(2, 3, 4), lambda p, x: x.swapaxes(0, -1)),
    ("t", lambda p, x: x.t() @ x.T.T, normal(3, 2), lambda p, x: x.T @ x),
    ("permute", lambda p, x: x.permute(2, 0, 1), normal(2, 3, 4), lambda p, x: x.transpose(2, 0, 1)),
    ("squeeze", lambda p, x: (x.squeeze(), x.squeeze(1), x.squeeze(0)), normal(2, 1, 3, 1),
     lambda p, x: (x.squeeze(), x.squeeze(1), x)),
    ("unsqueeze", lambda p, x: (x.unsqueeze(0), x.unsqueeze(-1)), normal(2, 3), lambda p, x: (x[None], x[..., None])),
    ("expand", lambda p, x: x.expand(4, -1, 3), normal(2, 1), lambda p, x: p.broadcast_to(x, (4, 2, 3))),
    ("split", lambda p, x: p.split(x, 2, 1), normal(2, 5), lambda p, x: p.split(x, [2, 4], 1)),
    ("split sizes", lambda p, x: p.split(x, [1, 0, 3]), normal(4, 2), lambda p, x: p.split(x, [1, 1])),
    ("chunk", lambda p, x: p.chunk(x, 3, 1), normal(2, 7), lambda p, x: p.split(x, [3, 6], 1)),
    ("pad", lambda p, x: p.nn.functional.pad(x, (1, 2)), normal(2, 3), lambda p, x: p.pad(x, [(0, 0), (1, 2)])),
    ("pad value", lambda p, x: p.nn.functional.pad(x, (1, 0, 2, 1), value=1.5), normal(2, 3, 4),
     lambda p, x: p.pad(x, [(0, 0), (2, 1), (1, 0)], constant_values=1.5)),
    ("pad negative", lambda p, x: p.nn.functional.pad(x, (-1, 1)), normal(2, 4),
     lambda p, x: p.pad(x[:, 1:], [(0, 0), (0, 1)])),
    ("pad crops all, then pads", lambda p, x: p.nn.functional.pad(x, (-4, 3)), normal(2, 4),
     lambda p, x: p.zeros((2, 3))),
    ("unflatten", lambda p, x: x.unflatten(1, (2, -1)), normal(3, 6), lambda p, x: x.reshape(3, 2, 3)),
    ("unbind", lambda p, x: x.unbind(1), normal(2, 3), lambda p, x: (x[:, 0], x[:, 1], x[:, 2])),
    ("narrow, select", lambda p, x: (x.narrow(1, 1, 2), x.select(0, 1)), normal(2, 4), lambda p, x: (x[:, 1:3], x[1])),
    ("flip", lambda p, x: p.flip(x, (0, 2)), normal(2, 3, 4), lambda p, x: x[::-1, :, ::-1]),
    ("clone, contiguous", lambda p, x: (x.clone(), x.contiguous()), permuted(normal(2, 3)), lambda p, x: (x, x)),
    ("index integer", lambda p, x: (x[1], x[-1], x[0, 2], x[:, 1]), normal(3, 4), "same"),
    ("index slices", lambda p, x: (x[1:], x[:, ::2], x[..., :-1], x[1:3, 1:4:2], x[:0]), normal(4, 5, 3), "same"),
    ("index new dimension", lambda p, x: (x[None], x[:, None, 1], x[..., None]), normal(3, 4), "same"),
    ("index of permuted", lambda p, x: x[1:, 0, ::2], permuted(normal(3, 2, 5)), "same"),
]:  # fmt: skip
    add(name, function, x, oracle=oracle)
for mode, numpy_mode, shape, amounts in [
    ("reflect", "reflect", (2, 3, 5), (4, 2)),
    ("reflect", "reflect", (3, 6), (1, 3)),
    ("reflect", "reflect", (2, 17, 4, 3), (2, 1, 0, 3)),
    ("reflect", "reflect", (1, 3, 4, 3), (1, 1, 2, 2)),
    ("reflect", "reflect", (1, 2, 3, 2, 3), (2, 0, 1, 1, 0, 2)),
    ("reflect", "reflect", (0, 2, 3, 3), (1, 1, 1, 1)),
    ("replicate", "edge", (2, 3, 1), (4, 2)),
    ("replicate", "edge", (1, 3, 4, 3), (7, 1, 0, 3)),
    ("replicate", "edge", (2, 3, 2, 3), (1, 0, 2, 1, 1, 1)),
    ("circular", "wrap", (2, 3, 4), (4, 3)),
    ("circular", "wrap", (2, 17, 4, 3), (1, 2, 3, 0)),
    ("circular", "wrap", (1, 2, 3, 2, 3), (1, 1, 2, 0, 1, 3)),
]:
    widths = [(0, 0)] * (len(shape) - len(amounts) // 2) + list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    for kind, spec in (("", normal(*shape)), (" permuted", permuted(normal(*shape)))):
        add(f"pad {mode} {shape} {amounts}{kind}", "F.pad", spec, pad=amounts, mode=mode,
            oracle=lambda x, pad, mode, w=widths, m=numpy_mode: np.pad(x, w, mode=m))  # fmt: skip
add("pad reflect, cropped on one side", "F.pad", normal(2, 5), pad=(-2, 4), mode="reflect",
    oracle=lambda x, pad, mode: np.pad(x, [(0, 0), (0, 4)], mode="reflect")[:, 2:])  # fmt: skip
add("pad replicate, cropped on one side", "F.pad", normal(2, 5), pad=(3, -6), mode="replicate",
    oracle=lambda x, pad, mode: np.repeat(x[:, :1], 2, axis=1))  # fmt: skip
add("pad circular, cropped on one side", "F.pad", normal(2, 5), pad=(-2, 3), mode="circular",
    oracle=lambda x, pad, mode: np.pad(x[:, 2:], [(0, 0), (0, 3)], mode="wrap"))  # fmt: skip
add("pad circular of booleans", "F.pad", booleans(2, 5), pad=(1, 2), mode="circular",
    oracle=lambda x, pad, mode: np.pad(x, [(0, 0), (1, 2)], mode="wrap"))  # fmt: skip

for name, function, dim in [
    ("cat", "cat", 0),
    ("cat", "cat", 1),
    ("cat", "cat", -1),
    ("stack", "stack", 0),
    ("stack", "stack", 2),
]:
    add(
        f"{name} {dim}",
        lambda p, x, y, z, f=function, d=dim: getattr(p, f)((x, y, z), dim=d),
        normal(2, 3),
        permuted(normal(2, 3)),
        normal(2, 3),
        oracle=lambda p, x, y, z, f={"cat": np.concatenate, "stack": np.stack}[function], d=dim: f((x, y, z), d),
    )
add("cat unequal", lambda p, x, y: p.cat([x, y], 1), normal(2, 1, 3), strided(normal(2, 4, 3)),
    oracle=lambda p, x, y: p.concatenate([x, y], 1))  # fmt: skip
add(
    "cat empty", lambda p, x, y: p.cat([x, y]), normal(0, 3), normal(2, 3), oracle=lambda p, x, y: p.concatenate([x, y])
)
add(
    "index_select",
    lambda p, x, i: p.index_select(x, 1, i),
    normal(3, 4),
    values(2, 0, 2),
    oracle=lambda p, x, i: x[:, i],
)
add("gather", lambda p, x, i: p.gather(x, 1, i), normal(3, 4), integers(0, 4, 3, 2),
    oracle=lambda p, x, i: p.take_along_axis(x, i, 1))  # fmt: skip
add("scatter", lambda p, x, i, y: p.scatter(x, 1, i, y), normal(2, 4), values([2, 0], [3, 1]), normal(2, 2),
    oracle=lambda p, x, i, y: _scattered(x, i, y, add=False))  # fmt: skip
add("scatter_add", lambda p, x, i, y: p.scatter_add(x, 1, i, y), normal(2, 4), values([2, 2, 0], [3, 3, 3]),
    normal(2, 3),
    oracle=lambda p, x, i, y: _scattered(x, i, y, add=True))  # fmt: skip
add(
    "one_hot",
    lambda p, x: p.nn.functional.one_hot(x, 5),
    integers(0, 5, 2, 3),
    oracle=lambda p, x: p.eye(5, dtype=p.int64)[x],
)
add("slice assignment", lambda p, x, y: _assigned(p, x, y), normal(3, 4), normal(2, 2),
    oracle=lambda p, x, y: _assigned_numpy(x, y))  # fmt: skip


def _assigned(p: Any, x: Any, y: Any) -> Any:
    result = x * 1
    result[1:, ::2] = y
    result[0, 0] = 7.0
    result[:, 3] *= 2
    return result


def _assigned_numpy(x: Any, y: Any) -> Any:
    result = x.copy()
    result[1:, ::2] = y
    result[0, 0] = 7.0
    result[:, 3] *= 2
    return result


def _scattered(x: Any, index: Any, y: Any, add: bool) -> Any:
    result = x.copy()
    for (row, column), target in np.ndenumerate(index):
        result[row, target] = y[row, column] + (result[row, target] if add else 0)
    return result


for _family in (
    cases_elementary, cases_linear_algebra, cases_losses, cases_sequences, cases_tensor, cases_vision,
):  # fmt: skip
    CASES += _family.CASES

NAMES = [case.name for case in CASES]
assert len(set(NAMES)) == len(NAMES), sorted({name for name in NAMES if NAMES.count(name) > 1})
