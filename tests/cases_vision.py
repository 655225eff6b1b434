"""Rows of the operator table: normalisation over groups, windows, resizing, sampling, shuffles."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, Input, constant, distinct, integers, normal, permuted, positive, unit

CASES: list[Case] = []


def add(name: str, function: Any, *inputs: Input | None, float32_tolerance: float = 2e-6, **keywords: Any) -> None:
    CASES.append(Case(name, function, inputs, keywords, "pytorch", False, float32_tolerance))


def places(*shape: int) -> Input:
    """Sampling places in and around -1 … 1, away from where the interpolation has its kinks."""
    return Input(lambda rng: np.round(rng.uniform(-1.4, 1.4, shape) * 50) / 50 + 0.0037)


# -- normalisation -----------------------------------------------------------------------------------------------------
for note, x, shape, weight, bias in [
    ("plain", normal(3, 5), (5,), True, True),
    ("over two dimensions", normal(2, 3, 4, 5), (4, 5), True, True),
    ("of one sample", normal(6), (6,), True, True),
    ("without parameters", normal(2, 3, 4), (4,), False, False),
    ("without a bias", normal(2, 3, 4), (4,), True, False),
    ("with a bias alone", normal(2, 3, 4), (4,), False, True),
    ("permuted", permuted(normal(4, 3, 5)), (5,), True, True),
    ("empty", normal(0, 5), (5,), True, True),
]:
    parameters = [normal(*shape) if wanted else None for wanted in (weight, bias)]
    CASES.append(
        Case(f"layer_norm {note}", lambda p, x, w, b, shape=shape: p.nn.functional.layer_norm(x, shape, w, b),
             (x, *parameters), oracle="pytorch", float32_tolerance=1e-5)
    )  # fmt: skip
for note, x, shape, weight, eps in [
    ("plain", normal(3, 5), (5,), True, 1e-5),
    ("default eps, without a weight", normal(2, 3, 4), (4,), False, None),
    ("over two dimensions", normal(2, 3, 4), (3, 4), True, 0.1),
]:
    CASES.append(
        Case(
            f"rms_norm {note}",
            lambda p, x, w, shape=shape, eps=eps: p.nn.functional.rms_norm(x, shape, w, eps),
            (x, normal(*shape) if weight else None),
            oracle="pytorch",
            float32_tolerance=1e-5,
        )
    )
for note, x, groups, affine, eps in [
    ("plain", normal(2, 6, 4, 3), 3, True, 1e-5),
    ("one group", normal(2, 4, 5), 1, True, 1e-5),
    ("a group per channel, no parameters", normal(2, 4, 3, 3), 4, False, 1e-2),
    ("volumes", normal(1, 4, 2, 3, 2), 2, True, 1e-5),
    ("vectors", normal(3, 6), 2, True, 1e-5),
    ("channels last", permuted(normal(3, 4, 5)), 2, True, 1e-5),
    ("groups side by side in memory", permuted(normal(1, 12, 4, 5)), 4, True, 1e-5),
    ("groups side by side in memory, no parameters", permuted(normal(1, 6, 5)), 3, False, 1e-5),
    ("empty batch", normal(0, 4, 3), 2, True, 1e-5),
]:
    channels = x.make(np.random.default_rng(0)).shape[1]
    CASES.append(
        Case(
            f"group_norm {note}",
            lambda p, x, w, b, groups=groups, eps=eps: p.nn.functional.group_norm(x, groups, w, b, eps),
            (x, *((normal(channels), normal(channels)) if affine else (None, None))),
            oracle="pytorch",
            float32_tolerance=1e-5,
        )
    )
for note, x, affine in [
    ("plain", normal(2, 3, 4, 5), True),
    ("sequences, no parameters", normal(2, 3, 6), False),
    ("volumes", normal(2, 2, 2, 3, 2), True),
]:
    channels = x.make(np.random.default_rng(0)).shape[1]
    CASES.append(
        Case(
            f"instance_norm {note}",
            lambda p, x, w, b: p.nn.functional.instance_norm(x, weight=w, bias=b),
            (x, *((normal(channels), normal(channels)) if affine else (None, None))),
            oracle="pytorch",
            float32_tolerance=1e-5,
        )
    )


def _tracked(p: Any, x: Any, mean: Any, var: Any, w: Any, b: Any) -> list[Any]:
    read = p.nn.functional.instance_norm(x, mean, var, w, b, use_input_stats=False)
    mean, var = mean.detach().clone(), var.detach().clone()
    moved = p.nn.functional.instance_norm(x, mean, var, w, b, momentum=0.3)
    return [read, moved, mean, var]


CASES.append(
    Case("instance_norm running statistics", _tracked,
         (normal(3, 2, 4, 3), constant(normal(2)), constant(unit(2)), normal(2), normal(2)),
         oracle="pytorch", float32_tolerance=1e-5)
)  # fmt: skip

# -- windows -----------------------------------------------------------------------------------------------------------
for note, x, kernel, keywords in [
    ("plain", normal(2, 3, 5, 6), (3, 2), {}),
    ("stride, padding, dilation", normal(1, 2, 7, 6), 3, {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)}),
    ("without a batch", normal(2, 4, 4), 2, {"stride": 2}),
    ("gaps", normal(1, 1, 6, 6), 1, {"stride": 3}),
    ("channels last", permuted(normal(2, 3, 4, 5)), 2, {"padding": 1}),
    ("empty batch", normal(0, 3, 4, 5), 2, {}),
]:
    add(f"unfold {note}", "F.unfold", x, kernel_size=kernel, **keywords)
for note, x, size, kernel, keywords in [
    ("plain", normal(2, 12, 12), (4, 5), 2, {}),
    ("stride, padding, dilation", normal(1, 18, 8), (5, 6), 3, {"stride": 2, "padding": 2, "dilation": (2, 1)}),
    ("without a batch", normal(8, 4), 4, 2, {"stride": 2}),
]:
    if note == "stride, padding, dilation":
        x = normal(1, 18, 3 * 4)
    add(f"fold {note}", "F.fold", x, output_size=size, kernel_size=kernel, **keywords)

# -- resizing ----------------------------------------------------------------------------------------------------------
SEQUENCE, IMAGE, VOLUME = normal(2, 3, 7), normal(2, 3, 5, 7), normal(1, 2, 3, 4, 5)
for mode, x, sizes in [
    ("nearest", SEQUENCE, (3, 16)), ("nearest", IMAGE, ((3, 12), (10, 7))), ("nearest", VOLUME, ((5, 2, 7),)),
    ("nearest-exact", SEQUENCE, (3, 16)), ("nearest-exact", IMAGE, ((3, 12), (10, 7))),
    ("nearest-exact", VOLUME, ((5, 2, 7),)),
    ("linear", SEQUENCE, (3, 16, 1)), ("bilinear", IMAGE, ((3, 12), (10, 7), 1)), ("trilinear", VOLUME, ((5, 2, 7),)),
    ("bicubic", IMAGE, ((3, 12), (10, 7), 1)), ("area", IMAGE, ((3, 12), 2)), ("area", SEQUENCE, (3,)),
    ("area", VOLUME, ((2, 3, 3),)),
]:  # fmt: skip
    for size in sizes:
        dimensions = {id(SEQUENCE): 1, id(IMAGE): 2, id(VOLUME): 3}[id(x)]
        add(f"interpolate {mode} {dimensions}d to {size}", "F.interpolate", x, size=size, mode=mode)
        if mode.endswith(("linear", "cubic")):
            add(f"interpolate {mode} {dimensions}d to {size}, corners", "F.interpolate", x, size=size, mode=mode,
                align_corners=True)  # fmt: skip
for mode, x, factor in [
    ("nearest", IMAGE, 2), ("nearest", IMAGE, (0.5, 1.7)), ("nearest-exact", IMAGE, 1.3), ("linear", SEQUENCE, 2.5),
    ("bilinear", IMAGE, 2), ("bilinear", IMAGE, (0.7, 1.7)), ("bicubic", IMAGE, 1.6), ("trilinear", VOLUME, 1.4),
    ("area", IMAGE, 0.5), ("nearest", IMAGE, (1.1, 2.1)), ("bilinear", IMAGE, 1.1),
]:  # fmt: skip
    add(f"interpolate {mode} by {factor}", "F.interpolate", x, scale_factor=factor, mode=mode)
    if mode != "area":
        add(f"interpolate {mode} by {factor}, recomputed", "F.interpolate", x, scale_factor=factor, mode=mode,
            recompute_scale_factor=True)  # fmt: skip
for mode in ("bilinear", "bicubic", "lanczos"):
    for size in ((3, 4), (11, 3), 9):
        add(f"interpolate {mode} antialiased to {size}", "F.interpolate", IMAGE, size=size, mode=mode, antialias=True)
    add(f"interpolate {mode} antialiased by 0.6", "F.interpolate", IMAGE, scale_factor=0.6, mode=mode, antialias=True)
add("interpolate bilinear antialiased, corners", "F.interpolate", IMAGE, size=(3, 9), mode="bilinear", antialias=True,
    align_corners=True)  # fmt: skip
add("interpolate channels last", "F.interpolate", permuted(normal(2, 18, 4, 5)), size=(7, 3), mode="bilinear")
add("interpolate to the same size", "F.interpolate", IMAGE, size=(5, 7), mode="bicubic")

# -- sampling ----------------------------------------------------------------------------------------------------------
for padding in ("zeros", "border", "reflection"):
    for corners in (False, True):
        for mode in ("bilinear", "nearest", "bicubic"):
            add(f"grid_sample {mode}, {padding}, corners {corners}", "F.grid_sample", normal(2, 3, 4, 5),
                places(2, 3, 4, 2), mode=mode, padding_mode=padding, align_corners=corners,
                float32_tolerance=2e-5)  # fmt: skip
            if mode != "bicubic":
                add(f"grid_sample {mode}, {padding}, corners {corners}, volumes", "F.grid_sample",
                    normal(2, 2, 3, 4, 5), places(2, 2, 3, 2, 3), mode=mode, padding_mode=padding,
                    align_corners=corners, float32_tolerance=2e-5)  # fmt: skip
for corners in (False, True):
    add(f"affine_grid images, corners {corners}", "F.affine_grid", normal(2, 2, 3), size=(2, 3, 4, 5),
        align_corners=corners)  # fmt: skip
    add(f"affine_grid volumes, corners {corners}", "F.affine_grid", normal(1, 3, 4), size=(1, 2, 3, 1, 4),
        align_corners=corners)  # fmt: skip

# -- shuffles ----------------------------------------------------------------------------------------------------------
add("pixel_shuffle", "F.pixel_shuffle", normal(2, 12, 3, 2), upscale_factor=2)
add("pixel_shuffle without a batch", "F.pixel_shuffle", normal(9, 2, 3), upscale_factor=3)
add("pixel_unshuffle", "F.pixel_unshuffle", normal(2, 3, 4, 6), downscale_factor=2)
add("pixel_unshuffle more dimensions", "F.pixel_unshuffle", normal(2, 1, 2, 4, 2), downscale_factor=2)
add("conv_tbc", "F.conv_tbc", normal(5, 2, 3), normal(2, 3, 4), normal(4), pad=1)
add("channel_shuffle", "F.channel_shuffle", normal(2, 6, 3, 2), groups=3)
add("channel_shuffle by its other name", "F.native_channel_shuffle", constant(normal(2, 6, 3, 2)), groups=3)
add("channel_shuffle sequences", "F.channel_shuffle", normal(1, 4, 3), groups=2)

# -- pooling -----------------------------------------------------------------------------------------------------------
for name, x, kernel, keywords in [
    ("lp_pool1d", positive(2, 3, 8), 3, {}), ("lp_pool2d", positive(2, 3, 6, 7), (2, 3), {"stride": 2}),
    ("lp_pool2d", positive(3, 6, 7), 3, {"stride": 2, "ceil_mode": True}),
    ("lp_pool3d", positive(1, 2, 4, 4, 4), 2, {}),
]:  # fmt: skip
    for p_norm in (2, 3.5, 1, float("inf")):
        note = "".join(f", {key} {value}" for key, value in keywords.items())
        add(f"{name} {p_norm}, kernel {kernel}{note}", f"F.{name}", x, norm_type=p_norm, kernel_size=kernel, **keywords)


def _there_and_back(spatial: int, pooling: dict[str, Any], unpooling: dict[str, Any]) -> Any:
    def function(p: Any, x: Any) -> Any:
        functional = p.nn.functional
        values, indices = getattr(functional, f"max_pool{spatial}d")(x, return_indices=True, **pooling)
        return getattr(functional, f"max_unpool{spatial}d")(values * values, indices, **pooling, **unpooling)

    return function


for note, spatial, x, pooling, unpooling in [
    ("plain", 1, distinct(2, 3, 8), {"kernel_size": 2}, {}),
    ("padding", 1, distinct(2, 3, 8), {"kernel_size": 2, "padding": 1}, {}),
    ("plain", 2, distinct(2, 3, 4, 6), {"kernel_size": 2}, {}),
    ("output size", 2, distinct(1, 2, 5, 7), {"kernel_size": 2, "stride": 2}, {"output_size": (5, 7)}),
    ("without a batch, whole size", 2, distinct(2, 5, 4), {"kernel_size": (2, 1)}, {"output_size": (5, 4)}),
    ("plain", 3, distinct(1, 2, 4, 4, 2), {"kernel_size": 2}, {}),
]:
    CASES.append(
        Case(f"max_unpool{spatial}d {note}", _there_and_back(spatial, pooling, unpooling), (x,), {}, "pytorch")
    )

for note, name, x, samples, keywords in [
    ("to a size", "fractional_max_pool2d", distinct(2, 3, 7, 8), unit(2, 3, 2), {"output_size": (3, 5)}),
    ("by a ratio, one column", "fractional_max_pool2d", distinct(1, 2, 9, 6), unit(1, 2, 2),
     {"output_ratio": (0.5, 0.2)}),
    ("without a batch", "fractional_max_pool2d", distinct(3, 7, 6), unit(1, 3, 2), {"output_size": 3}),
    ("to a size", "fractional_max_pool3d", distinct(1, 2, 5, 6, 7), unit(1, 2, 3), {"output_size": (2, 3, 4)}),
]:  # fmt: skip
    CASES.append(
        Case(
            f"{name} {note}",
            lambda p, x, samples, name=name, keywords=keywords: getattr(p.nn.functional, name)(
                x, 2, return_indices=True, _random_samples=samples, **keywords
            ),
            (x, constant(samples)),
            {},
            "pytorch",
        )
    )

# Bytes are resized in fixed point: PyTorch's values to the bit.
for note, size, keywords in [
    ("larger", (7, 9), {"mode": "bilinear"}),
    ("larger, corners", (7, 9), {"mode": "bilinear", "align_corners": True}),
    ("larger", (9, 8), {"mode": "bicubic"}),
    ("smaller", (3, 4), {"mode": "bilinear"}),
    ("smaller", (3, 2), {"mode": "bicubic"}),
    ("smaller, antialiased", (3, 2), {"mode": "bilinear", "antialias": True}),
    ("smaller, antialiased", (2, 3), {"mode": "bicubic", "antialias": True}),
]:
    for channels in (3, 5):
        CASES.append(
            Case(
                f"interpolate bytes {note}, {keywords['mode']}, {channels} channels",
                lambda p, x, size=size, keywords=keywords: p.nn.functional.interpolate(
                    (x * 255).to(p.uint8), size, **keywords
                ),
                (constant(unit(2, channels, 5, 6)),),
                {},
                "pytorch",
            )
        )

# Which element is nearest depends on rounding: positions are computed in the grid's dtype.
for corners in (False, True):
    CASES.append(
        Case(
            f"grid_sample nearest in bfloat16, corners {corners}",
            lambda p, x, grid, corners=corners: p.nn.functional.grid_sample(
                x.to(p.bfloat16), grid.to(p.bfloat16), mode="nearest", padding_mode="border", align_corners=corners
            ).to(grid.dtype),
            (integers(0, 100, 2, 3, 7, 13), constant(normal(2, 8, 9, 2))),
            {},
            "pytorch",
        )
    )
