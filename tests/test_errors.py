"""Bad calls raise at the call, with PyTorch's exception type and a message that names operator and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn


def zeros(*shape: int) -> Any:
    return pycnn.zeros(*shape)


def labels(*values: int) -> Any:
    return pycnn.tensor(list(values))


# name: (call, exception, every one of these must occur in the message in lower case)
BAD_CALLS: dict[str, tuple[Callable[[], Any], type[Exception] | tuple[type[Exception], ...], tuple[str, ...]]] = {
    "cdist compute_mode": (lambda: pycnn.cdist(zeros(1, 2), zeros(1, 2), compute_mode="fast"), ValueError, ("fast",)),
    "solve_triangular of vectors": (
        lambda: pycnn.linalg.solve_triangular(zeros(3, 2, 2), zeros(3, 2), upper=True),
        RuntimeError,
        ("incompatible shapes", "2x2 and 3x2"),
    ),
    "solve_triangular not square": (
        lambda: pycnn.linalg.solve_triangular(zeros(2, 3), zeros(3, 2), upper=True),
        RuntimeError,
        ("2 by 3",),
    ),
    "solve_triangular of integers": (
        lambda: pycnn.linalg.solve_triangular(labels(1).view(1, 1), labels(1).view(1, 1), upper=True),
        NotImplementedError,
        ("int64",),
    ),
    "solve_triangular batches": (
        lambda: pycnn.linalg.solve_triangular(zeros(3, 2, 2), zeros(4, 2, 2), upper=True),
        RuntimeError,
        ("3", "4"),
    ),
    # convolution
    "conv2d channels": (lambda: F.conv2d(zeros(2, 4, 8, 8), zeros(5, 3, 3, 3)), RuntimeError, ("4", "3")),
    "conv2d rank": (lambda: F.conv2d(zeros(2, 3, 4, 8, 8), zeros(5, 3, 3, 3)), RuntimeError, ("2, 3, 4, 8, 8",)),
    "conv2d weight rank": (lambda: F.conv2d(zeros(2, 3, 8, 8), zeros(5, 3, 3)), RuntimeError, ("conv2d",)),
    "conv2d kernel larger than input": (
        lambda: F.conv2d(zeros(1, 1, 3, 3), zeros(1, 1, 5, 5)),
        RuntimeError,
        ("kernel", "5"),
    ),
    "attention dropout": (
        lambda: F.scaled_dot_product_attention(zeros(2, 3), zeros(2, 3), zeros(2, 3), dropout_p=1.5),
        RuntimeError,
        ("probability", "1.5"),
    ),
    "native_dropout": (lambda: pycnn.native_dropout(zeros(3), 1.5, True), RuntimeError, ("probability", "1.5")),
    "embedding_bag of nothing": (
        lambda: F.embedding_bag(pycnn.zeros(3, 0, dtype=pycnn.int64), zeros(5, 2)),
        RuntimeError,
        ("empty",),
    ),
    "conv_tbc ranks": (lambda: F.conv_tbc(zeros(3, 4), zeros(2, 4, 5), zeros(5)), RuntimeError, ("conv_tbc", "(3, 4)")),
    "linear bias of other rows": (
        lambda: F.linear(zeros(3, 4), zeros(5, 4), zeros(2, 5)),
        RuntimeError,
        ("linear", "(2, 5)"),
    ),
    "interpolate bytes linear": (
        lambda: F.interpolate(pycnn.zeros(1, 2, 4, dtype=pycnn.uint8), 7, mode="linear"),
        NotImplementedError,
        ("upsample_linear1d", "byte"),
    ),
    "batch_norm of one dimension": (lambda: F.batch_norm(zeros(3), zeros(3), zeros(3)), RuntimeError, ("3",)),
    "group_norm without groups": (lambda: F.group_norm(zeros(2, 6), 0), ZeroDivisionError, ()),
    "loss without a reduction": (lambda: F.mse_loss(zeros(3), zeros(3), reduction=None), ValueError, ("none",)),
    "conv2d bias": (lambda: F.conv2d(zeros(1, 3, 5, 5), zeros(4, 3, 3, 3), zeros(3)), RuntimeError, ("bias", "3")),
    "conv2d groups": (lambda: F.conv2d(zeros(1, 3, 5, 5), zeros(4, 3, 3, 3), groups=2), RuntimeError, ("groups",)),
    "conv2d groups and outputs": (
        lambda: F.conv2d(zeros(1, 4, 5, 5), zeros(3, 2, 3, 3), groups=2),
        RuntimeError,
        ("groups", "3"),
    ),
    "conv2d negative padding": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), padding=-1),
        RuntimeError,
        ("padding",),
    ),
    "conv2d zero stride": (lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), stride=0), RuntimeError, ("stride",)),
    "conv2d zero dilation": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), dilation=0),
        RuntimeError,
        ("dilation",),
    ),
    "conv2d same with stride": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), stride=2, padding="same"),
        RuntimeError,
        ("same", "strid"),
    ),
    "conv2d unknown padding": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), padding="full"),
        (RuntimeError, ValueError),
        ("padding",),
    ),
    "conv2d stride tuple": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), stride=(1, 1, 1)),
        RuntimeError,
        ("stride",),
    ),
    "conv2d dtypes": (
        lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3).double()),
        RuntimeError,
        ("float", "double|float64"),
    ),
    "conv2d integers": (lambda: F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3).long()), RuntimeError, ("long|int64",)),
    "conv_transpose2d channels": (
        lambda: F.conv_transpose2d(zeros(1, 3, 4, 4), zeros(2, 3, 2, 2)),
        RuntimeError,
        ("3", "2"),
    ),
    "conv_transpose2d output padding": (
        lambda: F.conv_transpose2d(zeros(1, 2, 4, 4), zeros(2, 3, 2, 2), output_padding=1),
        RuntimeError,
        ("output padding|output_padding",),
    ),
    "Conv2d groups": (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, ("divisible", "groups")),
    "Conv2d groups 0": (lambda: nn.Conv2d(3, 4, 3, groups=0), ValueError, ("groups",)),
    # linear, products
    "linear": (lambda: F.linear(zeros(2, 3), zeros(4, 5)), RuntimeError, ("3", "5")),
    "matmul": (lambda: zeros(2, 3) @ zeros(4, 5), RuntimeError, ("3", "4")),
    "matmul scalar": (lambda: zeros(2, 3) @ pycnn.tensor(1.0), RuntimeError, ()),
    "matmul batches": (lambda: zeros(2, 3, 4) @ zeros(3, 4, 5), RuntimeError, ("2", "3")),
    "matmul dtypes": (lambda: zeros(2, 3) @ zeros(3, 2).double(), RuntimeError, ("float", "double|float64")),
    "bmm": (lambda: pycnn.bmm(zeros(2, 3, 4), zeros(2, 5, 4)), RuntimeError, ("4", "5")),
    "mm ranks": (lambda: pycnn.mm(zeros(2, 3, 4), zeros(4, 5)), RuntimeError, ("matri|2",)),
    # pooling
    "max_pool2d padding": (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, padding=2), RuntimeError, ("pad", "kernel")),
    "max_pool2d size": (lambda: F.max_pool2d(zeros(1, 1, 2, 2), 5), RuntimeError, ("2", "small")),
    "max_pool2d stride": (lambda: F.max_pool2d(zeros(1, 1, 4, 4), 2, stride=0), RuntimeError, ("stride",)),
    "avg_pool2d padding": (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2, padding=2), RuntimeError, ("pad", "kernel")),
    "avg_pool2d divisor": (lambda: F.avg_pool2d(zeros(1, 1, 4, 4), 2, divisor_override=0), RuntimeError, ("divisor",)),
    "avg_pool2d rank": (lambda: F.avg_pool2d(zeros(4, 4), 2), IndexError, ()),
    "adaptive_avg_pool2d": (lambda: F.adaptive_avg_pool2d(zeros(1, 1, 4, 4), -1), RuntimeError, ("output",)),
    # normalisation, dropout
    "batch_norm one value": (
        lambda: F.batch_norm(zeros(1, 3), zeros(3), zeros(3), training=True),
        ValueError,
        ("more than 1 value", "1, 3"),
    ),
    "batch_norm channels": (
        lambda: F.batch_norm(zeros(2, 3, 4, 4), zeros(4), zeros(4)),
        RuntimeError,
        ("running_mean", "4", "3"),
    ),
    "batch_norm weight": (
        lambda: F.batch_norm(zeros(2, 3, 4, 4), zeros(3), zeros(3), zeros(5)),
        RuntimeError,
        ("weight", "5", "3"),
    ),
    "BatchNorm2d rank": (lambda: nn.BatchNorm2d(3)(zeros(2, 3)), ValueError, ("4d",)),
    "dropout probability": (lambda: F.dropout(zeros(3), 1.5), ValueError, ("1.5", "probability")),
    "local_response_norm rank": (lambda: F.local_response_norm(zeros(3, 4), 2), ValueError, ("3d",)),
    # losses
    "cross_entropy class too large": (
        lambda: F.cross_entropy(zeros(2, 3), labels(0, 3)),
        IndexError,
        ("3", "out of bounds"),
    ),
    "cross_entropy class negative": (
        lambda: F.cross_entropy(zeros(2, 3), labels(0, -1)),
        IndexError,
        ("-1", "out of bounds"),
    ),
    "cross_entropy batch": (lambda: F.cross_entropy(zeros(2, 3), labels(0, 1, 2)), ValueError, ("2", "3")),
    "cross_entropy pixels": (
        lambda: F.cross_entropy(zeros(2, 3, 4, 4), zeros(2, 4, 5).long()),
        RuntimeError,
        ("4, 5",),
    ),
    "cross_entropy labels as floats": (
        lambda: F.cross_entropy(zeros(2, 3), zeros(2)),
        RuntimeError,
        ("float|dtype|long",),
    ),
    "cross_entropy weights": (
        lambda: F.cross_entropy(zeros(2, 3), labels(0, 1), zeros(4)),
        RuntimeError,
        ("weight", "3"),
    ),
    "cross_entropy smoothing": (
        lambda: F.cross_entropy(zeros(2, 3), labels(0, 1), label_smoothing=1.5),
        RuntimeError,
        ("label_smoothing", "1.5"),
    ),
    "cross_entropy reduction": (
        lambda: F.cross_entropy(zeros(2, 3), labels(0, 1), reduction="avg"),
        ValueError,
        ("avg",),
    ),
    "nll_loss class": (lambda: F.nll_loss(zeros(2, 3), labels(0, 7)), IndexError, ("7", "out of bounds")),
    "bce sizes": (lambda: F.binary_cross_entropy(zeros(3), zeros(4)), ValueError, ("3", "4")),
    "bce_with_logits sizes": (lambda: F.binary_cross_entropy_with_logits(zeros(3), zeros(4)), ValueError, ("3", "4")),
    "mse sizes": (lambda: F.mse_loss(zeros(3), zeros(4)), RuntimeError, ("3", "4")),
    # shapes and dimensions
    "broadcast": (lambda: zeros(2, 3) + zeros(4), RuntimeError, ("3", "4")),
    "negative size": (lambda: zeros(2, -3), RuntimeError, ("-3",)),
    "reshape": (lambda: zeros(2, 3).reshape(4, 2), RuntimeError, ("4, 2", "6")),
    "reshape two unknown": (lambda: zeros(2, 3).reshape(-1, -1), RuntimeError, ("-1|one",)),
    "reshape unknown of nothing": (lambda: zeros(0, 3).reshape(0, -1), RuntimeError, ("0",)),
    "transpose": (lambda: zeros(2, 3).transpose(0, 2), IndexError, ("2", "range")),
    "permute repeated": (lambda: zeros(2, 3).permute(0, 0), RuntimeError, ("repeated|duplicate|unique",)),
    "permute count": (lambda: zeros(2, 3).permute(0, 1, 2), RuntimeError, ("dim",)),
    "expand": (lambda: zeros(2, 3).expand(4, 3), RuntimeError, ("4", "2")),
    "squeeze": (lambda: zeros(2, 3).squeeze(2), IndexError, ("2",)),
    "cat shapes": (lambda: pycnn.cat([zeros(2, 3), zeros(2, 4)]), RuntimeError, ("3", "4")),
    "cat nothing": (lambda: pycnn.cat([]), (RuntimeError, ValueError), ()),
    "stack shapes": (lambda: pycnn.stack([zeros(2, 3), zeros(2, 4)]), RuntimeError, ("2, 3", "2, 4")),
    "split sizes": (lambda: pycnn.split(zeros(5), [2, 2]), RuntimeError, ("5",)),
    "chunk 0": (lambda: pycnn.chunk(zeros(5), 0), RuntimeError, ("chunk",)),
    "sum dimension": (lambda: zeros(2, 3).sum(2), IndexError, ("2", "range")),
    "sum twice": (lambda: zeros(2, 3).sum((0, -2)), RuntimeError, ("multiple|twice|repeated|duplicate",)),
    "softmax dimension": (lambda: F.softmax(zeros(2, 3), 2), IndexError, ("2", "range")),
    "index": (lambda: zeros(2, 3)[2], IndexError, ("2", "size 2")),
    "index negative": (lambda: zeros(2, 3)[0, -4], IndexError, ("-4", "size 3")),
    "too many indices": (lambda: zeros(2, 3)[0, 0, 0], IndexError, ("too many",)),
    "negative step": (lambda: zeros(2, 3)[::-1], ValueError, ("step",)),
    "max of nothing": (lambda: zeros(0).max(), RuntimeError, ("max",)),
    "argmax of nothing": (lambda: zeros(0, 3).argmax(0), IndexError, ("argmax",)),
    "pad": (lambda: F.pad(zeros(2), (1, 1, 1, 1)), RuntimeError, ("pad",)),
    "pad mode": (lambda: F.pad(zeros(1, 2, 3), (1, 1), mode="mirror"), NotImplementedError, ("mirror", "reflect")),
    "pad value": (lambda: F.pad(zeros(1, 2, 3), (1, 1), mode="reflect", value=1), RuntimeError, ("value",)),
    "pad odd": (lambda: F.pad(zeros(1, 2, 3), (1,), mode="reflect"), RuntimeError, ("divisible by 2",)),
    "pad dimensions": (
        lambda: F.pad(zeros(1, 2, 3, 4), (1, 1), mode="circular"),
        NotImplementedError,
        ("padding size 2", "4d", "(1, 2, 3, 4)"),
    ),
    "pad reflect too far": (
        lambda: F.pad(zeros(1, 2, 3), (3, 0), mode="reflect"),
        RuntimeError,
        ("less than", "(3, 0)", "(1, 2, 3)"),
    ),
    "pad circular too far": (
        lambda: F.pad(zeros(1, 2, 3), (4, 0), mode="circular"),
        RuntimeError,
        ("more than once",),
    ),
    "pad crops everything": (
        lambda: F.pad(zeros(1, 2, 3), (-1, -2), mode="replicate"),
        RuntimeError,
        ("too small", "(1, 2, 3)"),
    ),
    "pad reflect of nothing": (
        lambda: F.pad(zeros(2, 0, 3), (1, 1), mode="reflect"),
        RuntimeError,
        ("non-zero", "(2, 0, 3)"),
    ),
    "pad reflect of booleans": (
        lambda: F.pad(zeros(1, 2, 3).bool(), (1, 1), mode="reflect"),
        NotImplementedError,
        ("bool",),
    ),
    "padding mode of a transposed convolution": (
        lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"),
        ValueError,
        ("zeros",),
    ),
    # dtypes and kinds
    "mean of integers": (lambda: pycnn.arange(3).mean(), RuntimeError, ("float",)),
    "relu of a string": (lambda: F.relu("x"), TypeError, ()),
    "add a string": (lambda: zeros(2) + "x", TypeError, ()),
    "float bits": (lambda: zeros(2) & zeros(2), (RuntimeError, NotImplementedError), ("float",)),
    "minus of bool": (lambda: -pycnn.ones(2).bool(), RuntimeError, ("bool",)),
    "ragged list": (lambda: pycnn.tensor([[1, 2], [3]]), ValueError, ("length|ragged|shape|homogeneous",)),
    "list of strings": (lambda: pycnn.tensor(["a"]), (TypeError, ValueError), ("str",)),
    "one argument under two names": (lambda: pycnn.sum(zeros(2, 3), dim=0, axis=1), TypeError, ("sum",)),
    "unknown keyword": (lambda: F.relu(zeros(2), negative=1), TypeError, ("negative",)),
    "shape of strings": (lambda: pycnn.zeros("2"), TypeError, ()),
    "searchsorted without boundaries": (
        lambda: pycnn.searchsorted(pycnn.tensor(1.0), zeros(2)),
        RuntimeError,
        ("positive dimension",),
    ),
    "searchsorted of a number in lines": (
        lambda: pycnn.searchsorted(zeros(2, 3), 1.0),
        RuntimeError,
        ("scalar only when",),
    ),
    "searchsorted lines": (lambda: pycnn.searchsorted(zeros(2, 3), zeros(3, 1)), RuntimeError, ("(2, 3)", "(3, 1)")),
    "searchsorted of bool": (
        lambda: pycnn.searchsorted(pycnn.ones(2).bool(), pycnn.ones(2).bool()),
        NotImplementedError,
        ("bool",),
    ),
    "randint bounds": (lambda: pycnn.randint(3, 3, (2,)), RuntimeError, ("3",)),
    "bernoulli": (lambda: F.dropout(zeros(2), -0.1), ValueError, ("-0.1",)),
    "arange step": (lambda: pycnn.arange(0, 5, -1), RuntimeError, ("step|sign",)),
    "threads": (lambda: pycnn.set_num_threads(0), (RuntimeError, ValueError), ("thread",)),
    "SGD learning rate": (lambda: pycnn.optim.SGD([zeros(1)], lr=-1), ValueError, ("learning rate", "-1")),
    "SGD nesterov": (lambda: pycnn.optim.SGD([zeros(1)], lr=1, nesterov=True), ValueError, ("nesterov", "momentum")),
    "SGD without parameters": (lambda: pycnn.optim.SGD([], lr=1), ValueError, ("empty",)),
    # normalisation over groups, windows, resizing, sampling
    "layer_norm shape": (lambda: F.layer_norm(zeros(2, 3), (4,)), RuntimeError, ("(4)", "(2, 3)")),
    "layer_norm empty shape": (lambda: F.layer_norm(zeros(2, 3), ()), RuntimeError, ("normalized_shape",)),
    "layer_norm weight": (lambda: F.layer_norm(zeros(2, 3), (3,), zeros(2)), RuntimeError, ("weight", "(2)", "(3)")),
    "layer_norm integers": (lambda: F.layer_norm(zeros(2, 3).long(), (3,)), NotImplementedError, ("long",)),
    "rms_norm shape": (lambda: F.rms_norm(zeros(2, 3), (2,)), RuntimeError, ("(2)", "(2, 3)")),
    "group_norm channels": (lambda: F.group_norm(zeros(2, 3, 4), 2), RuntimeError, ("divisible", "(2, 3, 4)")),
    "group_norm weight": (lambda: F.group_norm(zeros(2, 4, 4), 2, zeros(2)), RuntimeError, ("weight", "(2)")),
    "group_norm one element": (lambda: F.group_norm(zeros(1, 4), 4), ValueError, ("more than 1",)),
    "group_norm rank": (lambda: F.group_norm(zeros(4), 2), RuntimeError, ("2 dimensions",)),
    "GroupNorm channels": (lambda: nn.GroupNorm(3, 4), ValueError, ("divisible",)),
    "instance_norm one element": (lambda: F.instance_norm(zeros(2, 3, 1)), ValueError, ("more than 1",)),
    "InstanceNorm2d rank": (lambda: nn.InstanceNorm2d(3)(zeros(2, 3)), ValueError, ("2d",)),
    "InstanceNorm2d channels": (lambda: nn.InstanceNorm2d(3, affine=True)(zeros(2, 4, 3, 3)), ValueError, ("3", "4")),
    "unfold rank": (lambda: F.unfold(zeros(2, 3), 2), IndexError, ("(2, 3)",)),
    "unfold kernel": (lambda: F.unfold(zeros(1, 2, 3, 3), 4), RuntimeError, ("sliding",)),
    "unfold zero stride": (lambda: F.unfold(zeros(1, 2, 3, 3), 2, stride=0), RuntimeError, ("stride",)),
    "fold channels": (lambda: F.fold(zeros(1, 3, 4), 3, 2), RuntimeError, ("divisible",)),
    "fold windows": (lambda: F.fold(zeros(1, 4, 5), 3, 2), RuntimeError, ("2 * 2", "5")),
    "interpolate without a size": (lambda: F.interpolate(zeros(1, 2, 3, 3)), ValueError, ("size",)),
    "interpolate size and factor": (lambda: F.interpolate(zeros(1, 2, 3, 3), 2, 2.0), ValueError, ("only one",)),
    "interpolate sizes": (lambda: F.interpolate(zeros(1, 2, 3, 3), (2, 2, 2)), ValueError, ("spatial",)),
    "interpolate mode": (lambda: F.interpolate(zeros(1, 2, 3, 3), 2, mode="cubic"), NotImplementedError, ("cubic",)),
    "interpolate mode and rank": (
        lambda: F.interpolate(zeros(1, 2, 3), 2, mode="bilinear"),
        NotImplementedError,
        ("bilinear",),
    ),
    "interpolate empty": (lambda: F.interpolate(zeros(1, 2, 3, 3), 0), RuntimeError, ("greater than 0",)),
    "interpolate nearest with corners": (
        lambda: F.interpolate(zeros(1, 2, 3, 3), 2, align_corners=False),
        ValueError,
        ("align_corners",),
    ),
    "interpolate antialias": (
        lambda: F.interpolate(zeros(1, 2, 3, 3), 2, antialias=True),
        ValueError,
        ("anti-alias",),
    ),
    "grid_sample mode": (
        lambda: F.grid_sample(zeros(1, 2, 3, 3), zeros(1, 2, 2, 2), "linear", align_corners=False),
        ValueError,
        ("mode", "linear"),
    ),
    "grid_sample grid": (
        lambda: F.grid_sample(zeros(1, 2, 3, 3), zeros(1, 2, 2, 3), align_corners=False),
        RuntimeError,
        ("size 2",),
    ),
    "grid_sample batch": (
        lambda: F.grid_sample(zeros(1, 2, 3, 3), zeros(2, 2, 2, 2), align_corners=False),
        RuntimeError,
        ("batch",),
    ),
    "affine_grid theta": (
        lambda: F.affine_grid(zeros(1, 3, 3), (1, 2, 3, 3), align_corners=False),
        ValueError,
        ("2x3",),
    ),
    "affine_grid size": (
        lambda: F.affine_grid(zeros(1, 2, 3), (1, 3, 3), align_corners=False),
        NotImplementedError,
        ("4d",),
    ),
    "pixel_shuffle channels": (lambda: F.pixel_shuffle(zeros(1, 3, 2, 2), 2), RuntimeError, ("divisible", "3")),
    "pixel_unshuffle height": (lambda: F.pixel_unshuffle(zeros(1, 3, 3, 2), 2), RuntimeError, ("divisible", "3")),
    "channel_shuffle channels": (lambda: F.channel_shuffle(zeros(1, 3, 2, 2), 2), RuntimeError, ("divisible", "3")),
    # unpooling, power means, fractional pooling
    "max_unpool2d size": (
        lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long(), 2, output_size=(9, 4)),
        ValueError,
        ("output_size",),
    ),
    "max_unpool2d index dtype": (
        lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2), 2),
        RuntimeError,
        ("int64",),
    ),
    "max_unpool2d index shape": (
        lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 3).long(), 2),
        RuntimeError,
        ("(1, 1, 2, 3)",),
    ),
    "max_unpool2d index": (
        lambda: F.max_unpool2d(zeros(1, 1, 2, 2), zeros(1, 1, 2, 2).long() + 16, 2).numpy(),
        (RuntimeError, IndexError),
        ("index",),
    ),
    "lp_pool2d kernel": (lambda: F.lp_pool2d(zeros(1, 1, 2, 2), 2, 3), RuntimeError, ("too small",)),
    "fractional_max_pool2d without a size": (
        lambda: F.fractional_max_pool2d(zeros(1, 1, 5, 5), 2),
        ValueError,
        ("output_size",),
    ),
    "fractional_max_pool2d size": (
        lambda: F.fractional_max_pool2d(zeros(1, 1, 5, 5), 2, 5),
        RuntimeError,
        ("too large",),
    ),
    "FractionalMaxPool2d both": (
        lambda: nn.FractionalMaxPool2d(2, 3, (0.5, 0.5)),
        ValueError,
        ("only one",),
    ),
    "FractionalMaxPool2d ratio": (
        lambda: nn.FractionalMaxPool2d(2, output_ratio=(1.5, 0.5)),
        ValueError,
        ("between 0 and 1",),
    ),
    "alpha_dropout p": (lambda: F.alpha_dropout(zeros(3), 1.5), ValueError, ("between 0 and 1",)),
    "StochasticDepth mode": (lambda: nn.StochasticDepth(0.5, "column"), ValueError, ("column",)),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_raise_at_the_call(name: str) -> None:
    call, kind, words = BAD_CALLS[name]
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value).lower().replace("[", "(").replace("]", ")")
    assert message
    for word in words:
        assert any(choice in message for choice in word.split("|")), f"{word!r} is not in {message!r}"


@pytest.mark.parametrize("name", ["conv2d channels", "linear", "broadcast", "cross_entropy class too large", "index"])
def test_nothing_is_damaged_by_an_error(name: str) -> None:
    x = pycnn.ones(2, 3)
    y = x * 2
    with pytest.raises(BAD_CALLS[name][1]):
        BAD_CALLS[name][0]()
    assert (y + x).tolist() == [[3] * 3] * 2


# Operators that are composed of others, aliases, and helpers that many share: the message begins with what was called.
NAMED: dict[str, Callable[[], Any]] = {
    "conv2d": lambda: F.conv2d(zeros(2, 4, 8, 8), zeros(5, 3, 3, 3)),
    "linear": lambda: F.linear(zeros(2, 3), zeros(4, 5)),
    "max_pool2d": lambda: F.max_pool2d(zeros(1, 1, 2, 2), 5),
    "mse_loss": lambda: F.mse_loss(zeros(2, 3), zeros(4)),
    "l1_loss": lambda: F.l1_loss(zeros(2, 3), zeros(4)),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(zeros(2), zeros(2), weight=zeros(3)),
    "binary_cross_entropy_with_logits": lambda: F.binary_cross_entropy_with_logits(zeros(2), zeros(2), zeros(3)),
    "cross_entropy": lambda: F.cross_entropy(zeros(2, 3), labels(0, 7)),
    "nll_loss": lambda: F.nll_loss(zeros(2, 3), labels(0, 7)),
    "view": lambda: zeros(2, 3).view(4, 2),
    "reshape": lambda: zeros(2, 3).reshape(4, 2),
    "zeros": lambda: pycnn.zeros(-1),
    "ones": lambda: pycnn.ones(2, -1),
    "empty": lambda: pycnn.empty(-4),
    "sum": lambda: zeros(2, 3).sum(2),
    "mean": lambda: zeros(2, 3).mean((0, 0)),
    "var": lambda: zeros(2, 3).var(5),
    "std": lambda: labels(1, 2).std(),
    "amax": lambda: zeros(2, 3).amax(5),
    "argmin": lambda: zeros(2, 3).argmin(5),
    "softmax": lambda: F.softmax(zeros(2, 3), 5),
    "transpose": lambda: zeros(2, 3).transpose(0, 5),
    "flatten": lambda: zeros(2, 3).flatten(3),
    "unsqueeze": lambda: zeros(2, 3).unsqueeze(5),
    "cat": lambda: pycnn.cat([zeros(2), zeros(2)], 5),
    "subtract": lambda: pycnn.subtract(zeros(2), zeros(3)),
    "add_": lambda: zeros(2).add_(zeros(3)),
    "masked_fill": lambda: zeros(2, 3).masked_fill(zeros(4).bool(), 0),
    "copy_": lambda: zeros(2).copy_(zeros(3)),
    "mv": lambda: zeros(2, 3).mv(zeros(4)),
    "dropout2d": lambda: F.dropout2d(zeros(1, 2, 2, 2), -1.0),
    "item": lambda: zeros(2).item(),
    "backward": lambda: zeros(2).backward(),
    "set_num_threads": lambda: pycnn.set_num_threads("a"),
    "dropout": lambda: F.dropout("a"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_messages_begin_with_the_operator_that_was_called(name: str) -> None:
    with pytest.raises((RuntimeError, ValueError, IndexError, TypeError)) as caught:
        NAMED[name]()
    assert str(caught.value).startswith((f"{name}: ", f"{name}(): ", f"{name}() "))


def test_a_recorded_operator_keeps_its_name_when_it_fails_later() -> None:
    """item() evaluates the loss, whose labels are known only then."""
    loss = F.cross_entropy(zeros(2, 3), labels(0, 3) * 2)
    with pytest.raises(IndexError, match=r"^cross_entropy: index out of range"):
        loss.item()
    with pytest.raises(IndexError, match=r"^cross_entropy: index out of range"):
        pycnn.add(loss, 1).numpy()


def test_pytorchs_sentences_are_still_there() -> None:
    with pytest.raises(IndexError, match=r"Target 7 is out of bounds\."):
        F.cross_entropy(zeros(2, 3), labels(0, 7))
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"):
        zeros(2, 3).sum(2)
    with pytest.raises(RuntimeError, match=r"shape '\[4, 2\]' is invalid for input of size 6"):
        zeros(2, 3).view(4, 2)


def test_arguments_of_wrong_types_are_listed() -> None:
    x = zeros(3) + 1
    with pytest.raises(TypeError) as caught:
        pycnn.add(x, "x")
    assert str(caught.value) == (
        "add() received an invalid combination of arguments - got (Tensor, str), but expected "
        "(input: Tensor | float, other: Tensor | float, *, alpha: float = 1)"
    )
    with pytest.raises(TypeError, match=r"got \(NoneType, alpha=int\), but expected \(other: Tensor"):
        x.add(None, alpha=2)
    with pytest.raises(
        TypeError, match=r"max\(\) received .* - got \(dim=str\), but expected one of: \(\) or \(other: T"
    ):
        x.max(dim="a")
    with pytest.raises(TypeError, match=r"conv2d\(\) .* got \(str, Tensor, "):
        F.conv2d("a", zeros(1, 1, 1, 1))
    with pytest.raises(TypeError, match=r"set_num_threads\(\) .* got \(str\), but expected \(n: int\)"):
        pycnn.set_num_threads("a")


def test_errors_from_python_pass_through_unchanged() -> None:
    def hook(gradient: Any) -> Any:
        raise TypeError("incompatible arguments of my own")

    x = zeros(2).requires_grad_()
    x.register_hook(hook)
    with pytest.raises(TypeError) as caught:
        (x * 2).sum().backward()
    assert str(caught.value) == "incompatible arguments of my own"


def test_load_state_dict_has_pytorchs_messages() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict.*0\.bias"):
        net.load_state_dict({"0.weight": zeros(3, 2)})
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict.*extra"):
        net.load_state_dict({"0.weight": zeros(3, 2), "0.bias": zeros(3), "extra": zeros(1)})
    before = net[0].weight.tolist()
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        net.load_state_dict({"0.weight": zeros(2, 3), "0.bias": zeros(3)})
    assert net[0].weight.tolist() == before
    found = net.load_state_dict({"0.weight": zeros(3, 2), "extra": zeros(1)}, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["0.bias"], ["extra"])


def test_sizes_of_layers_are_checked() -> None:
    for layer in (lambda: nn.Conv2d(-4, 3, 3), lambda: nn.Linear(-1, 2), lambda: nn.BatchNorm2d(-3)):
        with pytest.raises(RuntimeError, match=r"a parameter of shape .*negative dimension -\d"):
            layer()
    with pytest.raises(TypeError, match="Parameter and Buffer hold a Tensor, got str"):
        nn.Parameter("a")
