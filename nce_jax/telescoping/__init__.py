"""Telescoping: a log ratio across a gap as a sum over K stages, each between bridges that overlap.

Bridges x_k = sqrt(1 - a_k^2) x + a_k y couple a data and a noise sample for every k. The stages'
log-ratio arrays have shape (K, n): a batch, for every loss, solver and diagnostic of this library.
`nce_jax.fit_telescope` does it all in one call."""

from nce_jax.telescoping._bridges import bridges as bridges
from nce_jax.telescoping._bridges import separate as separate
from nce_jax.telescoping._bridges import shared_body as shared_body
from nce_jax.telescoping._bridges import stage_log_ratios as stage_log_ratios
from nce_jax.telescoping._bridges import telescoped as telescoped
from nce_jax.telescoping._errors import MeanLogRatio as MeanLogRatio
from nce_jax.telescoping._errors import StageDiagnostics as StageDiagnostics
from nce_jax.telescoping._errors import joint_standard_error as joint_standard_error
from nce_jax.telescoping._errors import mean_log_ratio as mean_log_ratio
from nce_jax.telescoping._errors import stage_diagnostics as stage_diagnostics
from nce_jax.telescoping._schedule import even_schedule as even_schedule
from nce_jax.telescoping._schedule import refine_schedule as refine_schedule

__all__ = [
    "MeanLogRatio",
    "StageDiagnostics",
    "bridges",
    "even_schedule",
    "joint_standard_error",
    "mean_log_ratio",
    "refine_schedule",
    "separate",
    "shared_body",
    "stage_diagnostics",
    "stage_log_ratios",
    "telescoped",
]
