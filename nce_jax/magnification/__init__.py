"""Choosing the magnification M from log ratios, once or at every training step."""

from nce_jax.magnification._adaptive_rule import adaptive_magnification
from nce_jax.magnification._interface import Choice, MagnificationRule
from nce_jax.magnification._sufficient import sufficient_magnification
from nce_jax.magnification._suggested import suggested_magnification

__all__ = [
    "Choice",
    "MagnificationRule",
    "adaptive_magnification",
    "sufficient_magnification",
    "suggested_magnification",
]
