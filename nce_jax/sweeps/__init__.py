"""Sweeps: a pure function on a grid of named axes, in one compilation, with a labeled result."""

from nce_jax._shared import shared
from nce_jax.sweeps._chunk_files import ManifestWarning
from nce_jax.sweeps._chunks import Chunking, MemoryLimitError
from nce_jax.sweeps._generators import DependentDrawsWarning
from nce_jax.sweeps._grid import compiled_sweep, sweep
from nce_jax.sweeps._identity import StoreError
from nce_jax.sweeps._load import load_sweep
from nce_jax.sweeps._mean import FailedLanesWarning, LaneMean
from nce_jax.sweeps._result import SweepResult
from nce_jax.sweeps._store import ChunkWarning

__all__ = [
    "ChunkWarning",
    "Chunking",
    "DependentDrawsWarning",
    "FailedLanesWarning",
    "LaneMean",
    "ManifestWarning",
    "MemoryLimitError",
    "StoreError",
    "SweepResult",
    "compiled_sweep",
    "load_sweep",
    "shared",
    "sweep",
]
