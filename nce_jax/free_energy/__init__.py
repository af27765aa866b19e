"""Free energy differences from work values, in the terms of molecular simulation."""

from nce_jax.free_energy._bar import FreeEnergy, bar
from nce_jax.free_energy._bootstrap import bootstrap_bar, bootstrap_bar_chain
from nce_jax.free_energy._chain import ChainFreeEnergy, bar_chain
from nce_jax.free_energy._convergence import Convergence, bar_chain_convergence, bar_convergence
from nce_jax.free_energy._intervals import Interval, percentile_interval, studentized_interval
from nce_jax.free_energy._redraw import FreeEnergyBootstrap
from nce_jax.free_energy._time_series import decorrelated_mask, statistical_inefficiency

__all__ = [
    "ChainFreeEnergy",
    "Convergence",
    "FreeEnergy",
    "FreeEnergyBootstrap",
    "Interval",
    "bar",
    "bar_chain",
    "bar_chain_convergence",
    "bar_convergence",
    "bootstrap_bar",
    "bootstrap_bar_chain",
    "decorrelated_mask",
    "percentile_interval",
    "statistical_inefficiency",
    "studentized_interval",
]
