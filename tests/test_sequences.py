"""Embeddings, recurrent layers, attention and reparametrised weights: the same state dict as PyTorch's gives the same
outputs and gradients; what raises."""

from __future__ import annotations

import importlib
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import pycnn
import pycnn.nn.functional as F
from pycnn import nn
from pycnn.nn.utils import parametrizations, parametrize
from pycnn.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flat(results: Any) -> list[Any]:
    if isinstance(results, (tuple, list)):
        return [part for result in results for part in flat(result)]
    return [] if results is None else [results]


def packed(package: Any, layer: Any, x: Any) -> Any:
    rnn = importlib.import_module(package.__name__ + ".nn.utils.rnn")
    batch = rnn.pack_padded_sequence(package.tensor(x), [3, 7, 5, 1], enforce_sorted=False)
    output, state = layer(batch)
    return rnn.pad_packed_sequence(output, padding_value=-1.0), state


X, Q, K = normal(7, 4, 5), normal(6, 2, 8, seed=1), normal(5, 2, 8, seed=2)
H, C = normal(2, 4, 3, seed=3), normal(2, 4, 3, seed=4)
IGNORED = np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], bool)
HIDDEN = np.tri(6, 5, k=1) == 0
INDICES = np.array([[0, 4, 2], [2, 2, 1]])

Build = Callable[[Any], Any]


def make(kind: str, options: dict[str, Any], nn: Any) -> Any:
    return getattr(nn, kind)(5, 3, **options)


LAYERS: dict[str, tuple[Build, Callable[[Any, Any], Any]]] = {}
for kind in ("RNN", "LSTM", "GRU"):
    for name, options in {
        "": {},
        " two layers both ways": {"num_layers": 2, "bidirectional": True},
        " batch first": {"batch_first": True, "bias": False},
    }.items():
        build = partial(make, kind, options)
        LAYERS[kind + name] = build, lambda p, layer: layer(p.tensor(X))
        if "batch_first" not in options:
            LAYERS[kind + name + " packed"] = build, lambda p, layer: packed(p, layer, X)
    build = partial(make, kind + "Cell", {})
    LAYERS[kind + "Cell"] = build, lambda p, layer: layer(p.tensor(X[0]))
    LAYERS[kind + "Cell unbatched"] = build, lambda p, layer: layer(p.tensor(X[0, 0]))
LAYERS["RNN relu"] = lambda nn: nn.RNN(5, 3, 1, "relu"), lambda p, layer: layer(p.tensor(X))
LAYERS["LSTM projected"] = (
    lambda nn: nn.LSTM(5, 3, 2, proj_size=2, bidirectional=True),
    lambda p, layer: layer(p.tensor(X)),
)
LAYERS["LSTM state"] = (
    lambda nn: nn.LSTM(5, 3, 2),
    lambda p, layer: layer(p.tensor(X), (p.tensor(H), p.tensor(C))),
)
for name, options in {
    "": {},
    " learned and zero keys": {"add_bias_kv": True, "add_zero_attn": True},
    " without bias": {"bias": False},
}.items():
    for call, keywords in {
        "": {},
        " without weights": {"need_weights": False},
        " weights per head": {"average_attn_weights": False},
    }.items():
        LAYERS["MultiheadAttention" + name + call] = (
            lambda nn, options=options: nn.MultiheadAttention(8, 2, **options),
            lambda p, layer, keywords=keywords: layer(p.tensor(Q), p.tensor(K), p.tensor(K), **keywords),
        )
for weights in (True, False):
    LAYERS[f"MultiheadAttention masks {weights}"] = (
        lambda nn: nn.MultiheadAttention(8, 2),
        lambda p, layer, weights=weights: layer(
            p.tensor(Q), p.tensor(K), p.tensor(K), p.tensor(IGNORED), weights, p.tensor(HIDDEN)
        ),
    )
LAYERS["MultiheadAttention widths"] = (
    lambda nn: nn.MultiheadAttention(8, 2, kdim=3, vdim=4),
    lambda p, layer: layer(p.tensor(Q), p.tensor(K[..., :3]), p.tensor(K[..., :4])),
)
LAYERS["MultiheadAttention batch first"] = (
    lambda nn: nn.MultiheadAttention(8, 2, batch_first=True),
    lambda p, layer: layer(*[p.tensor(Q)] * 3),
)
LAYERS["MultiheadAttention unbatched"] = (
    lambda nn: nn.MultiheadAttention(8, 2),
    lambda p, layer: layer(*[p.tensor(Q[:, 0])] * 3),
)
LAYERS["Embedding"] = lambda nn: nn.Embedding(5, 3, padding_idx=2), lambda p, layer: layer(p.tensor(INDICES))
LAYERS["Embedding norm and frequency"] = (
    lambda nn: nn.Embedding(5, 3, max_norm=1.0, scale_grad_by_freq=True),
    lambda p, layer: layer(p.tensor(INDICES)),
)
for mode in ("sum", "mean", "max"):
    LAYERS[f"EmbeddingBag {mode}"] = (
        lambda nn, mode=mode: nn.EmbeddingBag(5, 3, mode=mode, padding_idx=2),
        lambda p, layer: layer(p.tensor(INDICES)),
    )
    LAYERS[f"EmbeddingBag {mode} offsets"] = (
        lambda nn, mode=mode: nn.EmbeddingBag(5, 3, mode=mode),
        lambda p, layer: layer(p.tensor(INDICES.reshape(-1)), p.tensor([0, 2, 2])),
    )
LAYERS["Bilinear"] = lambda nn: nn.Bilinear(8, 3, 4), lambda p, layer: layer(p.tensor(K), p.tensor(K[..., :3]))
FUTURE = np.triu(np.ones((6, 6), bool), 1)
PADDED = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
for name, options in {
    "": {},
    " norm first": {"norm_first": True, "activation": "gelu"},
    " without bias": {"bias": False},
}.items():
    shared = {"dim_feedforward": 12, "dropout": 0.0, **options}
    LAYERS["TransformerEncoderLayer" + name] = (
        lambda nn, shared=shared: nn.TransformerEncoderLayer(8, 2, **shared),
        lambda p, layer: layer(p.tensor(Q), p.tensor(FUTURE), p.tensor(PADDED)),
    )
    LAYERS["TransformerDecoderLayer" + name] = (
        lambda nn, shared=shared: nn.TransformerDecoderLayer(8, 2, **shared),
        lambda p, layer: layer(p.tensor(Q), p.tensor(K), p.tensor(FUTURE), memory_key_padding_mask=p.tensor(IGNORED)),
    )
LAYERS["TransformerEncoder"] = (
    lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, 0.0), 2, nn.LayerNorm(8)),
    lambda p, layer: layer(p.tensor(Q)),
)
LAYERS["Transformer"] = (
    lambda nn: nn.Transformer(8, 2, 1, 2, 12, 0.0, batch_first=True),
    lambda p, layer: layer(p.tensor(Q), p.tensor(Q[:, ::-1].copy())),
)
LAYERS["Transformer causal"] = (
    lambda nn: nn.Transformer(8, 2, 1, 1, 12, 0.0),
    lambda p, layer: layer(p.tensor(Q), p.tensor(K), tgt_mask=layer.generate_square_subsequent_mask(5)),
)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    build, call = LAYERS[name]
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours) == repr(theirs)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({key: pycnn.tensor(value.numpy()) for key, value in state.items()})
    found, expected = flat(call(pycnn, ours)), flat(call(torch, theirs))
    assert len(found) == len(expected)
    for a, e in zip(found, expected, strict=True):
        assert tuple(a.shape) == tuple(e.shape)
        np.testing.assert_allclose(a.detach().numpy(), e.detach().numpy(), rtol=1e-5, atol=1e-6)
    for results in (found, expected):
        sum((r * r).sum() for r in results if r.requires_grad).backward()
    for (key, parameter), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), key
        if parameter.grad is not None:
            np.testing.assert_allclose(parameter.grad.numpy(), other.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=key)


# -- sequences of different lengths ------------------------------------------------------------------------------------
def test_packed_sequences_come_back() -> None:
    parts = [pycnn.randn(length, 2) for length in (2, 4, 1)]
    padded = pad_sequence(parts, batch_first=True)
    assert padded.shape == (3, 4, 2)
    left = pad_sequence(parts, padding_value=9.0, padding_side="left")
    assert left.shape == (4, 3, 2) and left[:3, 2].eq(9.0).all()
    batch = pack_sequence(parts, enforce_sorted=False)
    assert isinstance(batch, PackedSequence) and batch.batch_sizes.tolist() == [3, 2, 1, 1]
    assert batch.sorted_indices.tolist() == [1, 0, 2] and batch.unsorted_indices.tolist() == [1, 0, 2]
    assert batch.double().data.dtype == pycnn.float64
    again, lengths = pad_packed_sequence(batch, batch_first=True, total_length=4)
    assert lengths.tolist() == [2, 4, 1] and pycnn.equal(again, padded)
    for found in (unpack_sequence(batch), unpad_sequence(padded, lengths, batch_first=True)):
        assert all(pycnn.equal(a, b) for a, b in zip(found, parts, strict=True))
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        pack_sequence(parts)
    with pytest.raises(ValueError, match="total_length"):
        pad_packed_sequence(batch, total_length=3)
    with pytest.raises(RuntimeError, match="greater than 0"):
        pack_padded_sequence(padded, [2, 0, 0], batch_first=True)


def test_recording_a_long_sequence_is_linear() -> None:
    """Twice the steps record twice the nodes, and the gradient of the steps' inputs is one concatenation."""
    counts = []
    for steps in (20, 40):
        layer = nn.LSTM(3, 4)
        before = pycnn._core.statistics()["nodes_recorded"]
        layer(pycnn.randn(steps, 2, 3))[0].sum().backward()
        counts.append(pycnn._core.statistics()["nodes_recorded"] - before)
    assert counts[1] < 2.05 * counts[0] and counts[1] < 40 * 80


BAD_CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "RNN rank": (lambda: nn.RNN(2, 3)(pycnn.zeros(2, 2, 2, 2)), ValueError, "2D or 3D"),
    "LSTM features": (lambda: nn.LSTM(2, 3)(pycnn.zeros(2, 2, 4)), RuntimeError, "Expected 2, got 4"),
    "GRU state": (
        lambda: nn.GRU(2, 3)(pycnn.zeros(5, 2, 2), pycnn.zeros(1, 1, 3)),
        RuntimeError,
        r"Expected hidden size \(1, 2, 3\), got \[1, 1, 3\]",
    ),
    "LSTM state": (
        lambda: nn.LSTM(2, 3)(pycnn.zeros(5, 2, 2), (pycnn.zeros(1, 2, 3), pycnn.zeros(1, 2, 4))),
        RuntimeError,
        r"hidden\[1\]",
    ),
    "GRU dtype": (lambda: nn.GRU(2, 3)(pycnn.zeros(5, 2, 2).double()), ValueError, "dtype"),
    "GRU proj_size": (lambda: nn.GRU(2, 3, proj_size=1), ValueError, "proj_size"),
    "LSTM proj_size": (lambda: nn.LSTM(2, 3, proj_size=3), ValueError, "smaller"),
    "RNN nonlinearity": (lambda: nn.RNN(2, 3, nonlinearity="gelu"), ValueError, "gelu"),
    "LSTM size": (lambda: nn.LSTM(2, 3.0), TypeError, "hidden_size should be of type int"),
    "RNNCell features": (lambda: nn.RNNCell(2, 3)(pycnn.zeros(1, 3)), RuntimeError, "input_size"),
    "embedding dtype": (lambda: F.embedding(pycnn.zeros(2), pycnn.zeros(3, 2)), RuntimeError, "Long, Int"),
    "embedding range": (lambda: F.embedding(pycnn.tensor([3]), pycnn.zeros(3, 2)), IndexError, "out of bounds"),
    "Embedding padding_idx": (lambda: nn.Embedding(3, 2, padding_idx=3), AssertionError, "Padding_idx"),
    "embedding_bag mode": (
        lambda: F.embedding_bag(pycnn.tensor([[1]]), pycnn.zeros(3, 2), mode="min"),
        ValueError,
        "mode",
    ),
    "embedding_bag offsets": (
        lambda: F.embedding_bag(pycnn.tensor([1]), pycnn.zeros(3, 2)),
        ValueError,
        "offsets has to be a 1D Tensor",
    ),
    "bilinear": (
        lambda: F.bilinear(pycnn.zeros(2, 3), pycnn.zeros(2, 4), pycnn.zeros(1, 3, 5)),
        RuntimeError,
        "got 4 but expected 5",
    ),
    "attention mask and causal": (
        lambda: F.scaled_dot_product_attention(
            *[pycnn.zeros(2, 3, 4)] * 3, attn_mask=pycnn.ones(3, 3).bool(), is_causal=True
        ),
        RuntimeError,
        "is_causal",
    ),
    "attention dtypes": (
        lambda: F.scaled_dot_product_attention(pycnn.zeros(2, 3), pycnn.zeros(2, 3).double(), pycnn.zeros(2, 3)),
        RuntimeError,
        "same dtype",
    ),
    "MultiheadAttention heads": (lambda: nn.MultiheadAttention(8, 3), AssertionError, "divisible"),
    "MultiheadAttention rank": (lambda: nn.MultiheadAttention(8, 2)(*[pycnn.zeros(8)] * 3), AssertionError, "2D"),
    "MultiheadAttention causal": (
        lambda: nn.MultiheadAttention(8, 2)(*[pycnn.zeros(3, 1, 8)] * 3, is_causal=True),
        RuntimeError,
        "attn_mask",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls(name: str) -> None:
    call, error, message = BAD_CALLS[name]
    with pytest.raises(error, match=message):
        call()


def test_gradients_stay_finite_where_nothing_may_be_seen() -> None:
    q, k, v = (pycnn.randn(1, 2, 3, 4, requires_grad=True) for _ in range(3))
    mask = pycnn.tensor([[True, False, True], [False, False, False], [True, True, True]])
    found = F.scaled_dot_product_attention(q, k, v, mask)
    found.sum().backward()
    assert found[..., 1, :].eq(0).all()
    assert all(t.grad.isfinite().all() for t in (q, k, v))


def test_dropout_between_layers_only_in_training() -> None:
    layer, x = nn.GRU(3, 4, 2, dropout=0.5), pycnn.randn(5, 2, 3)
    assert not pycnn.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert pycnn.equal(layer(x)[0], layer(x)[0])
    with pytest.warns(UserWarning, match="dropout option adds dropout"):
        nn.GRU(3, 4, dropout=0.5)


# -- reparametrised weights --------------------------------------------------------------------------------------------
def _normed(package: Any, kind: str, newer: bool, **options: Any) -> Any:
    utils = importlib.import_module(package.__name__ + ".nn.utils")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        owner = utils.parametrizations if newer else utils
        return getattr(owner, kind)(package.nn.Conv2d(3, 4, 2), **options)


@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"), [("weight_norm", {}), ("weight_norm", {"dim": None}), ("spectral_norm", {})]
)
def test_normalised_weights_equal_pytorchs(kind: str, options: dict[str, Any], newer: bool) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    ours, theirs = (_normed(package, kind, newer, **options) for package in (pycnn, torch))
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state) and repr(ours) == repr(theirs)
    ours.load_state_dict({key: pycnn.tensor(value.numpy()) for key, value in state.items()})
    x = normal(2, 3, 5, 5)
    for train in (True, False):
        ours.train(train), theirs.train(train)
        a, e = ours(pycnn.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(a.detach().numpy(), e.detach().numpy(), rtol=1e-4, atol=1e-5)
    (a * a).sum().backward(), (e * e).sum().backward()
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), other.grad.numpy(), rtol=1e-3, atol=1e-4)


def test_normalised_weights_can_be_plain_again() -> None:
    utils = nn.utils
    x = pycnn.randn(2, 3, 4, 4)
    for kind in ("weight_norm", "spectral_norm"):
        layer = _normed(pycnn, kind, newer=False).eval()
        before = layer(x)
        getattr(utils, "remove_" + kind)(layer)
        assert list(dict(layer.named_parameters())) in (["weight", "bias"], ["bias", "weight"])
        assert pycnn.allclose(layer(x), before, atol=1e-6)
        with pytest.raises(ValueError, match="not found"):
            getattr(utils, "remove_" + kind)(layer)
        layer = _normed(pycnn, kind, newer=True).eval()
        before = layer(x)
        parametrize.remove_parametrizations(layer, "weight")
        assert type(layer) is nn.Conv2d and pycnn.allclose(layer(x), before, atol=1e-6)


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return (x + x.t()) / 2

    def right_inverse(self, x: Any) -> Any:
        return x


def test_parametrize() -> None:
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias")
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert pycnn.equal(layer.weight, layer.weight.t())
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    layer.weight = pycnn.eye(3) * 2
    assert pycnn.equal(layer.parametrizations.weight.original, pycnn.eye(3) * 2)
    layer(pycnn.randn(2, 3)).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    with parametrize.cached():
        assert layer.weight is layer.weight
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)
    with pytest.raises(ValueError, match="does not have"):
        parametrize.register_parametrization(layer, "nothing", Symmetric())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert not parametrize.is_parametrized(layer)


def test_older_weight_norm_loads_into_the_newer() -> None:
    older = _normed(pycnn, "weight_norm", newer=False)
    newer = parametrizations.weight_norm(nn.Conv2d(3, 4, 2))
    newer.load_state_dict(older.state_dict())
    x = pycnn.randn(2, 3, 4, 4)
    assert pycnn.equal(older(x), newer(x))
