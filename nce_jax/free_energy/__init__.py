"""Free energy differences from work values, in the terms of molecular simulation."""

from nce_jax.free_energy._bar import FreeEnergy, bar
from nce_jax.free_energy._chain import ChainFreeEnergy, bar_chain

__all__ = ["ChainFreeEnergy", "FreeEnergy", "bar", "bar_chain"]
