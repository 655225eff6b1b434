"""Limited-memory BFGS, a quasi-Newton method for smooth objectives without noise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pycnn import _core
from pycnn._core import Tensor
from pycnn.autograd.grad_mode import enable_grad, no_grad
from pycnn.optim.optimizer import Optimizer, check_rate


class _Point(NamedTuple):
    """On a line of search: where, the objective, its gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, low: float, high: float) -> float:
    """The minimum of the cubic through two points with their slopes, within bounds (Nocedal and Wright 2006, 3.59)."""
    left, right = (a, b) if a.t <= b.t else (b, a)
    try:
        first = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
        squared = first * first - a.slope * b.slope
        if squared >= 0:
            root = squared**0.5
            share = (right.slope + root - first) / (right.slope - left.slope + 2 * root)
            return min(max(right.t - (right.t - left.t) * share, low), high)
    except ZeroDivisionError:
        pass
    return (low + high) / 2


def _strong_wolfe(
    evaluate: Callable[[float], _Point], start: _Point, t: float, reach: float, tolerance: float, limit: int
) -> tuple[_Point, int]:
    """A point that fulfils the strong Wolfe conditions, or the lowest one after `limit` tries; and the evaluations.

    First steps out until a bracket holds such a point, then closes in on it (Nocedal and Wright 2006, algorithms 3.5
    and 3.6).

    Args:
        evaluate: gives the point at t.
        start: that at 0.
        t: the first try.
        reach: the largest change of an element at t = 1.
        tolerance: brackets that move no element by more are good enough.
        limit: the most tries after the first.
    """

    def is_high(point: _Point) -> bool:
        return point.loss > start.loss + 1e-4 * point.t * start.slope

    def is_flat(point: _Point) -> bool:
        return abs(point.slope) <= -0.9 * start.slope

    before, now = start, evaluate(t)
    tries = 0
    bracket = None
    while tries < limit:
        if is_high(now) or (tries > 1 and now.loss >= before.loss):
            bracket = [before, now]
            break
        if is_flat(now):
            return now, tries + 1
        if now.slope >= 0:
            bracket = [before, now]
            break
        t = _cubic_minimum(before, now, now.t + 0.01 * (now.t - before.t), now.t * 10)
        before, now = now, evaluate(t)
        tries += 1
    bracket = [start, now] if bracket is None else bracket
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    close = False  # the last try lay near the bracket's end
    while tries < limit:
        left, right = sorted((bracket[0].t, bracket[1].t))
        if (right - left) * reach < tolerance:
            break
        t = _cubic_minimum(bracket[0], bracket[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            close = False
        elif close or t >= right or t <= left:
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            close = False
        else:
            close = True
        now = evaluate(t)
        tries += 1
        if is_high(now) or now.loss >= bracket[low].loss:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        if not is_flat(now) and now.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = now
        if is_flat(now):
            break
    return bracket[low], tries + 1


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal 1989) as in PyTorch: `step(closure)` makes up to `max_iter` iterations.

    Args:
        params: parameters; there can be one group only.
        lr: length of a step, or the first try of the line search.
        max_iter: iterations per step.
        max_eval: evaluations of the closure per step; max_iter * 5 // 4 by default.
        tolerance_grad: it ends when no element of the gradient is larger.
        tolerance_change: it ends when the objective or all elements change by less.
        history_size: pairs of differences kept; each takes the memory of two sets of parameters.
        line_search_fn: "strong_wolfe" or None.

    Errors: ValueError for a negative lr and more than one group; `step` raises RuntimeError for another line search.
    """

    _evaluates = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_rate(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        members: list[Tensor] = self.param_groups[0]["params"]
        return members

    def _flat_gradient(self) -> Tensor:
        return _core.cat(
            [
                _core.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.detach().reshape(-1)
                for p in self._params
            ]
        )

    def _move(self, t: float, direction: Tensor) -> None:
        start = 0
        for parameter in self._params:
            part = direction[start : start + parameter.numel()].reshape(tuple(parameter.shape))
            parameter.add_(part, alpha=t)
            start += parameter.numel()

    def _direction(self, state: dict[str, Any], gradient: Tensor, history_size: int) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient, by the two-loop recursion."""
        change = gradient - state["prev_flat_grad"]
        moved = state["d"] * state["t"]
        curvature = change.dot(moved)
        if curvature.item() > 1e-10:
            for name, value in (("old_dirs", change), ("old_stps", moved), ("ro", 1.0 / curvature)):
                if len(state[name]) == history_size:
                    state[name].pop(0)
                state[name].append(value)
            state["H_diag"] = curvature / change.dot(change)
        history = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
        shares: list[Any] = state.setdefault("al", [None] * history_size)
        direction = -gradient
        for i, (change, moved, inverse) in reversed(list(enumerate(history))):
            shares[i] = moved.dot(direction) * inverse
            direction = direction - shares[i] * change
        direction = direction * state["H_diag"]
        for i, (change, moved, inverse) in enumerate(history):
            direction = direction + (shares[i] - change.dot(direction) * inverse) * moved
        return direction

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterates until one of the bounds is met; gives the objective before.

        Args:
            closure: clears the gradients, computes the objective and its gradients, and gives the objective.
        """
        group = self.param_groups[0]
        lr, search = float(group["lr"]), group["line_search_fn"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def objective() -> Any:
            with enable_grad():
                return closure()

        first = objective()
        loss, gradient = float(first), self._flat_gradient()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction = -gradient
                state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
                t = min(1.0, 1.0 / gradient.abs().sum().item()) * lr
            else:
                direction = self._direction(state, gradient, group["history_size"])
                t = lr
            state.update(prev_flat_grad=gradient, prev_loss=loss, d=direction, t=t)
            slope = gradient.dot(direction).item()
            if slope > -group["tolerance_change"]:
                break
            made = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                origin = [parameter.detach().clone() for parameter in self._params]

                def evaluate(t: float, direction: Tensor = direction, origin: list[Tensor] = origin) -> _Point:
                    self._move(t, direction)
                    loss, gradient = float(objective()), self._flat_gradient()
                    for parameter, value in zip(self._params, origin, strict=True):
                        parameter.copy_(value)
                    return _Point(t, loss, gradient, gradient.dot(direction).item())

                found, made = _strong_wolfe(
                    evaluate, _Point(0, loss, gradient, slope), t, _largest(direction), group["tolerance_change"],
                    group["max_eval"] - evaluations,
                )  # fmt: skip
                t, loss, gradient, _ = found
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:
                    loss, gradient = float(objective()), self._flat_gradient()
                    made = 1
            state["t"] = t
            evaluations += made
            state["func_evals"] += made
            if (
                iteration == group["max_iter"]
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction * t) <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        kept = [value for value in (*state.values(), *state["old_dirs"], *state["old_stps"], *state["ro"])]
        _core.eval(self._params + [value for value in kept if isinstance(value, Tensor)])
        return first


def _largest(values: Tensor) -> float:
    return float(values.abs().max().item())
