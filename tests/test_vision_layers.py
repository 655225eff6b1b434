"""Lazy layers, blocks and fusion, and the printed form and values of layers that resize, normalise or pool."""

from __future__ import annotations

import copy
import importlib
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn


def array(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy())


LAYERS = {
    "layer_norm": (lambda p: p.nn.LayerNorm((4, 5)), (2, 3, 4, 5)),
    "layer_norm without bias": (lambda p: p.nn.LayerNorm(5, bias=False), (2, 5)),
    "rms_norm": (lambda p: p.nn.RMSNorm(5), (2, 5)),
    "group_norm": (lambda p: p.nn.GroupNorm(2, 4), (2, 4, 3, 3)),
    "group_norm without affine": (lambda p: p.nn.GroupNorm(2, 4, affine=False), (2, 4, 3)),
    "instance_norm1d": (lambda p: p.nn.InstanceNorm1d(3, affine=True), (2, 3, 5)),
    "instance_norm2d": (lambda p: p.nn.InstanceNorm2d(3, track_running_stats=True), (2, 3, 4, 5)),
    "instance_norm3d unbatched": (lambda p: p.nn.InstanceNorm3d(3), (3, 2, 4, 5)),
    "local response norm": (lambda p: p.nn.LocalResponseNorm(2), (2, 3, 4, 5)),
    "cross map response norm": (lambda p: p.nn.CrossMapLRN2d(3, alpha=0.3), (2, 6, 4, 5)),
    "fold": (lambda p: p.nn.Fold((4, 5), (2, 2)), (1, 8, 12)),
    "unfold": (lambda p: p.nn.Unfold((2, 3), padding=1), (1, 2, 4, 5)),
    "pixel_shuffle": (lambda p: p.nn.PixelShuffle(2), (1, 8, 2, 3)),
    "pixel_unshuffle": (lambda p: p.nn.PixelUnshuffle(2), (1, 2, 4, 6)),
    "channel_shuffle": (lambda p: p.nn.ChannelShuffle(2), (1, 4, 2, 3)),
    "upsample": (lambda p: p.nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3, 4)),
    "upsample to a size": (lambda p: p.nn.Upsample((5, 3), mode="bicubic", align_corners=True), (1, 2, 3, 4)),
    "upsampling nearest": (lambda p: p.nn.UpsamplingNearest2d(scale_factor=(2.0, 1.5)), (1, 2, 3, 4)),
    "upsampling bilinear": (lambda p: p.nn.UpsamplingBilinear2d(size=7), (1, 2, 3, 4)),
    "lp_pool1d": (lambda p: p.nn.LPPool1d(2, 3), (1, 2, 7)),
    "lp_pool2d": (lambda p: p.nn.LPPool2d(2, (2, 3), stride=1, ceil_mode=True), (1, 2, 4, 5)),
    "lp_pool3d": (lambda p: p.nn.LPPool3d(2, 2), (1, 2, 4, 4, 4)),
    "fractional": (
        lambda p: p.nn.FractionalMaxPool2d(2, output_ratio=(0.5, 0.5), _random_samples=p.full((1, 2, 2), 0.3)),
        (1, 2, 6, 7),
    ),
    "fractional 3d": (
        lambda p: p.nn.FractionalMaxPool3d(2, output_size=2, _random_samples=p.full((1, 2, 3), 0.6)),
        (1, 2, 5, 6, 7),
    ),
    "dropout alpha": (lambda p: p.nn.AlphaDropout(0.2).eval(), (2, 3)),
    "dropout feature alpha": (lambda p: p.nn.FeatureAlphaDropout(0.2).eval(), (2, 3, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    make, shape = LAYERS[name]
    ours, theirs = make(pycnn), make(torch)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found, expected = array(ours(pycnn.tensor(x))), theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(array(ours.state_dict()[key]), value.numpy(), rtol=1e-5, atol=1e-6)


LAZY = {
    "LazyLinear": ((6,), {}, (2, 5)),
    "LazyConv1d": ((6, 3), {"padding": 1}, (2, 5, 7)),
    "LazyConv2d": ((6, 3), {"bias": False, "stride": 2}, (2, 4, 7, 7)),
    "LazyConv3d": ((6, 2), {"groups": 2}, (2, 4, 3, 3, 3)),
    "LazyConvTranspose1d": ((6, 3), {"stride": 2, "output_padding": 1}, (2, 5, 7)),
    "LazyConvTranspose2d": ((6, 3), {"groups": 2}, (2, 4, 5, 5)),
    "LazyConvTranspose3d": ((6, 2), {}, (2, 4, 3, 3, 3)),
    "LazyBatchNorm1d": ((), {}, (4, 5)),
    "LazyBatchNorm2d": ((), {"affine": False}, (2, 5, 3, 3)),
    "LazyBatchNorm3d": ((), {"track_running_stats": False}, (2, 5, 2, 3, 3)),
    "LazyInstanceNorm1d": ((), {}, (2, 5, 7)),
    "LazyInstanceNorm2d": ((), {}, (2, 5, 4, 3)),
    "LazyInstanceNorm3d": ((), {}, (2, 5, 2, 4, 3)),
}


@pytest.mark.parametrize("name", LAZY)
def test_lazy_layers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arguments, keywords, shape = LAZY[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = (getattr(p.nn, name)(*arguments, **keywords) for p in (pycnn, torch))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    lazy = [key for key, value in theirs.state_dict().items() if "Uninitialized" in type(value).__name__]
    assert [key for key, value in ours.state_dict().items() if "Uninitialized" in type(value).__name__] == lazy
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    theirs(torch.tensor(x))
    other = copy.deepcopy(ours)
    ours(pycnn.tensor(x))
    assert type(ours) is getattr(nn, name.removeprefix("Lazy"))
    assert repr(ours) == repr(theirs)
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    other.load_state_dict(ours.state_dict())
    other.eval(), ours.eval()
    np.testing.assert_array_equal(array(other(pycnn.tensor(x))), array(ours(pycnn.tensor(x))))
    assert type(other) is type(ours)


def test_uninitialized_parameters() -> None:
    layer = nn.LazyLinear(3)
    assert repr(layer.weight) == "<UninitializedParameter>"
    assert nn.parameter.is_lazy(layer.weight)
    with pytest.raises(RuntimeError, match="shape"):
        _ = layer.weight.shape
    with pytest.raises(RuntimeError):
        nn.Linear(2, 3).load_state_dict(layer.state_dict())
    for use in (lambda w: w + 1, lambda w: w.numel(), lambda w: w.zero_(), lambda w: w.detach()):
        with pytest.raises(ValueError, match="uninitialized parameter"):
            use(layer.weight)
    layer.double()
    assert isinstance(pickle.loads(pickle.dumps(layer.weight)), nn.UninitializedParameter)
    assert layer(pycnn.ones(2, 4, dtype=pycnn.float64)).dtype is pycnn.float64
    assert type(layer.weight) is nn.Parameter
    assert layer.weight.requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_lazy_layers_are_lazy(copied: Any) -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3))
    other = copied(net)
    for channels, each in ((2, other), (3, net)):
        x = pycnn.randn(2, channels, 5, 5)
        np.testing.assert_array_equal(array(each(x)), array(each(x)))
        assert [type(layer) for layer in each] == [nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]
        assert each[0].in_channels == channels


def test_lazy_layers_refuse_other_ranks() -> None:
    with pytest.raises(RuntimeError, match="LazyConv2d"):
        nn.LazyConv2d(3, 3)(pycnn.zeros(2, 3))
    with pytest.raises(ValueError, match="divisible"):
        nn.LazyConv2d(4, 3, groups=2)(pycnn.zeros(1, 3, 5, 5))


def test_squeeze_excitation() -> None:
    layer = nn.SqueezeExcitation(4, 2)
    assert list(layer.state_dict()) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    x = pycnn.randn(2, 4, 3, 3)
    weights = layer.state_dict()
    hidden = np.maximum(
        array(x).mean((2, 3)) @ array(weights["fc1.weight"])[:, :, 0, 0].T + array(weights["fc1.bias"]), 0
    )
    scale = 1 / (1 + np.exp(-(hidden @ array(weights["fc2.weight"])[:, :, 0, 0].T + array(weights["fc2.bias"]))))
    np.testing.assert_allclose(array(layer(x)), array(x) * scale[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_blur_pool() -> None:
    layer = nn.BlurPool2d(2)
    assert not layer.state_dict()
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 7)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    row = np.array([1, 2, 1]) / 4
    expected = sum(row[i] * row[j] * padded[:, :, i : i + 6 : 2, j : j + 7 : 2] for i in range(3) for j in range(3))
    np.testing.assert_allclose(array(layer(pycnn.tensor(x))), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="filt_size"):
        nn.BlurPool2d(2, 1)


@pytest.mark.parametrize("layer", [nn.DropPath(0.4), nn.StochasticDepth(0.4, "row")])
def test_dropped_samples(layer: nn.Module) -> None:
    pycnn.manual_seed(3)
    found = array(layer(pycnn.ones(200, 2, 3)))
    kept = found[:, 0, 0] != 0
    assert 80 < kept.sum() < 160
    np.testing.assert_allclose(found, np.where(kept, 1 / 0.6, 0)[:, None, None] * np.ones((1, 2, 3)), rtol=1e-6)
    layer.eval()
    np.testing.assert_array_equal(array(layer(pycnn.ones(3, 2))), 1)


def test_spatial_pyramid() -> None:
    layer = nn.SpatialPyramidPooling((1, 3))
    x = pycnn.randn(2, 4, 7, 5)
    assert tuple(layer(x).shape) == (2, 4 * 10)
    np.testing.assert_array_equal(array(layer(x))[:, :4], array(x).max((2, 3)))
    np.testing.assert_array_equal(array(layer(x))[:, 4:], array(F.adaptive_max_pool2d(x, 3)).reshape(2, -1))


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function: Any) -> None:
    pycnn.manual_seed(5)
    x = pycnn.randn(300, 40, 6)
    found = array(function(x, 0.3, True))
    assert abs(found.mean()) < 0.05
    assert abs(found.var() - 1) < 0.05
    values, counts = np.unique(found, return_counts=True)
    dropped = found == values[counts.argmax()]
    if function is F.feature_alpha_dropout:
        assert np.all(dropped.all(2) == dropped.any(2))
    assert abs(dropped.mean() - 0.3) < 0.03
    np.testing.assert_array_equal(array(function(x, 0.3, False)), array(x))


def test_pytorchs_paths_of_layers() -> None:
    assert nn.modules.batchnorm._BatchNorm is nn.BatchNorm2d.__mro__[1]
    assert importlib.import_module("pycnn.nn.modules.conv").Conv2d is nn.modules.Conv2d is nn.Conv2d
    assert nn.modules.utils._pair(3) == (3, 3)
    state = {"module.a": 1, "b": 2}
    nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"a": 1, "b": 2}


def test_sync_batch_norm_is_batch_norm() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, momentum=0.3), nn.Sequential(nn.BatchNorm2d(3)))
    x = pycnn.randn(4, 2, 3, 3)
    expected, state = array(net(x)), {key: array(value) for key, value in net.state_dict().items()}
    for layer in (net[1], net[2][0]):
        layer.reset_running_stats()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert type(converted[1]) is type(converted[2][0]) is nn.SyncBatchNorm
    np.testing.assert_array_equal(array(converted(x)), expected)
    for key, value in converted.state_dict().items():
        np.testing.assert_array_equal(array(value), state[key])


def test_pooling_with_indices() -> None:
    x = pycnn.randn(2, 3, 6, 6)
    for found, expected in zip(F.max_pool2d_with_indices(x, 2), F.max_pool2d(x, 2, return_indices=True), strict=True):
        np.testing.assert_array_equal(array(found), array(expected))
    assert F.adaptive_max_pool2d_with_indices(x, 2)[1].dtype is pycnn.int64


def test_older_names_of_interpolate() -> None:
    x = pycnn.randn(1, 2, 3, 4)
    for function, keywords in [
        (F.upsample, {"mode": "nearest"}),
        (F.upsample_nearest, {"mode": "nearest"}),
        (F.upsample_bilinear, {"mode": "bilinear", "align_corners": True}),
    ]:
        with pytest.warns(UserWarning, match="deprecated"):
            found = function(x, scale_factor=2)
        np.testing.assert_array_equal(array(found), array(F.interpolate(x, scale_factor=2, **keywords)))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_dropout_of_channels_without_a_batch(dimensions: int, inplace: bool) -> None:
    x = pycnn.ones(50, *(4,) * dimensions)
    found = getattr(F, f"dropout{dimensions}d")(x, 0.5, True, inplace)
    assert tuple(found.shape) == tuple(x.shape)
    kept = array(found).reshape(50, -1)
    assert set(kept.min(1)) == {0.0, 2.0}
    np.testing.assert_array_equal(kept.min(1), kept.max(1))
    assert bool(array(x).max() == 2) is inplace


def test_places_that_are_no_numbers() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for place in (float("nan"), float("inf"), 1e30):
        for mode in ("bilinear", "nearest", "bicubic"):
            for padding in ("zeros", "border", "reflection"):
                for dimensions in (2, 3) if mode != "bicubic" else (2,):
                    ones, places = (1, 1, *(3,) * dimensions), (1, *(1,) * dimensions, dimensions)
                    found, expected = (
                        p.nn.functional.grid_sample(p.ones(ones), p.full(places, place), mode, padding, False)
                        for p in (pycnn, torch)
                    )
                    np.testing.assert_array_equal(array(found), expected.numpy())


def test_states_from_before_batches_were_counted() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    state = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    other = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    assert not other.load_state_dict(state).missing_keys
    assert "1.num_batches_tracked" not in state
    new = net.state_dict()
    del new["1.num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        other.load_state_dict(new)


def test_functions_of_the_package_have_pytorchs_arguments() -> None:
    x, weight, bias = pycnn.randn(4, 3, 6), pycnn.randn(3), pycnn.randn(3)
    found = pycnn.batch_norm(x, weight, bias, None, None, True, 0.1, 1e-5, True)
    np.testing.assert_array_equal(array(found), array(F.batch_norm(x, None, None, weight, bias, True)))
    values, indices = pycnn.adaptive_max_pool1d(x, 2)
    np.testing.assert_array_equal(array(values), array(F.adaptive_max_pool1d(x, 2)))
    assert indices.dtype is pycnn.int64


def test_pooling_to_one_element_takes_any_rank() -> None:
    x = pycnn.randn(2, 3, 2, 4, 3, 5, dtype=pycnn.float64)
    np.testing.assert_allclose(array(F.adaptive_avg_pool2d(x, 1)), array(x).mean((-1, -2), keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(array(nn.AdaptiveAvgPool3d((1, 1, 1))(x))[..., 0, 0, 0], array(x).mean((3, 4, 5)), 1e-5)
    with pytest.raises(IndexError):
        F.adaptive_avg_pool2d(pycnn.ones(4), 1)
