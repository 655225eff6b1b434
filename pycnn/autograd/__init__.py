"""Gradients: `backward`, `grad`, grad modes, `Function`, `gradcheck`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._paths import add_paths
from pycnn.autograd import forward_ad, functional, graph
from pycnn.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from pycnn.autograd.function import Function, FunctionCtx, once_differentiable
from pycnn.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from pycnn.autograd.graph import GradientEdge, tensor_at
from pycnn.autograd.variable import Variable

__all__ = [
    "GradcheckError",
    "Variable",
    "Function",
    "FunctionCtx",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise for a wrong gradient."""


def __getattr__(name: str) -> Any:
    if name in ("profiler", "anomaly_mode"):
        return importlib.import_module(f"pycnn.autograd.{name}")
    raise AttributeError(f"module 'pycnn.autograd' has no attribute '{name}'")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if value is None or isinstance(value, (Tensor, GradientEdge)) else tuple(value)


def _places(value: Any) -> tuple[Any, ...]:
    """Tensors, some of them given by their edges."""
    return tuple(tensor_at(place) for place in _as_tuple(value))


def _optional_tuple(value: Any) -> tuple[Any, ...] | None:
    return None if value is None else _as_tuple(value)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of (the sum of) `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs: tensors that depend on `inputs`; scalars unless `grad_outputs` says how they weigh.
        inputs: tensors that require grad, leaves or not.
        grad_outputs: one tensor of its shape per output, or None for ones.
        retain_graph: keep the graph for another backward (default: `create_graph`).
        create_graph: record the gradients as well, for second derivatives.
        only_inputs: accepted and ignored; no other gradient is touched in any case.
        allow_unused: give None for an input that no output depends on, which is an error otherwise.
        is_grads_batched: `grad_outputs` has one more dimension, in front: the gradients for each of its elements.
        materialize_grads: give zeros instead of None.

    Returns:
        one tensor per input, of its shape (behind a batch dimension, if `is_grads_batched`) and dtype.

    Errors: RuntimeError if an input was not used, an output is no scalar, or the graph was freed.
    """
    sources = _places(inputs)
    if not sources:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for source in sources:
        if not isinstance(source, Tensor):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(source).__name__}")
    unused = materialize_grads if allow_unused is None else allow_unused
    if materialize_grads and not unused:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: False.")
    weights = _optional_tuple(grad_outputs)
    if is_grads_batched:
        return _batched(_places(outputs), sources, weights or (), retain_graph, create_graph, unused)
    result = tuple(_core.grad(_places(outputs), sources, weights, retain_graph, create_graph, unused))
    if not materialize_grads:
        return result
    return tuple(
        _core.zeros_like(source) if gradient is None else gradient
        for source, gradient in zip(sources, result, strict=True)
    )


def _batched(
    outputs: tuple[Tensor, ...],
    sources: tuple[Tensor, ...],
    weights: tuple[Tensor, ...],
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool,
) -> tuple[Tensor | None, ...]:
    count = weights[0].shape[0]
    rows = [
        _core.grad(
            outputs, sources, tuple(weight[i] for weight in weights), True if i + 1 < count else retain_graph,
            create_graph, allow_unused,
        )
        for i in range(count)
    ]  # fmt: skip
    return tuple(None if parts[0] is None else _core.stack(parts) for parts in zip(*rows, strict=True))


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Adds the gradients of (the sum of) `tensors` to `.grad` of every leaf they depend on.

    Args:
        tensors: scalars, or tensors of any shape with `grad_tensors`.
        grad_tensors: one tensor of its shape per tensor, or None for ones.
        retain_graph: keep the graph for another backward (default: `create_graph`).
        create_graph: record the gradients as well.
        inputs: add to `.grad` of these alone.
    """
    _core.backward(
        _places(tensors),
        _optional_tuple(grad_tensors),
        retain_graph,
        create_graph,
        None if inputs is None else _places(inputs),
    )


def gradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **options: Any,
) -> bool:
    """Compares backward with central differences (f(x+eps) - f(x-eps)) / (2 eps), element by element.

    Args:
        func: takes the inputs, gives a tensor or several.
        inputs: those that are float64 and require grad are checked.
        eps: the step of the differences.
        atol: absolute tolerance.
        rtol: relative tolerance.
        raise_exception: raise GradcheckError with the first difference instead of returning False.
        options: `fast_mode`, `nondet_tol` and PyTorch's other names of checks; every element is looked at, and nothing
            else, whatever they say.

    Errors: ValueError if no input requires grad, TypeError for unknown options.
    """
    unknown = [name for name in options if name not in _GRADCHECK_OPTIONS]
    if unknown:
        raise TypeError(f"gradcheck() got an unexpected keyword argument '{unknown[0]}'")
    passed, message = _core.gradcheck(func, _as_tuple(inputs), eps=eps, atol=atol, rtol=rtol)
    if raise_exception and not passed:
        raise GradcheckError(message)
    return bool(passed)


_GRADCHECK_OPTIONS = (
    "nondet_tol",
    "check_undefined_grad",
    "check_grad_dtypes",
    "check_batched_grad",
    "check_batched_forward_grad",
    "check_forward_ad",
    "check_backward_ad",
    "check_fwd_over_rev",
    "check_rev_over_rev",
    "fast_mode",
    "masked",
    "gen_non_contig_grad_outputs",
)


def gradgradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **options: Any,
) -> bool:
    """Like `gradcheck`, for second derivatives: checks the gradient as a function of inputs and output gradients.

    Args:
        func: takes the inputs, gives a tensor or several.
        inputs: those that are float64 and require grad are checked.
        grad_outputs: one float64 tensor of its shape per output that requires grad, or None for random ones.
        eps, atol, rtol, raise_exception, options: as for `gradcheck`.
    """
    sources = _as_tuple(inputs)
    differentiable = [i for i, x in enumerate(sources) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        outputs = [y for y in _as_tuple(func(*sources)) if y.requires_grad]
        weights = tuple(_core.randn(tuple(y.shape), dtype=y.dtype).requires_grad_() for y in outputs)
    else:
        weights = tuple(weight.detach().requires_grad_() for weight in _as_tuple(grad_outputs))

    def first_gradient(*arguments: Any) -> tuple[Tensor, ...]:
        values, directions = list(arguments[: len(sources)]), arguments[len(sources) :]
        with enable_grad():  # gradcheck takes its differences without
            for i in differentiable:
                if not values[i].requires_grad:
                    values[i] = values[i].detach().requires_grad_()
            outputs = [y for y in _as_tuple(func(*values)) if y.requires_grad]
            wanted = [values[i] for i in differentiable]
            gradients = grad(outputs, wanted, directions, create_graph=True, materialize_grads=True)
        return tuple(g for g in gradients if g is not None)

    return gradcheck(
        first_gradient, (*sources, *weights), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception, **options
    )


add_paths(__name__, {"gradcheck": "autograd"})
