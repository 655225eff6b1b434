"""Jacobians, Hessians and their products with vectors, as functions of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]


def _tensors(value: Any, argument: str, function: str) -> tuple[tuple[Tensor, ...], bool]:
    """The value as a tuple of tensors, and whether it was one already."""
    many = isinstance(value, (tuple, list))
    values = tuple(value) if many else (value,)
    for i, element in enumerate(values):
        if not isinstance(element, Tensor):
            place = f"the element {i} of the tuple" if many else "it"
            raise TypeError(
                f"The {argument} given to {function} must be either a Tensor or a tuple of Tensors but {place} has "
                f"type {type(element)}."
            )
    return values, many


def _like(values: tuple[Any, ...], many: bool) -> Any:
    return values if many else values[0]


def _leaves(inputs: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    """Inputs to differentiate by: views of the given ones where their graph goes on, else leaves of their values."""
    return tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in inputs)


def _run(func: Function, inputs: Any, name: str, create_graph: bool) -> tuple[Any, ...]:
    values, many_inputs = _tensors(inputs, "inputs", name)
    leaves = _leaves(values, create_graph)
    outputs, many_outputs = _tensors(func(*leaves), "outputs of the user-provided function", name)
    return leaves, many_inputs, outputs, many_outputs


def _vectors(v: Any, like: tuple[Tensor, ...], many: bool, name: str, of: str) -> tuple[Tensor, ...]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if the {of} "
                + ("the user-provided function returns a single Tensor with a single element." if of == "output of"
                   else "the user-provided function is a single Tensor with a single element.")
            )  # fmt: skip
        return (_core.ones_like(like[0]),)
    vectors, _ = _tensors(v, "v", name)
    if len(vectors) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
            if many
            else "The given v should contain a single Tensor."
        )
    for i, (vector, tensor) in enumerate(zip(vectors, like, strict=True)):
        if tuple(vector.shape) != tuple(tensor.shape):
            entry = f"Entry {i} in v" if many else "v"
            raise RuntimeError(f"{entry} has invalid size: should be {tensor.shape} but got {vector.shape}.")
    return vectors


def _gradients(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    vectors: tuple[Tensor, ...],
    create_graph: bool,
    strict: bool = False,
) -> tuple[Tensor, ...]:
    """Σ vectors · d outputs / d inputs; zeros (RuntimeError if `strict`) where nothing depends on an input."""
    pairs = [(y, v) for y, v in zip(outputs, vectors, strict=True) if y.requires_grad]
    if strict and len(pairs) < len(outputs):
        raise RuntimeError(
            "An output of the user-provided function is independent of the inputs: not allowed if strict."
        )
    found: Any = (None,) * len(inputs)
    if pairs:
        found = _core.grad(
            tuple(y for y, _ in pairs), inputs, tuple(v for _, v in pairs), True, create_graph, not strict
        )
    return tuple(_core.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True))


def _settled(values: tuple[Tensor, ...], create_graph: bool) -> tuple[Tensor, ...]:
    return values if create_graph else tuple(value.detach() for value in values)


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`func(*inputs)` and the product of the vector `v` with its Jacobian.

    Args:
        func: takes the inputs, gives a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        v: of the outputs' shapes; None for a single output of one element.
        create_graph: record the result's gradients.
        strict: RuntimeError instead of zeros where an output does not depend on an input.

    Returns:
        the outputs, and a tensor of its shape per input.
    """
    with enable_grad():
        leaves, many_inputs, outputs, many_outputs = _run(func, inputs, "vjp", create_graph)
        vectors = _vectors(v, outputs, many_outputs, "vjp", "output of")
        product = _gradients(outputs, leaves, vectors, create_graph, strict)
    return _like(_settled(outputs, create_graph), many_outputs), _like(_settled(product, create_graph), many_inputs)


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`func(*inputs)` and the product of its Jacobian with the vector `v`: the derivative along `v`.

    Args: as in `vjp`, but `v` is of the inputs' shapes.

    Returns:
        the outputs, and a tensor of its shape per output.
    """
    with enable_grad():
        leaves, many_inputs, outputs, many_outputs = _run(func, inputs, "jvp", create_graph)
        vectors = _vectors(v, leaves, many_inputs, "jvp", "input to")
        product = _forward(outputs, leaves, vectors, create_graph, strict)
    return _like(_settled(outputs, create_graph), many_outputs), _like(_settled(product, create_graph), many_outputs)


def _forward(
    outputs: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    vectors: tuple[Tensor, ...],
    create_graph: bool,
    strict: bool = False,
) -> tuple[Tensor, ...]:
    """The derivative along `vectors`: u -> u J is linear, and its own gradient along them is J v."""
    probes = tuple(_core.zeros_like(y).requires_grad_() for y in outputs)
    rows = _gradients(outputs, leaves, probes, True, strict)
    return _gradients(rows, probes, vectors, create_graph)


def jacobian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivatives of every element of `func(*inputs)` by every element of the inputs.

    Args:
        func: takes the inputs, gives a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        create_graph: record the result's gradients.
        strict: RuntimeError instead of zeros where an output does not depend on an input.
        vectorize, strategy: accepted; rows are computed one by one, but in one plan.

    Returns:
        a tensor (output's shape, input's shape) per output and input: tuples of tuples where there are several.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(f'Expected strategy to be either "forward-mode" or "reverse-mode". Got "{strategy}"')
    with enable_grad():
        leaves, many_inputs, outputs, many_outputs = _run(func, inputs, "jacobian", create_graph)
        rows = []
        for output in outputs:
            parts: list[list[Tensor]] = [[] for _ in leaves]
            for element in range(output.numel()):
                unit = _core.zeros((output.numel(),), dtype=output.dtype, device=output.device)
                unit[element] = 1
                found = _gradients((output,), leaves, (unit.reshape(tuple(output.shape)),), create_graph, strict)
                for part, gradient in zip(parts, found, strict=True):
                    part.append(gradient)
            blocks = tuple(
                (_core.stack(part) if part else _core.zeros((0, *leaf.shape), dtype=leaf.dtype)).reshape(
                    (*output.shape, *leaf.shape)
                )
                for part, leaf in zip(parts, leaves, strict=True)
            )
            rows.append(_like(_settled(blocks, create_graph), many_inputs))
    return _like(tuple(rows), many_outputs)


def _one_number(func: Function, name: str) -> Function:
    def checked(*inputs: Tensor) -> Tensor:
        output = func(*inputs)
        if not isinstance(output, Tensor):
            raise RuntimeError(f"The function given to {name} should return a single Tensor")
        if output.numel() != 1:
            raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
        return output.squeeze()

    return checked


def hessian(
    func: Function,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of `func(*inputs)`, a single number, by all pairs of elements of the inputs.

    Args: as in `jacobian`.

    Returns:
        a tensor (shape of input i, shape of input j) per pair: tuples of tuples for a tuple of inputs.
    """
    _, many = _tensors(inputs, "inputs", "hessian")
    single = _one_number(func, "hessian")

    def gradient(*values: Tensor) -> Any:
        outputs = (single(*values),)
        found = _gradients(outputs, values, (_core.ones_like(outputs[0]),), True, strict)
        return _like(found, many)

    return jacobian(gradient, inputs, create_graph=create_graph, strict=strict)


def vhp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`func(*inputs)`, a single number, and the product of the vector `v` with its Hessian.

    Args: as in `vjp`, but `v` is of the inputs' shapes.

    Returns:
        the output, and a tensor of its shape per input.
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "vhp")


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """`func(*inputs)`, a single number, and the product of its Hessian, which is symmetric, with the vector `v`.

    Args, returns: as in `vhp`.
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp")


def _hessian_product(func: Function, inputs: Any, v: Any, create_graph: bool, strict: bool, name: str) -> Any:
    with enable_grad():
        values, many = _tensors(inputs, "inputs", name)
        leaves = _leaves(values, create_graph)
        vectors = _vectors(v, leaves, many, name, "input to")
        output = _one_number(func, name)(*leaves)
        gradient = _gradients((output,), leaves, (_core.ones_like(output),), True, strict)
        product = _gradients(gradient, leaves, vectors, create_graph, strict)
    return _settled((output,), create_graph)[0], _like(_settled(product, create_graph), many)
