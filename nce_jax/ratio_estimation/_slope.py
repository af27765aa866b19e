"""Whether a log ratio is too timid or too bold: its calibration slope on held-out samples."""

from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from nce_jax.ratio_estimation._grouped import side_mean, standard_error


class CalibrationSlope(NamedTuple):
    """By what factor the log ratio should be scaled, to first order, on held-out samples.

    Attributes:
      slope: the factor after one Newton step from 1, with F fitted along: above 1 the predicted
        probabilities are too timid, as before the end of a training; below 1 they are too bold, as
        of a model that overfits. NaN where no sample is near the boundary, so that none can be
        taken.
      gain: by how much that lowers the NCE loss, in nats, to second order.
      score: the derivative of the loss that drives it, in standard errors: a test of the slope 1.
    """

    slope: float
    gain: float
    score: float


def calibration_slope(
    log_odds: tuple[ArrayLike, ArrayLike], group: np.ndarray, weights: np.ndarray | None = None
) -> CalibrationSlope:
    r"""One step of Cox's logistic recalibration (1958), from the slope 1.

    With the log odds u, the probability P of the wrong class and the curvature h = P (1 - P) of
    every sample, and t = u less its mean weighted by h, which takes the fit of F into account,

    .. math:: g = \operatorname{mean}_q[P t] - \operatorname{mean}_{data}[P t], \qquad
       h = \operatorname{mean}_q[h t^2] + \operatorname{mean}_{data}[h t^2],

    the step is -g / h and the gain g^2 / 2 h.

    Args:
      log_odds: s - F of the held-out data and noise, in nats.
      group: the group of every sample, data first; groups are independent.
      weights: of every sample, with a mean of one on each side; None for equal ones.
    """
    data, noise = (np.asarray(side, np.float64) for side in log_odds)
    u, is_data = np.concatenate([data, noise]), np.arange(len(data) + len(noise)) < len(data)
    wrong = 1 / (1 + np.exp(np.clip(np.where(is_data, u, -u), -700, 700)))
    curvature = wrong * (1 - wrong)
    total = side_mean(curvature, is_data, weights)
    if not (np.isfinite(u).all() and total > 0):
        return CalibrationSlope(np.nan, np.nan, np.nan)
    deviation = u - side_mean(curvature * u, is_data, weights) / total
    terms = np.where(is_data, -1, 1) * wrong * deviation
    score, slope = (
        side_mean(terms, is_data, weights),
        side_mean(curvature * deviation**2, is_data, weights),
    )
    error = standard_error(terms, is_data, group, weights)
    if not (slope > 0 and error > 0):  # a constant ratio has no slope
        return CalibrationSlope(1.0, 0.0, 0.0)
    return CalibrationSlope(1 - score / slope, score**2 / (2 * slope), score / error)
