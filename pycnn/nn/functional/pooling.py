"""Pooling over windows, given or adaptive."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import on_device_of_inputs
from pycnn.nn.functional.types import Size


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, L) or (C, L); see `max_pool2d` for all the rest."""
    return _core.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window. NaN is larger than any number; of equal ones the first counts.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in taps.
        stride: step between windows, in elements (default: kernel_size).
        padding: minus infinity on both sides, at most half the window.
        dilation: distance between taps.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1, in the
        input's dtype; with `return_indices` a pair.

    Errors: RuntimeError for shapes or arguments that do not fit, NotImplementedError for bool.
    """
    return _core.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of every window of (N, C, D, H, W) or (C, D, H, W); see `max_pool2d` for all the rest."""
    return _core.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of (N, C, L) or (C, L); see `avg_pool2d` for all the rest."""
    return _core.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the window, in elements.
        stride: step between windows, in elements (default: kernel_size).
        padding: zeros on both sides, at most half the window.
        ceil_mode: let the last window hang over the border, provided that it starts inside.
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead of the window's element count.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with oH = floor((H + 2 padding - kH) / stride) + 1, in the input's dtype.

    Errors: IndexError for fewer than 3 dimensions, RuntimeError for other shapes or arguments that do not fit,
    NotImplementedError for dtypes that are neither floating nor int64.
    """
    if input.dim() < 3:
        raise IndexError(f"avg_pool2d: Expected 3D or 4D (batch mode) input, but got: {list(input.shape)}")
    return _core.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d` for all the rest."""
    return _core.avg_pool3d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _check_sizes(spatial: int, input: Tensor, output_size: Any) -> None:
    """Sizes in a sequence are matched with the input's before anything else."""
    if hasattr(output_size, "__index__") or output_size is None:
        return
    if input.dim() <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    if len(output_size) != spatial:
        raise RuntimeError(f"adaptive_pool{spatial}d: output_size must be {spatial}, but got {tuple(output_size)}")


def _is_mean(spatial: int, input: Tensor, output_size: Any) -> bool:
    """Whether the output has one element per channel and the input's rank is no image's, which PyTorch then allows."""
    one = output_size == 1 if hasattr(output_size, "__index__") else tuple(output_size or ()) == (1,) * spatial
    return one and input.is_floating_point() and input.dim() not in (spatial + 1, spatial + 2)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_avg_pool2d`."""
    return _core.adaptive_avg_pool1d(input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen such that the output has `output_size` rows and columns.

    Window i covers the rows floor(i H / oH) up to ceil((i + 1) H / oH), so neighbours may overlap.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype.

    Errors: ValueError for no more dimensions than sizes, RuntimeError for other shapes or negative sizes, IndexError
    for one element of fewer than 2 dimensions, NotImplementedError for integers.
    """
    _check_sizes(2, input, output_size)
    if _is_mean(2, input, output_size):
        return input.mean((-1, -2), keepdim=True)
    return _core.adaptive_avg_pool2d(input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_avg_pool2d`."""
    _check_sizes(3, input, output_size)
    if _is_mean(3, input, output_size):
        return input.mean((-1, -2, -3), keepdim=True)
    return _core.adaptive_avg_pool3d(input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, L) into (N, C, output_size); see `adaptive_max_pool2d`."""
    return _core.adaptive_max_pool1d(input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of the windows of `adaptive_avg_pool2d`; NaN is larger than any number.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: one number or (oH, oW); None keeps the input's size.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype; with `return_indices` a pair.

    Errors: ValueError for no more dimensions than sizes, RuntimeError for other shapes or negative sizes,
    NotImplementedError for integers.
    """
    _check_sizes(2, input, output_size)
    return _core.adaptive_max_pool2d(input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest elements of windows that turn (N, C, D, H, W) into (N, C, oD, oH, oW); see `adaptive_max_pool2d`."""
    _check_sizes(3, input, output_size)
    return _core.adaptive_max_pool3d(input, output_size, return_indices)


def _per_dimension(value: Any, count: int) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * count if len(values) == 1 else values


# -- unpooling ---------------------------------------------------------------------------------------------------------
@on_device_of_inputs
def _max_unpool(
    spatial: int, input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None, padding: Size,
    output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    kernel = _per_dimension(kernel_size, spatial)
    step = kernel if stride is None else _per_dimension(stride, spatial)
    border = _per_dimension(padding, spatial)
    extents = tuple(input.shape)[-spatial:]
    default = [(extents[d] - 1) * step[d] + kernel[d] - 2 * border[d] for d in range(spatial)]
    size = default
    if output_size is not None:
        size = list(output_size)[2:] if len(output_size) == spatial + 2 else list(output_size)
        if len(size) != spatial:
            raise ValueError(
                f"output_size should be a sequence containing {spatial} or {spatial + 2} elements, "
                f"but it has a length of '{len(output_size)}'"
            )
        for d in range(spatial):
            if not default[d] - step[d] < size[d] < default[d] + step[d]:
                raise ValueError(
                    f'invalid output_size "{size}" (dim {d} must be between {default[d] - step[d]} '
                    f"and {default[d] + step[d]})"
                )
    for d in range(spatial):
        if size[d] < 0:
            raise ValueError(
                "max_unpooling: output_size must contain non-negative spatial dimensions, "
                f"but got output_size[{d}]={size[d]}"
            )
    if indices.dtype != _core.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if input.dim() not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"max_unpool{spatial}d: Input to max_unpooling{spatial}d should be a {spatial + 1}d or {spatial + 2}d "
            f"Tensor, but got a tensor with {input.dim()} dimensions"
        )
    if tuple(indices.shape) != tuple(input.shape):
        raise RuntimeError(
            f"max_unpool{spatial}d: Expected shape of indices to be same as that of the input tensor "
            f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    outer = tuple(input.shape)[:-spatial]
    elements = 1
    for extent in size:
        elements *= extent
    flat = _core.zeros((*outer, elements), dtype=input.dtype)
    filled = flat.scatter(-1, indices.flatten(len(outer)), input.flatten(len(outer)))
    return filled.reshape((*outer, *size))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the maxima of (N, C, L) or (C, L) back where they were; see `max_unpool2d` for all the rest."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts maxima back where they were, zeros elsewhere: a partial inverse of `max_pool2d`.

    Args:
        input: (N, C, H, W) or (C, H, W).
        indices: int64, of the input's shape: the positions that `max_pool2d` returned.
        kernel_size, stride, padding: those of the pooling.
        output_size: (oH, oW), or the whole shape, where several sizes pool to the input's (default: the smallest).

    Returns:
        (N, C, oH, oW) or (C, oH, oW) in the input's dtype.

    Errors: ValueError for an output_size that the pooling cannot come from; RuntimeError for shapes or dtypes that do
    not fit and indices outside of the output.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the maxima of (N, C, D, H, W) or (C, D, H, W) back where they were; see `max_unpool2d` for all the rest."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# -- power means -------------------------------------------------------------------------------------------------------
def _lp_pool(
    spatial: int, input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None, ceil_mode: bool
) -> Tensor:
    largest: Callable[..., Tensor] = (max_pool1d, max_pool2d, max_pool3d)[spatial - 1]
    if norm_type == float("inf"):
        return largest(input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    if norm_type == -float("inf"):
        return -largest(-input.abs(), kernel_size, stride, 0, 1, ceil_mode)
    average: Callable[..., Tensor] = (avg_pool1d, avg_pool2d, avg_pool3d)[spatial - 1]
    mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    count = 1
    for extent in _per_dimension(kernel_size, spatial):
        count *= extent
    return (_core.sign(mean) * _core.relu(_core.abs(mean))).mul(count).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of every window of (N, C, L) or (C, L); see `lp_pool2d` for all the rest."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of every window, (sum of x^p)^(1/p).

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        norm_type: p; infinity gives the largest absolute value.
        kernel_size: the window, in elements.
        stride: step between windows (default: kernel_size).
        ceil_mode: let the last window hang over the border, provided that it starts inside.

    Returns:
        (N, C, oH, oW) or (C, oH, oW) with sizes as in `avg_pool2d`, in the input's dtype.

    Errors: those of `avg_pool2d`: RuntimeError for shapes or arguments that do not fit, NotImplementedError for bool.
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of every window of (N, C, D, H, W) or (C, D, H, W); see `lp_pool2d` for all the rest."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# -- fractional --------------------------------------------------------------------------------------------------------
@on_device_of_inputs
def _fractional_max_pool(
    spatial: int, input: Tensor, kernel_size: Size, output_size: Size | None, output_ratio: Any, return_indices: bool,
    random_samples: Tensor | None,
) -> Any:  # fmt: skip
    name = f"fractional_max_pool{spatial}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (spatial + 1, spatial + 2):
        error = RuntimeError if input.dim() > spatial else IndexError
        raise error(f"{name}(): Expected {spatial + 1}D or {spatial + 2}D tensor, but got: {list(input.shape)}")
    kernel = _per_dimension(kernel_size, spatial)
    extents = tuple(input.shape)[-spatial:]
    if output_size is None:
        ratios = _per_dimension(output_ratio, spatial)
        output = tuple(int(extent * ratio) for extent, ratio in zip(extents, ratios, strict=True))
    else:
        output = _per_dimension(output_size, spatial)
    if not input.is_floating_point():
        raise NotImplementedError(f"{name}: not implemented for {input.dtype}")
    if 0 in tuple(input.shape)[input.dim() - spatial - 1 :]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got {list(input.shape)}"
        )
    if len(kernel) != spatial or len(output) != spatial:
        raise RuntimeError(f"{name}: kernel_size and output_size must either be a single int or tuples of {spatial}")
    for d in range(spatial):
        if kernel[d] <= 0 or output[d] <= 0:
            raise RuntimeError(f"{name}: kernel_size and output_size must be greater than zero, got {kernel}, {output}")
        if output[d] + kernel[d] - 1 > extents[d]:
            raise RuntimeError(
                f"{name}(): pool size {kernel} too large relative to input size {extents} and output size {output}"
            )
    x = input.unsqueeze(0) if input.dim() == spatial + 1 else input
    batch, channels = x.shape[0], x.shape[1]
    if random_samples is None:
        random_samples = _core.rand(batch, channels, spatial).to(input.dtype)
    given = tuple(random_samples.shape)
    if given[1:] != (channels, spatial) or given[0] < batch:
        raise RuntimeError(f"{name}: Expect _random_samples to have shape {(batch, channels, spatial)}, got {given}")
    random_samples = random_samples[:batch]
    if random_samples.dtype != input.dtype:
        raise RuntimeError(f"{name}: Expect _random_samples to have the same dtype as input")

    places = None
    for d in range(spatial):
        # PyTorch's samples begin with the columns of images, but with the planes of volumes.
        sample = random_samples[..., 1 - d if spatial == 2 else d].unsqueeze(-1)
        steps = _core.arange(output[d])
        last = extents[d] - kernel[d]
        alpha = last / (output[d] - 1) if output[d] > 1 else 0.0
        begin = ((steps + sample) * alpha).long() - (sample * alpha).long()
        begin = _core.where(steps == output[d] - 1, _core.full_like(begin, last), begin)
        shape = [1] * (2 * spatial)
        shape[d], shape[spatial + d] = output[d], kernel[d]
        taken = (begin.unsqueeze(-1) + _core.arange(kernel[d])).reshape((batch, channels, *shape))
        places = taken if places is None else places * extents[d] + taken
    assert places is not None
    windows = taps = 1
    for d in range(spatial):
        windows, taps = windows * output[d], taps * kernel[d]
    places = places.reshape((batch, channels, windows, taps))
    candidates = x.flatten(2).gather(2, places.flatten(2)).reshape((batch, channels, windows, taps))
    values, which = candidates.max(-1)
    shape = [*input.shape[:-spatial], *output]
    if not return_indices:
        return values.reshape(tuple(shape))
    indices = places.gather(-1, which.unsqueeze(-1))
    return values.reshape(tuple(shape)), indices.reshape(tuple(shape))


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of windows at pseudo-random places (Graham 2014).

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        kernel_size: the window, in elements.
        output_size: (oH, oW) or one number.
        output_ratio: instead of output_size, parts of H and W, in 0..1.
        return_indices: give also the int64 positions, counted over the H * W elements of a plane.

    Returns:
        (N, C, oH, oW) or (C, oH, oW), in the input's dtype; with `return_indices` a pair.

    Errors: ValueError without size and ratio; IndexError for fewer than 3 dimensions; RuntimeError for other shapes or
    arguments that do not fit; NotImplementedError for integers.
    """
    return _fractional_max_pool(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of windows at pseudo-random places of (N, C, D, H, W); see `fractional_max_pool2d`."""
    return _fractional_max_pool(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


# -- PyTorch's names of the functions that always give indices too -----------------------------------------------------
def _with_indices(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.arguments["return_indices"] = True
        return function(*bound.args, **bound.kwargs)

    call.__name__ = call.__qualname__ = f"{function.__name__}_with_indices"
    call.__doc__ = f"`{function.__name__}`(..., return_indices=True) of (N, C, ...); see `{function.__name__}`."
    return call


max_pool1d_with_indices = _with_indices(max_pool1d)
max_pool2d_with_indices = _with_indices(max_pool2d)
max_pool3d_with_indices = _with_indices(max_pool3d)
adaptive_max_pool1d_with_indices = _with_indices(adaptive_max_pool1d)
adaptive_max_pool2d_with_indices = _with_indices(adaptive_max_pool2d)
adaptive_max_pool3d_with_indices = _with_indices(adaptive_max_pool3d)
fractional_max_pool2d_with_indices = _with_indices(fractional_max_pool2d)
fractional_max_pool3d_with_indices = _with_indices(fractional_max_pool3d)
