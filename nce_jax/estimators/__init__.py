"""Estimators: one call from samples to a log ratio and what it is worth."""

from nce_jax.estimators._log_ratio import Calibration as Calibration
from nce_jax.estimators._log_ratio import LogRatioEstimate as LogRatioEstimate
from nce_jax.estimators._log_ratio import RocCurve as RocCurve
from nce_jax.estimators._log_ratio import fit_log_ratio as fit_log_ratio
from nce_jax.estimators._telescope.fit import fit_telescope as fit_telescope
from nce_jax.estimators._telescope.model import SharedBody as SharedBody
from nce_jax.estimators._telescope.result import Telescope as Telescope

__all__ = [
    "Calibration",
    "LogRatioEstimate",
    "RocCurve",
    "SharedBody",
    "Telescope",
    "fit_log_ratio",
    "fit_telescope",
]
