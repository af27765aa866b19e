"""Free energies in the terms of molecular simulation: of two states, and of a network of them."""

from nce_jax.free_energy._bar import FreeEnergy, bar
from nce_jax.free_energy._expectations import Expectations, expectations
from nce_jax.free_energy._mbar import mbar
from nce_jax.free_energy._states import StateFreeEnergies

__all__ = ["Expectations", "FreeEnergy", "StateFreeEnergies", "bar", "expectations", "mbar"]
