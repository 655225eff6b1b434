"""Mixed precision: 16-bit convolutions and products, float32 weights and sums."""

from pycnn.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from pycnn.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
