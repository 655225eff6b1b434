"""Loss scaling, so that gradients in narrow dtypes do not vanish (Micikevicius et al. 2018, section 3.2)."""

from __future__ import annotations

from typing import Any

from pycnn import _core
from pycnn._core import Tensor
from pycnn._device import as_device, warn_without_cuda


class GradScaler:
    """Multiplies the loss by a factor and divides the gradients by it before a step.

    Steps whose gradients are not finite are left out. The factor shrinks after such a step and grows after
    `growth_interval` others.

        scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

    Args:
        device: "cpu" or "cuda", which is disabled with a warning where there is no GPU.
        init_scale: the factor to begin with.
        growth_factor, backoff_factor: what it is multiplied by, above 1 and in 0..1.
        growth_interval: steps before it grows.
        enabled: False makes every method pass things on as they are.

    Errors: ValueError for factors out of range, RuntimeError for calls in a wrong order.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if device == "cuda" and not _core._cuda_is_available():
            enabled = enabled and warn_without_cuda("GradScaler")
        else:
            as_device(device)
        if growth_factor <= 1 or not 0 < backoff_factor < 1:
            raise ValueError(
                "GradScaler: expected growth_factor above 1 and backoff_factor between 0 and 1, got "
                f"{growth_factor} and {backoff_factor}"
            )
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._finite: dict[int, bool] = {}  # by optimiser, since the last update
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or a list or tuple of them, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(output) for output in outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of the optimiser's parameters by the factor; `step` does it if this did not."""
        if not self._enabled:
            return
        if id(optimizer) in self._finite:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not gradients:
            raise RuntimeError("No inf checks were recorded for this optimizer: no parameter has a gradient.")
        for gradient in gradients:
            gradient.mul_(1.0 / self._scale)
        finite = _core.stack([gradient.isfinite().all() for gradient in gradients]).all()
        self._finite[id(optimizer)] = bool(finite.item())

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)`, unless a gradient is infinite or NaN; gives its result, or None."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._finite:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return optimizer.step() if self._finite[id(optimizer)] else None

    def update(self, new_scale: Any = None) -> None:
        """Ends an iteration: sets the factor to `new_scale` (a number or tensor), or shrinks or grows it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._finite:
            raise RuntimeError("No inf checks were recorded prior to update.")
        elif not all(self._finite.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._finite.clear()
        self._stepped.clear()

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The factor; 1 if not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by to grow."""
        return self._growth_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by after a step that was left out."""
        return self._backoff_factor

    def get_growth_interval(self) -> int:
        """Steps before the factor grows."""
        return self._growth_interval

    def state_dict(self) -> dict[str, Any]:
        """The factor, its rules and how many steps went well since it last changed; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave. RuntimeError if it is empty, from a scaler that was not enabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
