"""Whether a log ratio is too timid, too bold, or of the wrong unit: its calibration slope."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from nce_jax._grouped import side_mean, standard_error


class CalibrationSlope(NamedTuple):
    """By what factor the log ratio should be scaled, on held-out samples.

    Attributes:
      slope: the factor that minimizes the NCE loss at kappa = 1, with F fitted along: above 1 the
        predicted probabilities are too timid, as before the end of a training; below 1 they are
        too bold, as of a model that overfits. Very large where the ratio separates the two sets.
        NaN where a log ratio is infinite or none is near F.
      gain: by how much that lowers the loss, in nats.
      score: the derivative of the loss at the slope 1, negative, in standard errors: a test of the
        slope 1, positive where a larger one is better.
    """

    slope: float
    gain: float
    score: float


def calibration_slope(
    log_odds_data: ArrayLike,
    log_odds_noise: ArrayLike,
    group: np.ndarray,
    weights: np.ndarray | None = None,
    inefficiency: tuple[float, float] = (1.0, 1.0),
) -> CalibrationSlope:
    r"""Cox's logistic recalibration (1958): the regression of the class on the log odds u.

    With the probability P of the wrong class and the curvature h = P (1 - P) of every sample, and
    t = u less its mean weighted by h, which takes the fit of F into account, the test of the slope
    1 is of

    .. math:: \operatorname{mean}_{data}[P t] - \operatorname{mean}_q[P t] = 0.

    Args:
      log_odds_data: s - F of the held-out data, (n,), in nats.
      log_odds_noise: the same of the noise, (m,).
      group: the group of every sample, data first; groups are independent.
      weights: of every sample, with a mean of one on each side; None for equal ones.
      inefficiency: statistical inefficiency of the data and of the noise.
    """
    data, noise = (np.asarray(side, np.float64) for side in (log_odds_data, log_odds_noise))
    u, is_data = np.concatenate([data, noise]), np.arange(len(data) + len(noise)) < len(data)
    sign = np.where(is_data, 1.0, -1.0)
    wrong = _wrong(sign * u)
    curvature = wrong * (1 - wrong)
    total = side_mean(curvature, is_data, weights)
    if not (np.isfinite(u).all() and total > 0):
        return CalibrationSlope(np.nan, np.nan, np.nan)
    deviation = u - side_mean(curvature * u, is_data, weights) / total
    terms = sign * wrong * deviation
    error = standard_error(terms, is_data, group, weights, inefficiency)
    if not (np.ptp(u) > 0 and error > 0):  # a constant ratio has no slope
        return CalibrationSlope(1.0, 0.0, 0.0)
    slope, gain = _fit(u, sign, lambda values: side_mean(values, is_data, weights))
    return CalibrationSlope(slope, gain, side_mean(terms, is_data, weights) / error)


def _fit(u: np.ndarray, sign: np.ndarray, mean: Callable) -> tuple[float, float]:
    """Slope of the regression and its gain, by Newton's method with steps that are halved."""
    features = np.stack([u, np.ones_like(u)], axis=-1)

    def loss(line: np.ndarray) -> float:
        return float(mean(np.logaddexp(0, -sign * (features @ line))))

    line = np.array([1.0, 0.0])
    first = value = loss(line)
    for _ in range(100):
        wrong = _wrong(sign * (features @ line))
        gradient = mean(-(sign * wrong)[:, None] * features)
        products = features[:, :, None] * features[:, None]
        hessian = mean((wrong * (1 - wrong))[:, None, None] * products)
        step = np.linalg.lstsq(hessian, -gradient, rcond=None)[0]
        step = next((step / 2**k for k in range(30) if loss(line + step / 2**k) < value), 0 * step)
        lower = loss(line + step)
        line = line + step
        if value - lower <= 1e-10 * value:
            break
        value = lower
    return float(line[0]), first - lower


def _wrong(u: np.ndarray) -> np.ndarray:
    """The probability of the wrong class at log odds u of the right one."""
    return 1 / (1 + np.exp(np.clip(u, -700, 700)))
