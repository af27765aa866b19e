"""Choosing the magnification M, once or anew at every training step, from log-ratio arrays."""

from nce_jax.magnification._adaptive import Choice, MagnificationRule, adaptive_magnification
from nce_jax.magnification._suggested import suggested_magnification

__all__ = ["Choice", "MagnificationRule", "adaptive_magnification", "suggested_magnification"]
