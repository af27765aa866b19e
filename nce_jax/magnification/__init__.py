"""Choosing the magnification M, once or anew at every training step, from log-ratio arrays."""

from nce_jax.magnification._adaptive import MagnificationRule as MagnificationRule
from nce_jax.magnification._adaptive import adaptive_magnification as adaptive_magnification
from nce_jax.magnification._choose import choose_magnification as choose_magnification

__all__ = ["MagnificationRule", "adaptive_magnification", "choose_magnification"]
