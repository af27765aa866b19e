"""Choosing the magnification M, once or anew at every training step, from log-ratio arrays."""

from nce_jax.magnification._adaptive import Choice, MagnificationRule, adaptive_magnification
from nce_jax.magnification._choose import choose_magnification

__all__ = ["Choice", "MagnificationRule", "adaptive_magnification", "choose_magnification"]
