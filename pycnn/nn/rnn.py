"""Recurrent layers: Elman networks, LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014), and their cells.

The products of all steps' inputs with the input weights are one matrix product; what remains per step is the product
with the state and the gates.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.nn import functional as F
from pycnn.nn import init
from pycnn.nn.linear import uninitialized
from pycnn.nn.module import Module
from pycnn.nn.parameter import Parameter
from pycnn.nn.utils.rnn import PackedSequence

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Tensor, Any, Any], State]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _elman(activation: Callable[[Tensor], Tensor]) -> Step:
    def step(from_input: Tensor, state: State, weight: Tensor, bias: Any, projection: Any) -> State:
        return (activation(from_input + F.linear(state[0], weight, bias)),)

    return step


def _lstm(from_input: Tensor, state: State, weight: Tensor, bias: Any, projection: Any) -> State:
    """h' = o tanh(c'), c' = f c + i g with the gates i, f, g, o in that order; h' is projected if there is a matrix."""
    hidden, cell = state
    gates = from_input + F.linear(hidden, weight, bias)
    i, f, g, o = gates.chunk(4, 1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    hidden = o.sigmoid() * cell.tanh()
    return (hidden if projection is None else F.linear(hidden, projection), cell)


def _gru(from_input: Tensor, state: State, weight: Tensor, bias: Any, projection: Any) -> State:
    """h' = (1 - z) n + z h, n = tanh(x_n + r h_n) with the gates r, z, n in that order."""
    (hidden,) = state
    input_r, input_z, input_n = from_input.chunk(3, 1)
    hidden_r, hidden_z, hidden_n = F.linear(hidden, weight, bias).chunk(3, 1)
    r = (input_r + hidden_r).sigmoid()
    z = (input_z + hidden_z).sigmoid()
    n = (input_n + r * hidden_n).tanh()
    return (n + z * (hidden - n),)


_STEPS: dict[str, Step] = {
    "RNN_TANH": _elman(_core.tanh),
    "RNN_RELU": _elman(_core.relu),
    "LSTM": _lstm,
    "GRU": _gru,
}


def _run_direction(
    mode: str, data: Tensor, batch_sizes: Sequence[int], state: State, weights: Sequence[Any], reverse: bool
) -> tuple[Tensor, State]:
    """One direction of one layer over packed steps.

    Args:
        mode: a key of _STEPS.
        data: (sum of batch_sizes, features).
        batch_sizes: how many sequences have each step, falling.
        state: the initial one of all sequences, (B, ...) each.
        weights: of input and state, their biases (or None), a projection (or None).
        reverse: begin at each sequence's end.

    Returns:
        The outputs of all steps like `data`, and the last state of every sequence.
    """
    weight_input, weight_hidden, bias_input, bias_hidden, projection = weights
    step = _STEPS[mode]
    inputs = F.linear(data, weight_input, bias_input).split(list(batch_sizes), 0)
    outputs: list[Tensor] = []
    if reverse:
        whole = state
        size = batch_sizes[-1]
        state = tuple(part[:size] for part in whole) if size < batch_sizes[0] else whole
        for from_input, wanted in zip(reversed(inputs), reversed(batch_sizes), strict=True):
            if wanted > size:  # sequences that end here join
                state = tuple(
                    _core.cat([part, initial[size:wanted]]) for part, initial in zip(state, whole, strict=True)
                )
                size = wanted
            state = step(from_input, state, weight_hidden, bias_hidden, projection)
            outputs.append(state[0])
        outputs.reverse()
        return _core.cat(outputs), state
    finished: list[State] = []
    size = batch_sizes[0]
    for from_input, wanted in zip(inputs, batch_sizes, strict=True):
        if wanted < size:
            finished.append(tuple(part[wanted:] for part in state))
            state = tuple(part[:wanted] for part in state)
            size = wanted
        state = step(from_input, state, weight_hidden, bias_hidden, projection)
        outputs.append(state[0])
    if finished:
        finished.append(state)
        state = tuple(_core.cat(parts[::-1]) for parts in map(list, zip(*finished, strict=True)))
    return _core.cat(outputs), state


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters, checks, layers and directions.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size, hidden_size: features of the input and of the state.
        num_layers: layers, each fed with the outputs of the one below.
        bias: whether there are bias_ih_l* and bias_hh_l*.
        batch_first: the input is (B, T, features) instead of (T, B, features).
        dropout: the probability with which elements between layers are dropped in training.
        bidirectional: a second chain per layer runs backwards; outputs are concatenated.
        proj_size: if > 0, the LSTM's h is projected to that many features.
        device, dtype: of the parameters, all drawn uniformly from +-1/sqrt(hidden_size).
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_options(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows = _GATES[mode] * hidden_size
        state_size = proj_size or hidden_size
        self._all_names: list[list[str]] = []
        for layer in range(num_layers):
            below = input_size if layer == 0 else state_size * (1 + bidirectional)
            for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, below), "weight_hh": (rows, state_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size > 0:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, uninitialized(shape, device, dtype))
                self._all_names.append([name + suffix for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_names]

    def flatten_parameters(self) -> None:
        """Nothing: weights need not lie together here."""

    def _weights(self, index: int) -> tuple[Any, ...]:
        layer, reverse = divmod(index, 1 + self.bidirectional)
        suffix = f"_l{layer}_reverse" if reverse else f"_l{layer}"
        biases = [getattr(self, name + suffix) if self.bias else None for name in ("bias_ih", "bias_hh")]
        projection = getattr(self, "weight_hr" + suffix) if self.proj_size > 0 else None
        return (getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix), *biases, projection)

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises ValueError or RuntimeError unless the input's dtype, rank and features fit."""
        dtype = getattr(self, self._all_names[0][0]).dtype
        if input.dtype != dtype and not _core.is_any_autocast_enabled():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape of the initial state h."""
        batch = int(batch_sizes[0]) if batch_sizes is not None else input.shape[0 if self.batch_first else 1]
        return self.num_layers * (1 + self.bidirectional), batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, ...], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError unless a state has the shape expected."""
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def _check_state(self, state: State, expected: tuple[int, int, int]) -> None:
        self.check_hidden_size(state[0], expected)

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        return [(self.num_layers * (1 + self.bidirectional), batch, self.proj_size or self.hidden_size)]

    def _check_rank(self, state: State, batched: bool) -> None:
        if state[0].dim() != (3 if batched else 2):
            kind, rank = ("batched", 3) if batched else ("unbatched", 2)
            raise RuntimeError(
                f"For {kind} {rank}-D input, hx should also be {rank}-D but got {state[0].dim()}-D tensor"
            )

    def _forward(self, input: Any, state: State | None) -> tuple[Any, State]:
        packed = input if isinstance(input, PackedSequence) else None
        batched = True
        if packed is not None:
            data, batch_sizes = packed.data, packed.batch_sizes
            sizes = [int(size) for size in batch_sizes.tolist()]
            self.check_input(data, batch_sizes)
        else:
            name = "RNN" if self.mode.startswith("RNN") else self.mode
            if input.dim() not in (2, 3):
                raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D instead")
            batched = input.dim() == 3
            if not batched:
                input = input.unsqueeze(0 if self.batch_first else 1)
            if state is not None:
                self._check_rank(state, batched)
                state = state if batched else tuple(part.unsqueeze(1) for part in state)
            self.check_input(input, None)
            steps = input.transpose(0, 1) if self.batch_first else input
            if steps.shape[0] == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
            sizes = [steps.shape[1]] * steps.shape[0]
            data = steps.reshape((steps.shape[0] * steps.shape[1], steps.shape[2]))
        batch = sizes[0]
        shapes = self._state_shapes(batch)
        if state is None:
            state = tuple(_core.zeros(shape, dtype=data.dtype, device=data.device) for shape in shapes)
        else:
            self._check_state(state, shapes[0])
            if packed is not None and packed.sorted_indices is not None:
                order = packed.sorted_indices
                state = tuple(part.index_select(1, order) for part in state)
        output, last = self._layers(data, sizes, state)
        if packed is not None:
            if packed.unsorted_indices is not None:
                order = packed.unsorted_indices
                last = tuple(part.index_select(1, order) for part in last)
            return PackedSequence(output, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), last
        output = output.reshape((len(sizes), batch, output.shape[1]))
        if not batched:
            return output.squeeze(1), tuple(part.squeeze(1) for part in last)
        return output.transpose(0, 1) if self.batch_first else output, last

    def _layers(self, data: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
        directions = 1 + self.bidirectional
        initial = [part.unbind(0) for part in state]
        last: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                first = tuple(part[index] for part in initial)
                output, end = _run_direction(self.mode, data, sizes, first, self._weights(index), direction == 1)
                outputs.append(output)
                last.append(end)
            data = outputs[0] if directions == 1 else _core.cat(outputs, 1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout)
        return data, tuple(_core.stack(parts) for parts in zip(*last, strict=True))

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


def _check_options(
    input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int
) -> None:
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """Elman's recurrent network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it.

    Args:
        input_size, hidden_size, num_layers: as in `RNNBase`.
        nonlinearity: "tanh" or "relu", the fourth positional argument.
        bias, batch_first, dropout, bidirectional, device, dtype: as in `RNNBase`.

    Called with an input (T, B, input_size), (B, T, input_size) with `batch_first`, (T, input_size), or a
    `PackedSequence`, and optionally the initial h (layers * directions, B, hidden_size); gives the outputs of the last
    layer for all steps and the last h.

    Errors: ValueError, RuntimeError for shapes and dtypes that do not fit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (last,) = self._forward(input, None if hx is None else (hx,))
        return output, last


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997), with projections if `proj_size` (Sak et al. 2014).

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype: as in
            `RNNBase`.

    Called with an input as in `RNN` and optionally (h, c), each (layers * directions, B, features), where h has
    `proj_size` or `hidden_size` features and c `hidden_size`; gives the outputs for all steps and the last (h, c).

    Errors: ValueError, RuntimeError for shapes and dtypes that do not fit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        chains = self.num_layers * (1 + self.bidirectional)
        return [(chains, batch, self.proj_size or self.hidden_size), (chains, batch, self.hidden_size)]

    def _check_state(self, state: State, expected: tuple[int, int, int]) -> None:
        self.check_hidden_size(state[0], expected, "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(state[1], (*expected[:2], self.hidden_size), "Expected hidden[1] size {}, got {}")

    def _check_rank(self, state: State, batched: bool) -> None:
        rank = 3 if batched else 2
        if any(part.dim() != rank for part in state):
            raise RuntimeError(
                f"For {'batched' if batched else 'unbatched'} {rank}-D input, hx and cx should also be {rank}-D but "
                f"got ({state[0].dim()}-D, {state[1].dim()}-D) tensors"
            )

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, (hidden, cell) = self._forward(input, None if hx is None else tuple(hx))
        return output, (hidden, cell)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014), the reset gate applied after the product as in PyTorch.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as in `RNNBase`.

    Called as `RNN`.

    Errors: ValueError, RuntimeError for shapes and dtypes that do not fit.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (last,) = self._forward(input, None if hx is None else (hx,))
        return output, last


class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih, bias_hh, drawn uniformly from +-1/sqrt(hidden_size).

    Args:
        input_size, hidden_size: features of the input and of the state.
        bias: whether there are biases.
        num_chunks: how many gates.
        device, dtype: of the parameters.
    """

    _mode: str

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = uninitialized((rows, input_size), device, dtype)
        self.weight_hh = uninitialized((rows, hidden_size), device, dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, uninitialized((rows,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, mode: str, input: Tensor, state: State | None) -> State:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, part in enumerate(state or ()):
            if part.dim() not in (1, 2):
                which = f"hx[{i}]" if mode == "LSTM" else "hidden"
                raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {part.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if state is None:
            zeros = _core.zeros((input.shape[0], self.hidden_size), dtype=input.dtype, device=input.device)
            state = (zeros, zeros) if mode == "LSTM" else (zeros,)
        elif not batched:
            state = tuple(part.unsqueeze(0) for part in state)
        if input.shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.shape[1]} expected {self.input_size}")
        for part in state:
            if part.shape[0] != input.shape[0]:
                raise RuntimeError(f"Input batch size {input.shape[0]} doesn't match hidden batch size {part.shape[0]}")
            if part.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden has inconsistent hidden_size: got {part.shape[1]}, expected {self.hidden_size}"
                )
        from_input = F.linear(input, self.weight_ih, self.bias_ih)
        result = _STEPS[mode](from_input, state, self.weight_hh, self.bias_hh, None)
        return result if batched else tuple(part.squeeze(0) for part in result)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"


class RNNCell(RNNCellBase):
    """One step of `RNN`: input (B, input_size) or (input_size,) and h (zeros by default) to the next h.

    Args:
        input_size, hidden_size, bias, device, dtype: as in `RNNCellBase`.
        nonlinearity: "tanh" or "relu".
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_" + self.nonlinearity.upper(), input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: input (B, input_size) or (input_size,) and (h, c) (zeros by default) to the next (h, c).

    Args: as in `RNNCellBase`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        hidden, cell = self._step("LSTM", input, None if hx is None else tuple(hx))
        return hidden, cell


class GRUCell(RNNCellBase):
    """One step of `GRU`: input (B, input_size) or (input_size,) and h (zeros by default) to the next h.

    Args: as in `RNNCellBase`.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,))[0]
