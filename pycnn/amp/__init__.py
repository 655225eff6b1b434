"""Mixed precision."""

from pycnn.amp.autocast_mode import autocast
from pycnn.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast"]
