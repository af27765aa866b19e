"""Free energies in the terms of molecular simulation: two states, a chain, a network of them."""

from nce_jax.free_energy._bar import FreeEnergy, bar
from nce_jax.free_energy._bootstrap import bootstrap_bar, bootstrap_bar_chain
from nce_jax.free_energy._bootstrap_mbar import bootstrap_mbar
from nce_jax.free_energy._chain import ChainFreeEnergy, bar_chain
from nce_jax.free_energy._consistency import (
    ContradictedWorkError,
    WorkSlope,
    check_work,
    neighbor_work,
    work_slope,
)
from nce_jax.free_energy._convergence import Convergence, bar_chain_convergence, bar_convergence
from nce_jax.free_energy._enthalpy import EnthalpyEntropy, enthalpy_and_entropy
from nce_jax.free_energy._expectations import Expectations, expectations
from nce_jax.free_energy._intervals import Interval, percentile_interval, studentized_interval
from nce_jax.free_energy._mbar import mbar
from nce_jax.free_energy._mean_force import MeanForcePotential, potential_of_mean_force
from nce_jax.free_energy._redraw import FreeEnergyBootstrap
from nce_jax.free_energy._states import StateFreeEnergies
from nce_jax.free_energy._time_series import (
    Equilibration,
    decorrelated_mask,
    detect_equilibration,
    statistical_inefficiency,
)

__all__ = [
    "ChainFreeEnergy",
    "ContradictedWorkError",
    "Convergence",
    "EnthalpyEntropy",
    "Equilibration",
    "Expectations",
    "FreeEnergy",
    "FreeEnergyBootstrap",
    "Interval",
    "MeanForcePotential",
    "StateFreeEnergies",
    "WorkSlope",
    "bar",
    "bar_chain",
    "bar_chain_convergence",
    "bar_convergence",
    "bootstrap_bar",
    "bootstrap_bar_chain",
    "bootstrap_mbar",
    "check_work",
    "decorrelated_mask",
    "detect_equilibration",
    "enthalpy_and_entropy",
    "expectations",
    "mbar",
    "neighbor_work",
    "percentile_interval",
    "potential_of_mean_force",
    "statistical_inefficiency",
    "studentized_interval",
    "work_slope",
]
