"""Density ratios from samples: one call fits log p_data / p_noise and assesses it on held-out data.

`fit_log_ratio` is also available as `nce_jax.fit_log_ratio`. Where the two sets are too far apart
for one ratio, `nce_jax.fit_telescope` takes the same first arguments; the results of both are a
`RatioEstimate`. `mutual_information`, also `nce_jax.mutual_information`, takes pairs (x, y).
"""

from nce_jax._slope import CalibrationSlope
from nce_jax._types import RatioEstimate
from nce_jax.ratio_estimation._assessment import Calibration, RocCurve
from nce_jax.ratio_estimation._fit import fit_log_ratio
from nce_jax.ratio_estimation._information import MutualInformation, mutual_information
from nce_jax.ratio_estimation._result import LogRatioEstimate, UnreliableRatioWarning

__all__ = [
    "Calibration",
    "CalibrationSlope",
    "LogRatioEstimate",
    "MutualInformation",
    "RatioEstimate",
    "RocCurve",
    "UnreliableRatioWarning",
    "fit_log_ratio",
    "mutual_information",
]
