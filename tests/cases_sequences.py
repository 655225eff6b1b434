"""Rows of the operator table: embeddings, recurrent layers, attention, bilinear maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, Input, apart, booleans, constant, distinct, integers, normal, values

CASES: list[Case] = []


def add(name: str, function: Any, *inputs: Input | None, oracle: Any = None, **keywords: Any) -> None:
    CASES.append(Case(name, function, inputs, keywords, oracle))


# -- embeddings --------------------------------------------------------------------------------------------------------
add("embedding", lambda p, i, w: p.nn.functional.embedding(i, w), integers(0, 5, 2, 3), normal(5, 4),
    oracle=lambda p, i, w: w[i])  # fmt: skip
add("embedding padding_idx", lambda p, i, w: p.nn.functional.embedding(i, w, padding_idx=-3).pow(2),
    constant(values([0, 2, 2], [1, 4, 2])), constant(normal(5, 4)),
    oracle=lambda p, i, w: w[i] ** 2)  # fmt: skip
add("embedding_bag sum", lambda p, i, w: p.nn.functional.embedding_bag(i, w, mode="sum"), integers(0, 5, 3, 4),
    normal(5, 2), oracle=lambda p, i, w: w[i].sum(1))  # fmt: skip
add("embedding_bag mean offsets", lambda p, i, w, o: p.nn.functional.embedding_bag(i, w, o), integers(0, 5, 6),
    normal(5, 2), values(0, 2, 2, 5),
    oracle=lambda p, i, w, o: np.stack([w[i[:2]].mean(0), 0 * w[0], w[i[2:5]].mean(0), w[i[5]]]))  # fmt: skip
add("embedding_bag max", lambda p, i, w, o: p.nn.functional.embedding_bag(i, w, o, mode="max"),
    values(0, 3, 1, 4, 2, 0), distinct(5, 3), values(0, 2, 2),
    oracle=lambda p, i, w, o: np.stack([w[i[:2]].max(0), 0 * w[0], w[i[2:]].max(0)]))  # fmt: skip
add("embedding_bag weighted",
    lambda p, i, w, s: p.nn.functional.embedding_bag(i, w, mode="sum", per_sample_weights=s),
    integers(0, 5, 3, 4), normal(5, 2), normal(3, 4),
    oracle=lambda p, i, w, s: (w[i] * s[..., None]).sum(1))  # fmt: skip
add("embedding_bag last offset",
    lambda p, i, w, o: p.nn.functional.embedding_bag(i, w, o, mode="sum", include_last_offset=True),
    integers(0, 5, 6), normal(5, 2), values(0, 1, 4, 6),
    oracle=lambda p, i, w, o: np.stack([w[i[:1]].sum(0), w[i[1:4]].sum(0), w[i[4:]].sum(0)]))  # fmt: skip

# -- bilinear ----------------------------------------------------------------------------------------------------------
add("bilinear", "F.bilinear", normal(2, 3, 4), normal(2, 3, 5), normal(6, 4, 5), normal(6),
    oracle=lambda x, y, w, b: np.einsum("abi,oij,abj->abo", x, w, y) + b)  # fmt: skip

# -- parts of one node -------------------------------------------------------------------------------------------------
add("unbind recombined", lambda p, x: p.stack([part * (i + 1) for i, part in enumerate(x.unbind(1))]), normal(3, 4, 2),
    oracle=lambda p, x: np.stack([x[:, i] * (i + 1) for i in range(4)]))  # fmt: skip
add("split with a part unused", lambda p, x: [x.split([2, 3, 1], 1)[i] for i in (2, 0)], normal(2, 6),
    oracle=lambda p, x: [x[:, 5:], x[:, :2]])  # fmt: skip
add("chunk of a product", lambda p, x: [a * b for a, b in [(x * x).chunk(2, -1)]], normal(3, 6),
    oracle=lambda p, x: x[:, :3] ** 2 * x[:, 3:] ** 2)  # fmt: skip


# -- recurrent cells and layers ----------------------------------------------------------------------------------------
def _layer(kind: str, **options: Any) -> Any:
    """The layer as a function of its input and its parameters."""

    def call(p: Any, x: Any, *parameters: Any) -> Any:
        layer = getattr(p.nn, kind)(3, 2, **options)
        if x.dtype == p.float64:
            layer.double()
        names = [name for name, _ in layer.named_parameters()]
        output = _functional_call(p, layer, dict(zip(names, parameters, strict=True)), x)
        found = [output[0], *(output[1] if isinstance(output[1], tuple) else [output[1]])]
        return found if isinstance(output, tuple) else [output]

    return call


def _functional_call(p: Any, layer: Any, parameters: dict[str, Any], x: Any) -> Any:
    """The layer's output with these tensors as its parameters."""
    for name, value in parameters.items():
        del layer._parameters[name]
        layer.__dict__[name] = value
    if hasattr(layer, "_flat_weights"):
        layer._flat_weights = [parameters[name] for name in layer._flat_weights_names]
    return layer(x)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _chain(kind: str, x: Any, weights: Any) -> tuple[Any, list[Any]]:
    """One direction over x (T, B, features), written out per step."""
    w, u, b, c, *projection = weights
    hidden = u.shape[0] // {"lstm": 4, "gru": 3}.get(kind, 1)
    h, cell = np.zeros((x.shape[1], u.shape[1])), np.zeros((x.shape[1], hidden))
    outputs = []
    for step in x:
        a, r = step @ w.T + b, h @ u.T + c
        if kind == "lstm":
            i, f, g, o = np.split(a + r, 4, 1)
            cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(cell)
            h = h @ projection[0].T if projection else h
        elif kind == "gru":
            reset, keep = _sigmoid(np.split(a + r, 3, 1)[0]), _sigmoid(np.split(a + r, 3, 1)[1])
            new = np.tanh(np.split(a, 3, 1)[2] + reset * np.split(r, 3, 1)[2])
            h = (1 - keep) * new + keep * h
        else:
            h = np.tanh(a + r) if kind == "tanh" else np.maximum(a + r, 0)
        outputs.append(h)
    return np.stack(outputs), [h, cell][: 1 + (kind == "lstm")]


def _stacked(kind: str, layers: int = 1, directions: int = 1, batch_first: bool = False, each: int = 4) -> Any:
    def oracle(p: Any, x: Any, *weights: Any) -> list[Any]:
        unbatched = x.ndim == 2
        x = x[:, None] if unbatched else x.swapaxes(0, 1) if batch_first else x
        last: list[list[Any]] = []
        for layer in range(layers):
            outputs = []
            for direction in range(directions):
                begin = (layer * directions + direction) * each
                output, end = _chain(kind, x[::-1] if direction else x, weights[begin : begin + each])
                outputs.append(output[::-1] if direction else output)
                last.append(end)
            x = np.concatenate(outputs, 2)
        ends = [np.stack(parts) for parts in zip(*last, strict=True)]
        if unbatched:
            return [x[:, 0], *(end[:, 0] for end in ends)]
        return [x.swapaxes(0, 1) if batch_first else x, *ends]

    return oracle


def _shapes(gates: int, layers: int, directions: int, projected: int = 0) -> list[Input]:
    hidden, shapes = 2, []
    state = projected or hidden
    for layer in range(layers):
        width = 3 if layer == 0 else state * directions
        for _ in range(directions):
            shapes += [normal(gates * hidden, width), normal(gates * hidden, state)]
            shapes += [normal(gates * hidden), normal(gates * hidden)]
            if projected:
                shapes.append(normal(projected, hidden))
    return shapes


add("rnn tanh", _layer("RNN"), normal(4, 2, 3), *_shapes(1, 1, 1), oracle=_stacked("tanh"))
add("rnn relu two layers both ways", _layer("RNN", nonlinearity="relu", num_layers=2, bidirectional=True),
    apart(3, 2, 3), *_shapes(1, 2, 2), oracle=_stacked("relu", 2, 2))  # fmt: skip
add("lstm", _layer("LSTM", batch_first=True), normal(2, 4, 3), *_shapes(4, 1, 1),
    oracle=_stacked("lstm", batch_first=True))  # fmt: skip
add("lstm two layers both ways", _layer("LSTM", num_layers=2, bidirectional=True), normal(3, 2, 3), *_shapes(4, 2, 2),
    oracle=_stacked("lstm", 2, 2))  # fmt: skip
add("lstm projected", _layer("LSTM", proj_size=1), normal(3, 2, 3), *_shapes(4, 1, 1, 1),
    oracle=_stacked("lstm", each=5))  # fmt: skip
add("gru", _layer("GRU"), normal(4, 2, 3), *_shapes(3, 1, 1), oracle=_stacked("gru"))
add("gru unbatched both ways", _layer("GRU", bidirectional=True), normal(4, 3), *_shapes(3, 1, 2),
    oracle=_stacked("gru", 1, 2))  # fmt: skip

# -- attention ---------------------------------------------------------------------------------------------------------
QKV = normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 3)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Any:
    scores = q @ np.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


add("scaled_dot_product_attention", "F.scaled_dot_product_attention", *QKV, oracle=_attention)
add("scaled_dot_product_attention scale", "F.scaled_dot_product_attention", *QKV, scale=0.3,
    oracle=_attention)  # fmt: skip
add("scaled_dot_product_attention numbers as mask", "F.scaled_dot_product_attention", *QKV, normal(3, 5),
    oracle=_attention)  # fmt: skip
add("scaled_dot_product_attention mask",
    lambda p, q, k, v, m: p.nn.functional.scaled_dot_product_attention(q, k, v, m), *QKV,
    values([True, False, True, True, False], [False] * 5, [False, True, False, False, False], dtype="bool"),
    oracle=lambda p, q, k, v, m: _attention(q, k, v, np.where(m | ~m.any(1, keepdims=True), 0, -np.inf))
    * m.any(1)[:, None])  # fmt: skip
add("scaled_dot_product_attention causal", "F.scaled_dot_product_attention", *QKV, is_causal=True,
    oracle=lambda q, k, v, is_causal: _attention(q, k, v, np.where(np.tri(3, 5), 0, -np.inf)))  # fmt: skip
add("scaled_dot_product_attention shared heads", "F.scaled_dot_product_attention", normal(2, 4, 3, 4),
    normal(2, 2, 5, 4), normal(2, 2, 5, 3), enable_gqa=True,
    oracle=lambda q, k, v, enable_gqa: _attention(q, k.repeat(2, 1), v.repeat(2, 1)))  # fmt: skip


def _heads(p: Any, x: Any, y: Any, w: Any, b: Any, u: Any, c: Any, k: Any, v: Any, mask: Any) -> Any:
    return p.nn.functional.multi_head_attention_forward(
        x, y, y, 4, 2, w, b, k, v, True, 0.0, u, c, key_padding_mask=mask, average_attn_weights=False
    )


def _heads_oracle(p: Any, x: Any, y: Any, w: Any, b: Any, u: Any, c: Any, k: Any, v: Any, mask: Any) -> list[Any]:
    """Head by head, image by image; the learned key and the one of zeros come last."""
    output, weights = np.zeros_like(x), np.zeros((2, 2, 3, 7))
    for n in range(2):
        queries, keys, values_ = (z @ w[i * 4 : i * 4 + 4].T + b[i * 4 : i * 4 + 4] for i, z in
                                  enumerate((x[:, n], y[:, n], y[:, n])))  # fmt: skip
        keys, values_ = (np.concatenate([a, extra[0], np.zeros((1, 4))]) for a, extra in ((keys, k), (values_, v)))
        mixed = np.zeros((3, 4))
        for h in (0, 1):
            part = slice(2 * h, 2 * h + 2)
            scores = queries[:, part] @ keys[:, part].T / np.sqrt(2)
            scores[:, np.append(mask[n], [False, False])] = -np.inf
            exponentials = np.exp(scores - scores.max(1, keepdims=True))
            weights[n, h] = exponentials / exponentials.sum(1, keepdims=True)
            mixed[:, part] = weights[n, h] @ values_[:, part]
        output[:, n] = mixed @ u.T + c
    return [output, weights]


add("multi_head_attention_forward", _heads, normal(3, 2, 4), normal(5, 2, 4), normal(12, 4), normal(12), normal(4, 4),
    normal(4), normal(1, 1, 4), normal(1, 1, 4), booleans(2, 5), oracle=_heads_oracle)  # fmt: skip
