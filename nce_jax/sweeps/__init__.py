"""Sweeps: a pure function over the product of named axes, in one compilation, with a labelled
result."""

from nce_jax.sweeps._chunks import Chunking as Chunking
from nce_jax.sweeps._grid import compiled_sweep as compiled_sweep
from nce_jax.sweeps._grid import sweep as sweep
from nce_jax.sweeps._mean import FailedLanesWarning as FailedLanesWarning
from nce_jax.sweeps._mean import LaneMean as LaneMean
from nce_jax.sweeps._result import SweepResult as SweepResult
from nce_jax.sweeps._shared import shared as shared
from nce_jax.sweeps._store import ChunkWarning as ChunkWarning

__all__ = [
    "ChunkWarning",
    "Chunking",
    "FailedLanesWarning",
    "LaneMean",
    "SweepResult",
    "compiled_sweep",
    "shared",
    "sweep",
]
