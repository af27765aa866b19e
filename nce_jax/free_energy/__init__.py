"""Free energy differences from work values, in the terms of molecular simulation."""

from nce_jax.free_energy._bar import FreeEnergy, bar

__all__ = ["FreeEnergy", "bar"]
