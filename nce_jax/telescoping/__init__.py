"""Telescoping: a log ratio across a gap as a sum over K stages, each between bridges that overlap.

Bridges x_k = sqrt(1 - a_k^2) x + a_k y couple a data and a noise sample for every k. The stages'
log-ratio arrays have shape (K, n): a batch, for every loss, solver and diagnostic of this library.
`nce_jax.fit_telescope` does it all in one call.
"""

from nce_jax.telescoping._bridges import (
    bridges,
    separate,
    shared_body,
    stage_log_ratios,
    telescoped,
)
from nce_jax.telescoping._errors import (
    MeanLogRatio,
    StageDiagnostics,
    joint_standard_error,
    mean_log_ratio,
    stage_diagnostics,
)
from nce_jax.telescoping._fit.fit import fit_telescope
from nce_jax.telescoping._fit.model import SharedBody
from nce_jax.telescoping._fit.result import Telescope
from nce_jax.telescoping._schedule import even_schedule, refine_schedule

__all__ = [
    "MeanLogRatio",
    "SharedBody",
    "StageDiagnostics",
    "Telescope",
    "bridges",
    "even_schedule",
    "fit_telescope",
    "joint_standard_error",
    "mean_log_ratio",
    "refine_schedule",
    "separate",
    "shared_body",
    "stage_diagnostics",
    "stage_log_ratios",
    "telescoped",
]
