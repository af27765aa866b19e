"""Toys: distributions on the plane with samples by key, most of them with an exact log density.

They are for first trials, tests and figures: since the density is normalized, every estimate of a
normalizer, a likelihood or a divergence can be compared with the truth. `TOYS` has all of them by
name, with their default constants.
"""

from nce_jax.toys._toy import Toy
from nce_jax.toys._toys import (
    TOYS,
    checkerboard,
    gaussians,
    pinwheel,
    rings,
    swiss_roll,
    two_spirals,
)

__all__ = [
    "TOYS",
    "Toy",
    "checkerboard",
    "gaussians",
    "pinwheel",
    "rings",
    "swiss_roll",
    "two_spirals",
]
