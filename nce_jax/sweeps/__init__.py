"""Sweeps: a pure function over the product of named axes, in one compilation, with a labelled result."""

from nce_jax.sweeps._grid import sweep as sweep
from nce_jax.sweeps._result import SweepResult as SweepResult
from nce_jax.sweeps._shared import shared as shared

__all__ = ["SweepResult", "shared", "sweep"]
