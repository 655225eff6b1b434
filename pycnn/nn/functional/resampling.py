"""Windows as columns, resizing, sampling at given places, and shuffles between channels and space."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor, channel_shuffle, pixel_shuffle, pixel_unshuffle
from pycnn.nn.functional.types import Size

__all__ = [
    "affine_grid", "channel_shuffle", "fold", "grid_sample", "interpolate", "native_channel_shuffle",
    "pixel_shuffle", "pixel_unshuffle", "unfold", "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`channel_shuffle` under another name that PyTorch has for it.

    input: (N, C, ...). groups: divides C. The result has the input's shape and dtype.
    Errors: RuntimeError for channels that `groups` does not divide.
    """
    return channel_shuffle(input, groups)


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """Every window of an image as a column.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        kernel_size: the window, in elements.
        dilation: distance between elements of a window.
        padding: zeros on both sides.
        stride: step between windows.

    Returns:
        (N, C * kH * kW, windows) or without N, in the input's dtype; the windows in rows.

    Errors: IndexError for fewer than 3 dimensions, RuntimeError for other shapes or arguments that do not fit,
    NotImplementedError for integers.
    """
    if input.dim() < 3:
        raise IndexError(f"unfold: Expected 3D or 4D (batch mode) input, but got: {list(input.shape)}")
    return _core._unfold(input, kernel_size, dilation, padding, stride)


def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """The transpose of `unfold`: columns are added where their windows lie.

    Args:
        input: (N, C * kH * kW, windows) or (C * kH * kW, windows), floating.
        output_size: (H, W) of the result.
        kernel_size, dilation, padding, stride: those of `unfold`.

    Returns:
        (N, C, H, W) or (C, H, W), in the input's dtype.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for integers.
    """
    return _core._fold(input, output_size, kernel_size, dilation, padding, stride)


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _target_size(input: Tensor, size: Any, scale_factor: Any) -> tuple[list[int] | None, list[float] | None]:
    """The output's size or the factors, one entry per spatial dimension."""
    dim = input.dim() - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = scale_factor if size is None else size
    if not isinstance(given, (list, tuple)):
        given = [given] * dim
    elif len(given) != dim:
        what = "scale_factor" if size is None else "output size"
        raise ValueError(
            "Input and output must have the same number of spatial dimensions, but got input with spatial dimensions "
            f"of {list(input.shape[2:])} and {what} of {tuple(given)}. Please provide input tensor in "
            "(N, C, d1, d2, ...,dK) format and the other in (o1, o2, ...,oK) format."
        )
    if size is None:
        return None, [float(factor) for factor in given]
    if not all(_is_integer(extent) for extent in given):
        raise TypeError(f"expected size to be integers, one or one per dimension, but got {size}")
    return [int(extent) for extent in given], None


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resizes the spatial dimensions.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, D, H, W), floating or uint8.
        size: the output's spatial sizes, one integer or one per dimension.
        scale_factor: instead of size, a factor or one per dimension; the size is rounded down.
        mode: "nearest", "nearest-exact", "linear" (3-d), "bilinear" and "bicubic" (4-d), "trilinear" (5-d), "area"
            (means of adaptive windows), "lanczos" (4-d, with antialias).
        align_corners: for the linear and cubic modes: whether the corners' centres stay where they are, or the outer
            edges of the corners (default).
        recompute_scale_factor: take the sizes' ratio instead of scale_factor for the positions.
        antialias: filter as Pillow does where the output is smaller; bilinear, bicubic and lanczos only.

    Returns:
        (N, C, *size), in the input's dtype.

    Errors: ValueError or TypeError for arguments that exclude each other or do not fit, NotImplementedError for a mode
    that is not for that many dimensions or other integers, RuntimeError for empty sizes.
    """
    if mode in ("nearest", "area", "nearest-exact") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    output_size, factors = _target_size(input, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("lanczos mode requires antialias=True")
    if output_size is None:
        assert factors is not None
        output_size = [int(extent * factor) for extent, factor in zip(input.shape[2:], factors, strict=True)]
        if recompute_scale_factor or mode == "area":
            factors = None
    return _core._interpolate(input, output_size, mode, bool(align_corners), factors or [], antialias)


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """An older name of `interpolate`; arguments, shapes and errors as in `interpolate`."""
    warnings.warn("`upsample` is deprecated. Use `interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """`interpolate` with the nearest elements; arguments, shapes and errors as in `interpolate`."""
    warnings.warn("`upsample_nearest` is deprecated. Use `interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Bilinear `interpolate` with aligned corners; arguments, shapes and errors as in `interpolate`."""
    warnings.warn("`upsample_bilinear` is deprecated. Use `interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Elements of images or volumes at given places (Jaderberg et al. 2015).

    Args:
        input: (N, C, H, W) or (N, C, D, H, W), floating.
        grid: (N, oH, oW, 2) or (N, oD, oH, oW, 3) of places (x, y) or (x, y, z), -1 and 1 being the borders.
        mode: "bilinear" (trilinear in volumes), "nearest" or "bicubic" (images only).
        padding_mode: what lies outside: "zeros", "border" (the nearest element) or "reflection".
        align_corners: whether -1 and 1 are the centres of the outermost elements, or their outer edges (default).

    Returns:
        (N, C, oH, oW) or (N, C, oD, oH, oW), in the input's dtype.

    Errors: ValueError for unknown modes, RuntimeError for shapes or dtypes that do not fit, NotImplementedError for
    integers.
    """
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
    return _core._grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The places that affine maps give the elements of an output, for `grid_sample`.

    Args:
        theta: (N, 2, 3) or (N, 3, 4), floating.
        size: shape of the output, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as in `grid_sample`.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3), in theta's dtype.

    Errors: ValueError for integers, other shapes of theta or empty sizes; NotImplementedError for another number of
    sizes; RuntimeError for another batch size.
    """
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
            stacklevel=2,
        )
    return _core.affine_grid_generator(theta, size, bool(align_corners))
