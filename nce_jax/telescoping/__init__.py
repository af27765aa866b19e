r"""Telescoping: a log ratio across a gap as a sum over K stages, each between bridges that overlap.

The bridges

.. math:: x_k = \sqrt{1 - a_k^2}\, x + a_k\, y

couple a data sample x with a noise sample y at the noise levels :math:`a_k`, from 0 (data) to 1
(noise). The log-ratio arrays of the stages have shape (K, n), a batch for every loss, solver and
diagnostic of this library. `nce_jax.fit_telescope` searches for the noise levels, trains all stages
and computes the errors in one call.
"""

from nce_jax._bridges import (
    bridge_log_ratios,
    bridges,
    separate,
    shared_body,
    stage_log_ratios,
    telescoped,
)
from nce_jax.telescoping._errors import (
    MeanLogRatio,
    StageDiagnostics,
    mean_log_ratio,
    stage_diagnostics,
)
from nce_jax.telescoping._fit.fit import fit_telescope
from nce_jax.telescoping._fit.result import Telescope
from nce_jax.telescoping._fit.stage_model import SharedBody
from nce_jax.telescoping._joint_error import joint_standard_error
from nce_jax.telescoping._joint_log_partitions import JointLogPartitions, joint_log_partitions
from nce_jax.telescoping._noise_levels import ScheduleError, even_noise_levels, refine_noise_levels

__all__ = [
    "JointLogPartitions",
    "MeanLogRatio",
    "ScheduleError",
    "SharedBody",
    "StageDiagnostics",
    "Telescope",
    "bridge_log_ratios",
    "bridges",
    "even_noise_levels",
    "fit_telescope",
    "joint_log_partitions",
    "joint_standard_error",
    "mean_log_ratio",
    "refine_noise_levels",
    "separate",
    "shared_body",
    "stage_diagnostics",
    "stage_log_ratios",
    "telescoped",
]
