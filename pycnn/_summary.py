"""`summary`: the layers of a network with shapes, parameters, multiply-adds and receptive fields, nothing computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._shapes import recorded_only
from pycnn.autograd.grad_mode import no_grad

if TYPE_CHECKING:
    from pycnn import nn

_FIELD = "_receptive_field"


@dataclass(frozen=True)
class Row:
    """One call of a layer.

    Attributes:
        name: dotted.
        kind: its class.
        output: the shape of the (first) output, with a batch of 1.
        parameters: elements of its parameters; 0 if an earlier row has counted them.
        multiply_adds: for one sample.
        receptive_field: extent per dimension, in elements of the input, that one output element depends on; None where
            the layer's input is no image.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...] | None


@dataclass(frozen=True)
class Summary:
    """What `summary` gives; printing it shows a table.

    Attributes:
        rows: one per call of a layer, in order.
        parameters, trainable: elements of all parameters, and of those that require grad.
        multiply_adds: for one sample.
    """

    title: str
    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    multiply_adds: int

    def __str__(self) -> str:
        header = ("Layer (type)", "Output shape", "Parameters", "Multiply-adds", "Receptive field")
        cells = [header]
        for row in self.rows:
            field = row.receptive_field
            extent = "" if field is None else str(field[0]) if len(set(field)) == 1 else " x ".join(map(str, field))
            shape = " x ".join(map(str, row.output[1:])) or "1"
            cells.append(
                (f"{row.name} ({row.kind})", shape, _grouped(row.parameters), _grouped(row.multiply_adds), extent)
            )
        widths = [max(len(line[column]) for line in cells) for column in range(5)]
        rule = "-" * (sum(widths) + 8)
        lines = [f"{self.title}", rule]
        for number, line in enumerate(cells):
            padded = [
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
            if number == 0:
                lines.append(rule)
        lines += [
            rule,
            f"Parameters: {_grouped(self.parameters)}, of these trainable: {_grouped(self.trainable)}",
            f"Multiply-adds per sample: {_grouped(self.multiply_adds)} "
            "(convolutions, linear and recurrent layers, attention; no biases, pooling, normalisation, activations)",
        ]
        return "\n".join(lines)


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


# -- multiply-adds -----------------------------------------------------------------------------------------------------
def _convolution(module: Any, inputs: tuple[Any, ...], output: Tensor) -> int:
    """Each output element adds up one product per weight of its filter."""
    return output.numel() * math.prod(module.weight.shape[1:])


def _transposed(module: Any, inputs: tuple[Any, ...], output: Tensor) -> int:
    """Each input element is multiplied with each weight that it meets."""
    return int(inputs[0].numel() * math.prod(module.weight.shape[1:]))


def _linear(module: Any, inputs: tuple[Any, ...], output: Tensor) -> int:
    return output.numel() * int(module.weight.shape[1])


def _bilinear(module: Any, inputs: tuple[Any, ...], output: Tensor) -> int:
    first, second = module.weight.shape[1:]
    return output.numel() * (first * second + second)


def _recurrent(module: Any, inputs: tuple[Any, ...], output: Any) -> int:
    """Every matrix once per step of the sequence."""
    steps = 1 if not hasattr(module, "num_layers") else math.prod(inputs[0].shape[:-1])
    return steps * sum(p.numel() for p in module.parameters() if p.dim() == 2)


def _attention(module: Any, inputs: tuple[Any, ...], output: Any) -> int:
    """Projections of query, key, value and result, and the two products of queries with keys, of shares with values."""
    query, key = inputs[0], inputs[1]
    width = module.embed_dim
    targets, sources = math.prod(query.shape[:-1]), math.prod(key.shape[:-1])
    batch = query.shape[0 if module.batch_first else 1] if query.dim() == 3 else 1
    projections = targets * width * width * 2 + sources * width * (module.kdim + module.vdim)
    return int(projections + 2 * targets * (sources // batch) * width)


def _rules() -> dict[type, Callable[..., int]]:
    from pycnn import nn

    rules: dict[str, Callable[..., int]] = {
        **dict.fromkeys(("Conv1d", "Conv2d", "Conv3d"), _convolution),
        **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), _transposed),
        **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), _recurrent),
        "Linear": _linear,
        "Bilinear": _bilinear,
        "MultiheadAttention": _attention,
    }
    return {getattr(nn, name): rule for name, rule in rules.items() if hasattr(nn, name)}


# -- receptive fields --------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Field:
    """Extent of the input that an element depends on, and how far apart neighbours' extents lie, per dimension."""

    extent: tuple[float, ...]
    step: tuple[float, ...]


def _per_dimension(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _field_after(module: nn.Module, field: _Field, input: Tensor, output: Tensor) -> _Field:
    count = len(field.extent)
    kind = type(module).__name__
    sizes, results = tuple(input.shape[2:]), tuple(output.shape[2:])
    if len(sizes) != count:
        return field
    kernel = getattr(module, "kernel_size", None)
    if kernel is None and len(results) == count:
        if kind.startswith("Adaptive"):
            kernel = stride = tuple(-(-size // result) for size, result in zip(sizes, results, strict=True))
            return _grown(field, kernel, (1,) * count, stride)
        scale = [size / result for size, result in zip(sizes, results, strict=True)]
        return _Field(field.extent, tuple(step * s for step, s in zip(field.step, scale, strict=True)))
    if kernel is None:
        everything = tuple(e + (size - 1) * s for e, s, size in zip(field.extent, field.step, sizes, strict=True))
        return _Field(everything, field.step)
    kernel = _per_dimension(kernel, count)
    stride = _per_dimension(getattr(module, "stride", 1), count)
    dilation = _per_dimension(getattr(module, "dilation", 1), count)
    if getattr(module, "transposed", False):
        # Of a kernel's elements every stride-th meets the same output element.
        met = tuple(-(-((k - 1) * d + 1) // s) for k, d, s in zip(kernel, dilation, stride, strict=True))
        wider = _grown(field, met, (1,) * count, (1,) * count)
        return _Field(wider.extent, tuple(step / s for step, s in zip(field.step, stride, strict=True)))
    return _grown(field, kernel, dilation, stride)


def _grown(field: _Field, kernel: Sequence[int], dilation: Sequence[int], stride: Sequence[int]) -> _Field:
    parts = list(zip(field.extent, field.step, kernel, dilation, stride, strict=True))
    return _Field(
        tuple(e + (k - 1) * d * step for e, step, k, d, _ in parts), tuple(step * s for _, step, _, _, s in parts)
    )


class _Recorder:
    """Hooks on the layers of a model; collects a row per call."""

    def __init__(self, model: nn.Module) -> None:
        self.rows: list[Row] = []
        self._counted: set[int] = set()
        self._rules = _rules()
        self._largest: _Field | None = None
        self._largest_of_size: dict[tuple[int, ...], _Field] = {}
        self._handles = []
        inside: set[int] = set()
        for name, module in model.named_modules():
            whole = type(module) in self._rules or not module._modules
            if id(module) in inside or not (whole or module._parameters):
                continue
            if whole:
                inside.update(id(child) for child in module.modules())
            self._handles.append(module.register_forward_hook(self._hook(name or type(module).__name__)))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            first = output
            while isinstance(first, (tuple, list)) and first:
                first = first[0]
            if not isinstance(first, Tensor):
                return
            own = list(module.parameters(recurse=type(module) in self._rules))
            parameters = sum(p.numel() for p in own if id(p) not in self._counted)
            self._counted.update(map(id, own))
            rules = [rule for kind, rule in self._rules.items() if isinstance(module, kind)]
            counted = getattr(module, "multiply_adds", None)
            multiply_adds = counted(first) if counted else rules[0](module, inputs, first) if rules else 0
            field = self._follow(module, inputs, first)
            self.rows.append(Row(name, type(module).__name__, tuple(first.shape), parameters, multiply_adds, field))

        return note

    def _follow(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> tuple[int, ...] | None:
        """What a layer's input depends on is noted on the tensor. One that no layer made (a sum, a concatenation)
        depends on the most that any map of its size did so far."""
        given = next((x for x in inputs if isinstance(x, Tensor)), None)
        if given is None:
            return None
        if module._modules and type(module) not in self._rules and not hasattr(module, "kernel_size"):
            given = output  # its layers have been followed
        sizes = tuple(given.shape[2:])
        field = given.__dict__.get(_FIELD) or self._largest_of_size.get(sizes) or self._largest
        if field is None:
            if not sizes:
                return None
            field = _Field((1.0,) * len(sizes), (1.0,) * len(sizes))
        if given is not output:
            given.__dict__[_FIELD] = field
            field = _field_after(module, field, given, output)
        output.__dict__[_FIELD] = field
        self._largest = _larger(field, self._largest)
        sizes = tuple(output.shape[2:])
        self._largest_of_size[sizes] = _larger(field, self._largest_of_size.get(sizes))
        return tuple(math.ceil(extent) for extent in field.extent)


def _larger(field: _Field, other: _Field | None) -> _Field:
    return field if other is None or math.prod(field.extent) >= math.prod(other.extent) else other


def summary(model: nn.Module, input_size: Sequence[int] | Sequence[Sequence[int]], *, dtype: Any = None) -> Summary:
    """The layers of a model as a table: print it, or read its `rows`.

    The forward pass is recorded with a batch of 1, in evaluation mode, and never evaluated: it costs neither time nor
    memory, at any size.

    Args:
        model: the network.
        input_size: the shape of an input without the batch, such as (3, 224, 224); a sequence of shapes for several.
        dtype: of the inputs (default: float32), or a sequence of one per input.

    Returns:
        a `Summary`. Multiply-adds are counted for convolutions, transposed convolutions (once per input element and
        weight), linear layers, recurrent layers and attention, per sample: one for each product of a weight (or of two
        elements, in attention) that is added up, those with padding included. Biases, normalisation, pooling,
        activations and sums are not counted. A layer may count itself with a method `multiply_adds(output)`.

        The receptive field counts in elements of the input and does not stop at its borders. Branches that meet have
        the largest of theirs; factors per channel (squeeze and excitation) and attention are not followed.

    Errors: those of the forward pass, for a size that does not fit.
    """
    single = all(isinstance(extent, int) for extent in input_size)
    shapes: list[Any] = [tuple(input_size)] if single else [tuple(shape) for shape in input_size]  # type: ignore[arg-type]
    given = list(dtype) if isinstance(dtype, (list, tuple)) else [dtype or _core.float32]
    dtypes = given * len(shapes) if len(given) == 1 else given
    recorder = _Recorder(model)
    was_training = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with recorded_only(), no_grad():
            model(*(_core.zeros((1, *shape), dtype=kind) for shape, kind in zip(shapes, dtypes, strict=True)))
    finally:
        recorder.remove()
        for module, training in was_training:
            module.training = training
    parameters = list(model.parameters())
    return Summary(
        f"{type(model).__name__}, input {' and '.join(' x '.join(map(str, shape)) for shape in shapes)}",
        tuple(recorder.rows),
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(row.multiply_adds for row in recorder.rows),
    )
