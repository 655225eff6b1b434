"""Derivatives of functions as functions, and functions of a batch from functions of an example."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd import functional
from pycnn.autograd.grad_mode import enable_grad
from pycnn.nn.module import Module
from pycnn.nn.utils.stateless import functional_call as _functional_call

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "stack_module_state",
    "vjp",
    "vmap",
]

Function = Callable[..., Any]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with other parameters and buffers than its own.

    Args:
        module: what is called; it has its own tensors again afterwards.
        parameter_and_buffer_dicts: tensors by dotted name, or several such dictionaries.
        args: its arguments: a tuple, or a single one.
        kwargs: its arguments by name.
        tie_weights: what replaces a tensor that has several names replaces it under all of them.
        strict: RuntimeError unless exactly all tensors are given.
    """
    given = parameter_and_buffer_dicts
    values = dict(given) if isinstance(given, Mapping) else {k: v for each in given for k, v in each.items()}
    return _functional_call(module, values, args, kwargs, tie_weights=tie_weights, strict=strict)


def _chosen(args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> list[int]:
    return [n % len(args) for n in ((argnums,) if isinstance(argnums, int) else argnums)]


def _mapped(f: Callable[[Any], Any], value: Any) -> Any:
    """Dictionaries, lists and tuples, however nested, with f of everything in them."""
    if isinstance(value, dict):
        return type(value)((key, _mapped(f, part)) for key, part in value.items())
    if isinstance(value, (tuple, list)):
        parts = [_mapped(f, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return f(value)


def _leaves(value: Any) -> tuple[Tensor, ...]:
    """The tensors in dictionaries, lists and tuples. ValueError for anything else in them."""
    found: list[Tensor] = []

    def note(part: Any) -> None:
        if not isinstance(part, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(part)}")
        found.append(part)

    _mapped(note, value)
    return tuple(found)


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    """Dictionaries, lists and tuples like those of value, with other tensors."""
    others = iter(tensors)
    return _mapped(lambda _: next(others), value)


def _differentiable(args: tuple[Any, ...], positions: list[int]) -> tuple[list[Any], tuple[Tensor, ...]]:
    """The arguments with views of those at `positions`, so that their graph goes on, or leaves if they have none."""
    chosen = [args[i] for i in positions]
    leaves = tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in _leaves(chosen))
    values = list(args)
    for i, value in zip(positions, _filled(chosen, leaves), strict=True):
        values[i] = value
    return values, leaves


def _settled(value: Any, recording: bool) -> Any:
    if recording:
        return value
    return _mapped(lambda part: part.detach() if isinstance(part, Tensor) else part, value)


def _recording(value: Any) -> bool:
    """Whether a tensor in value requires grad."""
    seen: list[bool] = []
    _mapped(lambda part: seen.append(isinstance(part, Tensor) and part.requires_grad), value)
    return any(seen)


def grad_and_value(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, a single number, by argument(s) `argnums`, and its value.

    Args:
        func: gives a 0-d tensor; with `has_aux` a pair of it and anything else, which is handed on.
        argnums: which arguments: tensors, or dictionaries, lists and tuples of them, and so is the gradient.
        has_aux: as above.

    Errors: ValueError for arguments that are none of these, RuntimeError if the result is no 0-d tensor.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions = _chosen(args, argnums)
        recording = _recording(args)
        with enable_grad():
            values, leaves = _differentiable(args, positions)
            result = func(*values, **kwargs)
            output, aux = result if has_aux else (result, None)
            if not isinstance(output, Tensor) or output.dim() != 0:
                raise RuntimeError(
                    "Expected f(*args) to return a scalar tensor, got "
                    + (f"tensor with {output.dim()} dims." if isinstance(output, Tensor) else f"{type(output)}")
                )
            found = functional._gradients((output,), leaves, (_core.ones_like(output),), True)
        gradients = _filled(tuple(args[i] for i in positions), _settled(found, recording))
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        value = _settled(output, recording)
        return (gradient, (value, _settled(aux, recording))) if has_aux else (gradient, value)

    return wrapped


def grad(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, as `grad_and_value` does, without the value."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """`func(*primals)`, and a function that gives the products of vectors (like its output) with its Jacobian.

    Args:
        func: gives tensors; with `has_aux` a pair of that and anything else.
        primals: tensors. Here and in the result they may be in dictionaries, lists and tuples.
        has_aux: as above; what else there is comes third.

    Errors: ValueError for primals that are no tensors.
    """
    with enable_grad():
        values, leaves = _differentiable(primals, list(range(len(primals))))
        result = func(*values)
    output, aux = result if has_aux else (result, None)
    outputs = _leaves(output)

    def product(*cotangents: Any) -> tuple[Any, ...]:
        given = _leaves(cotangents)
        found = functional._gradients(outputs, leaves, given, True)
        return tuple(_filled(primals, _settled(found, _recording((primals, given)))))

    value = _settled(output, _recording(primals))
    return (value, product, aux) if has_aux else (value, product)


def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False) -> Any:
    """`func(*primals)` and its derivative along `tangents`.

    Args:
        func: gives tensors; with `has_aux` a pair of that and anything else.
        primals, tangents: tuples of tensors of the same shapes. Here and in the result they may be in dictionaries,
            lists and tuples.
        has_aux: as above; what else there is comes third.

    Errors: ValueError for primals that are no tensors, RuntimeError for tangents of other shapes.
    """
    seen: list[Any] = []

    def of_leaves(*values: Tensor) -> tuple[Tensor, ...]:
        seen.append(func(*_filled(primals, values)))
        return _leaves(seen[0][0] if has_aux else seen[0])

    recording = _recording((primals, tangents))
    found = functional.jvp(of_leaves, _leaves(primals), _leaves(tangents), create_graph=recording)
    output = seen[0][0] if has_aux else seen[0]
    value, tangent = (_filled(output, tensors) for tensors in found)
    return (value, tangent, seen[0][1]) if has_aux else (value, tangent)


def jacrev(func: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, **options: Any) -> Function:
    """A function that gives the Jacobian of `func` by argument(s) `argnums`: (output's shape, argument's shape).

    Args:
        func: gives tensors; with `has_aux` a pair of that and anything else.
        argnums: which arguments. They and the result may be dictionaries, lists and tuples of tensors: in the place of
            each tensor of the result there is then the structure of the arguments.
        has_aux: as above; what else there is comes second.
        options: chunk_size, randomness: accepted.

    Errors: ValueError for arguments that are no tensors.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions = _chosen(args, argnums)
        chosen = tuple(args[i] for i in positions)
        seen: list[Any] = []

        def of_leaves(*leaves: Tensor) -> tuple[Tensor, ...]:
            values = list(args)
            for i, value in zip(positions, _filled(chosen, leaves), strict=True):
                values[i] = value
            seen.append(func(*values, **kwargs))
            return _leaves(seen[0][0] if has_aux else seen[0])

        rows = functional.jacobian(of_leaves, _leaves(chosen), create_graph=_recording(args))
        blocks = [_filled(chosen, row) for row in rows]
        output = seen[0][0] if has_aux else seen[0]
        found = _filled(output, [block[0] for block in blocks] if isinstance(argnums, int) else blocks)
        return (found, seen[0][1]) if has_aux else found

    return wrapped


def jacfwd(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **options: Any) -> Function:
    """The same as `jacrev`."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that gives the second derivatives of `func` by argument(s) `argnums`."""
    return jacrev(jacrev(func, argnums), argnums)


def _inner(value: Any, dims: Any) -> list[tuple[Any, Any]]:
    """The parts of a dictionary, list or tuple with their dimensions: one for all, or one for each."""
    if isinstance(value, dict):
        return [(part, dims[key] if isinstance(dims, dict) else dims) for key, part in value.items()]
    if isinstance(value, (tuple, list)):
        inner = dims if isinstance(dims, (tuple, list)) else [dims] * len(value)
        return list(zip(value, inner, strict=True))
    raise ValueError(
        f"vmap: Got in_dim={dims} for an input but the input is of type {type(value)}. We cannot vmap over non-Tensor "
        "arguments, please use None as the respective in_dim"
    )


def _taken(value: Any, dims: Any, index: int) -> Any:
    if dims is None:
        return value
    if isinstance(value, Tensor):
        return value.select(dims, index)
    parts = [_taken(part, d, index) for part, d in _inner(value, dims)]
    if isinstance(value, dict):
        return type(value)(zip(value, parts, strict=True))
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _sizes(value: Any, dims: Any) -> set[int]:
    if dims is None:
        return set()
    if isinstance(value, Tensor):
        if not -value.dim() <= dims < value.dim():
            raise ValueError(
                f"vmap: Got in_dim={dims} for some input, but that input is a Tensor of dimensionality {value.dim()} "
                f"so expected in_dim to satisfy -{value.dim()} <= in_dim < {value.dim()}."
            )
        return {value.shape[dims]}
    return set().union(*(_sizes(part, d) for part, d in _inner(value, dims)))


def _stacked(results: list[Any], dims: Any) -> Any:
    """Results of all examples, each alike, as one with a dimension more in its tensors."""
    first = results[0]
    if isinstance(first, (dict, tuple, list)):
        dims = [d for _, d in _inner(first, dims)]
        keys = list(first) if isinstance(first, dict) else range(len(first))
        parts = [_stacked([result[key] for result in results], d) for key, d in zip(keys, dims, strict=True)]
        if isinstance(first, dict):
            return type(first)(zip(first, parts, strict=True))
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if isinstance(dims, (tuple, list)) and len(dims) == 1:
        dims = dims[0]
    if dims is None:
        return first
    if not isinstance(first, Tensor):
        raise ValueError(f"vmap: the function must only return Tensors, got type {type(first)}")
    return _core.stack(results, dims)


def vmap(
    func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Function:
    """A function of batches from a function of examples. It calls `func` once per example, in one plan.

    Args:
        func: takes and gives tensors, also in dictionaries, lists and tuples.
        in_dims: the batch dimension of the arguments: one for all, or one (or None) for each.
        out_dims: where the results have it.
        randomness, chunk_size: accepted.

    Errors: ValueError for batches of different sizes or without any, and for results that are no tensors.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        dims = tuple(in_dims) if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(dims) != len(args):
            raise ValueError(
                f"vmap: in_dims is not compatible with the structure of inputs: {len(dims)} for {len(args)} arguments"
            )
        sizes = set().union(*(_sizes(value, d) for value, d in zip(args, dims, strict=True)))
        if len(sizes) != 1:
            raise ValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)} "
                "for the mapped dimension"
                if sizes
                else "vmap: at least one input must have a mapped dimension"
            )
        results = [
            func(*(_taken(value, d, i) for value, d in zip(args, dims, strict=True)), **kwargs)
            for i in range(sizes.pop())
        ]
        return _stacked(results, out_dims)

    return wrapped


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of several modules of one kind, stacked, by name."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    parameters = {
        name: _core.stack([dict(model.named_parameters())[name].detach() for model in models]).requires_grad_()
        for name, _ in models[0].named_parameters()
    }
    buffers = {
        name: _core.stack([dict(model.named_buffers())[name] for model in models])
        for name, _ in models[0].named_buffers()
    }
    return parameters, buffers
