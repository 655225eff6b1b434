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


def _differentiable(args: tuple[Any, ...], positions: list[int]) -> tuple[list[Any], list[Tensor]]:
    """The arguments with views of those at `positions`, so that their graph goes on, or leaves if they have none."""
    values = list(args)
    for i in positions:
        x = values[i]
        if not isinstance(x, Tensor):
            raise TypeError(f"expected a Tensor as argument {i} to differentiate by, got {type(x).__name__}")
        values[i] = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
    return values, [values[i] for i in positions]


def _settled(value: Any, recording: bool) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_settled(part, recording) for part in value)
    return value.detach() if isinstance(value, Tensor) and not recording else value


def grad_and_value(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `func`, a single number, by argument(s) `argnums`, and its value.

    Args:
        func: gives a 0-d tensor; with `has_aux` a pair of it and anything else, which is handed on.
        argnums: which arguments.
        has_aux: as above.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions = _chosen(args, argnums)
        recording = any(isinstance(x, Tensor) and x.requires_grad for x in args)
        with enable_grad():
            values, leaves = _differentiable(args, positions)
            result = func(*values, **kwargs)
            output, aux = result if has_aux else (result, None)
            if not isinstance(output, Tensor) or output.dim() != 0:
                raise RuntimeError(
                    "Expected f(*args) to return a scalar tensor, got "
                    + (f"tensor with {output.dim()} dims." if isinstance(output, Tensor) else f"{type(output)}")
                )
            found = functional._gradients((output,), tuple(leaves), (_core.ones_like(output),), True)
        gradient = _settled(found[0] if isinstance(argnums, int) else found, recording)
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


def vjp(func: Function, *primals: Tensor, has_aux: bool = False) -> Any:
    """`func(*primals)`, and a function that gives the products of vectors (like its output) with its Jacobian.

    Args:
        func: gives a tensor or a tuple of them; with `has_aux` a pair of that and anything else.
        primals: tensors.
        has_aux: as above; what else there is comes third.
    """
    with enable_grad():
        values, leaves = _differentiable(primals, list(range(len(primals))))
        result = func(*values)
    output, aux = result if has_aux else (result, None)
    outputs = tuple(output) if isinstance(output, (tuple, list)) else (output,)

    def product(*cotangents: Any) -> tuple[Tensor, ...]:
        given = cotangents[0] if len(cotangents) == 1 and isinstance(cotangents[0], (tuple, list)) else cotangents
        found = functional._gradients(outputs, tuple(leaves), tuple(given), True)
        return tuple(_settled(found, any(x.requires_grad for x in (*primals, *given))))

    recording = any(x.requires_grad for x in primals)
    return (_settled(output, recording), product, aux) if has_aux else (_settled(output, recording), product)


def jvp(func: Function, primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...], *, has_aux: bool = False) -> Any:
    """`func(*primals)` and its derivative along `tangents`.

    Args:
        func: gives a tensor or a tuple of them; with `has_aux` a pair of that and anything else.
        primals, tangents: tuples of tensors of the same shapes.
        has_aux: as above; what else there is comes third.
    """
    rest: list[Any] = []

    def without_aux(*values: Tensor) -> Any:
        result = func(*values)
        if has_aux:
            rest.append(result[1])
        return result[0] if has_aux else result

    recording = any(x.requires_grad for x in (*primals, *tangents))
    output, tangent = functional.jvp(without_aux, tuple(primals), tuple(tangents), create_graph=recording)
    return (output, tangent, rest[0]) if has_aux else (output, tangent)


def jacrev(func: Function, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False, **options: Any) -> Function:
    """A function that gives the Jacobian of `func` by argument(s) `argnums`: (output's shape, argument's shape).

    Args:
        func: gives a tensor or a tuple of them; with `has_aux` a pair of that and anything else.
        argnums: which arguments.
        has_aux: as above; what else there is comes second.
        options: chunk_size, randomness: accepted.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions = _chosen(args, argnums)
        rest: list[Any] = []

        def of_chosen(*chosen: Tensor) -> Any:
            values = list(args)
            for i, value in zip(positions, chosen, strict=True):
                values[i] = value
            result = func(*values, **kwargs)
            if has_aux:
                rest.append(result[1])
            return result[0] if has_aux else result

        chosen = tuple(args[i] for i in positions)
        recording = any(isinstance(x, Tensor) and x.requires_grad for x in args)
        found = functional.jacobian(
            of_chosen, chosen[0] if isinstance(argnums, int) else chosen, create_graph=recording
        )
        return (found, rest[0]) if has_aux else found

    return wrapped


def jacfwd(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, **options: Any) -> Function:
    """The same as `jacrev`."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """A function that gives the second derivatives of `func` by argument(s) `argnums`."""
    return jacrev(jacrev(func, argnums), argnums)


def _taken(value: Any, dims: Any, index: int) -> Any:
    if dims is None:
        return value
    if isinstance(value, Tensor):
        return value.select(dims, index)
    inner = dims if isinstance(dims, (tuple, list)) else [dims] * len(value)
    return type(value)(_taken(part, d, index) for part, d in zip(value, inner, strict=True))


def _sizes(value: Any, dims: Any) -> set[int]:
    if dims is None:
        return set()
    if isinstance(value, Tensor):
        return {value.shape[dims]}
    inner = dims if isinstance(dims, (tuple, list)) else [dims] * len(value)
    return set().union(*(_sizes(part, d) for part, d in zip(value, inner, strict=True)))


def vmap(
    func: Function, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Function:
    """A function of batches from a function of examples. It calls `func` once per example, in one plan.

    Args:
        func: takes tensors, gives a tensor or a tuple of them.
        in_dims: the batch dimension of the arguments: one for all, or one (or None) for each.
        out_dims: where the results have it.
        randomness, chunk_size: accepted.

    Errors: ValueError for batches of different sizes or without any.
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
        if isinstance(results[0], (tuple, list)):
            outs = out_dims if isinstance(out_dims, (tuple, list)) else (out_dims,) * len(results[0])
            return tuple(_core.stack(parts, d) for parts, d in zip(zip(*results, strict=True), outs, strict=True))
        return _core.stack(results, out_dims if isinstance(out_dims, int) else out_dims[0])

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
