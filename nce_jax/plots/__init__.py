"""Pictures of the library's results: each function takes a result and returns matplotlib Axes.

All but `sweep_panels`, which makes a figure of several Axes, take `ax=None`, the Axes to draw into,
and make a figure of pyplot where there is none; further keywords go to the artist that draws the
values. Nothing global is changed: no style is set and nothing is shown. What has failed is visible
as such: a value whose error is too small is hollow or hatched, one that is no estimate is a cross
at the lower edge, and a note above the Axes says what is wrong with the whole. This room needs the
extra `plots`.
"""

from nce_jax._extras import missing_extra

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise missing_extra("nce_jax.plots needs matplotlib", "plots") from error

from nce_jax.plots._assessment import calibration_curve, roc_curve
from nce_jax.plots._bootstrap import bootstrap_histogram
from nce_jax.plots._energies import energy_map
from nce_jax.plots._free_energy import free_energy_convergence, free_energy_windows
from nce_jax.plots._log_ratios import log_ratio_histogram
from nce_jax.plots._overlap_matrix import overlap_matrix
from nce_jax.plots._solver import solver_iterates
from nce_jax.plots._sweep_panels import sweep_panels
from nce_jax.plots._sweeps import sweep_lines
from nce_jax.plots._telescope import telescope_stages
from nce_jax.plots._training import training_history

__all__ = [
    "bootstrap_histogram",
    "calibration_curve",
    "energy_map",
    "free_energy_convergence",
    "free_energy_windows",
    "log_ratio_histogram",
    "overlap_matrix",
    "roc_curve",
    "solver_iterates",
    "sweep_lines",
    "sweep_panels",
    "telescope_stages",
    "training_history",
]
