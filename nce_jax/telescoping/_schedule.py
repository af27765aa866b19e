"""A schedule from the stages' own overlaps: insert where there is a gap, then space evenly.

In the coordinate t = log(a / sqrt(1 - a^2)), half the log ratio of noise to signal variance, a
bridge that moves over many scales (narrow data in wide noise) and one that shifts are both cut in
few rounds.
"""

import functools
import math
from typing import Any

import numpy as np

from nce_jax.telescoping._bridges import Numbers

MIN_OVERLAP = 0.4
"""Unit Gaussians 2.15 apart. From here on more stages do not help: see `refine_schedule`."""


def refine_schedule(
    schedule: Numbers, overlap: Numbers, *, min_overlap: float = MIN_OVERLAP
) -> np.ndarray:
    """Cuts every stage whose overlap is below a threshold in two.

    Why 0.4: with independent samples of every stage Bennett's variance is sum_k 2 (1 / O_k - 1) /
    n. A total distance cut into stages delta apart has 1 / O - 1 -> delta^2 / 4, so that at a fixed
    total of samples finer stages gain nothing once delta is small: at O = 0.45 (unit Gaussians 2
    apart) the variance is 22 % above its limit, at 0.07 (4 apart) 3.4 times it. Bridges share their
    samples, so that their errors add coherently and the variance has a limit as K grows; for unit
    Gaussians 8 to 64 apart it is reached to a few per cent at O = 0.45, while every stage costs as
    much as the one before: cost times variance is smallest at O = 0.2 to 0.3, and flat. 0.4 is the
    side of the optimum away from the gap.

    Args:
      schedule: a_0 = 0 < a_1 < ... < a_K = 1.
      overlap: of the stages, (K,); what is not a number counts as none.
      min_overlap: the threshold, between 0 and 1.

    Returns:
      The new schedule, float64; the same where no stage is below the threshold.

    Raises:
      ValueError: as many overlaps as stages are expected, and a threshold between 0 and 1.

    Examples:
      >>> from nce_jax import telescoping
      >>> telescoping.refine_schedule([0.0, 0.6, 1.0], [0.1, 0.5]).round(4).tolist()
      [0.0, 0.3511, 0.6, 1.0]

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976 (the
        variance).
    """
    schedule, overlap = _as_arrays(schedule, overlap, min_overlap)
    is_gap = ~(overlap >= min_overlap)
    cuts = [_cut(schedule, int(stage)) for stage in np.flatnonzero(is_gap)]
    return np.unique(np.concatenate([schedule, cuts]))


def even_schedule(
    schedule: Numbers, overlap: Numbers, *, min_overlap: float = MIN_OVERLAP
) -> np.ndarray:
    """The fewest stages of equal length whose overlap is the threshold.

    The length of a stage is the distance of two unit Gaussians with its overlap; lengths add along
    the bridge (thermodynamic length). K = ceil(total length / length at the threshold).

    Args:
      schedule: one whose stages all overlap.
      overlap: of the stages, (K,).
      min_overlap: the threshold, between 0 and 1.

    Returns:
      The new schedule, float64.

    Raises:
      ValueError: as many overlaps as stages are expected, and a threshold between 0 and 1.

    Examples:
      >>> from nce_jax import telescoping
      >>> telescoping.even_schedule([0.0, 0.1, 0.2, 0.3, 1.0], [0.9, 0.9, 0.9, 0.5]).round(
      ...     2
      ... ).tolist()
      [0.0, 0.29, 1.0]

    References:
      Shenfeld, Xu, Eastwood, Dror and Shaw, Minimizing thermodynamic length to select intermediate
        states for free-energy
      calculations and replica-exchange simulations, 2009.
    """
    schedule, overlap = _as_arrays(schedule, overlap, min_overlap)
    lengths = np.concatenate([[0], np.cumsum(_length(overlap))])
    num_stages = max(math.ceil(lengths[-1] / _length(min_overlap) - 1e-6), 1)
    inner = [
        _at(schedule, lengths, lengths[-1] * step / num_stages) for step in range(1, num_stages)
    ]
    return np.array([0.0, *inner, 1.0])


def _as_arrays(schedule: Any, overlap: Any, min_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    schedule, overlap = np.asarray(schedule, np.float64), np.asarray(overlap, np.float64)
    if overlap.shape != (schedule.size - 1,):
        raise ValueError(
            f"overlap: expected one number per stage, ({schedule.size - 1},), got shape"
            f" {overlap.shape}"
        )
    if not 0 < min_overlap < 1:
        raise ValueError(f"min_overlap: expected a number between 0 and 1, got {min_overlap}")
    return schedule, overlap


def _coordinate(a: Any) -> Any:
    return np.log(a) - 0.5 * np.log((1 - a) * (1 + a))


def _level(t: Any) -> Any:
    return np.exp(-0.5 * np.logaddexp(0, -2 * t))


def _cut(schedule: np.ndarray, stage: int) -> float:
    """A point inside the stage: half-way in t, and outwards by twice the step before where one end
    is infinite.
    """
    inner = _coordinate(schedule[1:-1])
    if inner.size == 0:
        return math.sqrt(0.5)
    if 0 < stage < inner.size:
        return float(_level((inner[stage - 1] + inner[stage]) / 2))
    is_first = stage == 0
    outer, neighbor = (inner[0], inner[1:2]) if is_first else (inner[-1], inner[-2:-1])
    step = 2 * abs(outer - neighbor[0]) if neighbor.size else math.log(2)
    return float(_level(outer - step if is_first else outer + step))


def _at(schedule: np.ndarray, lengths: np.ndarray, target: float) -> float:
    """The level where the length is `target`: even in t within a stage, in the angle where one end
    of it is infinite.
    """
    stage = min(int(np.searchsorted(lengths, target, side="right")) - 1, schedule.size - 2)
    share = (target - lengths[stage]) / (lengths[stage + 1] - lengths[stage])
    ends = schedule[stage : stage + 2]
    if ends[0] > 0 and ends[1] < 1:
        return float(_level((1 - share) * _coordinate(ends[0]) + share * _coordinate(ends[1])))
    angles = np.arcsin(ends)
    return float(np.sin((1 - share) * angles[0] + share * angles[1]))


def _length(overlap: Any) -> Any:
    distances, overlaps = _gaussian_overlaps()
    return np.interp(-np.asarray(overlap), -overlaps, distances)


@functools.cache
def _gaussian_overlaps() -> tuple[np.ndarray, np.ndarray]:
    """Overlap 2 int p q / (p + q) of unit Gaussians at distances from 0 to 10: int phi(z)
    e^(-d^2/8) / cosh(d z / 2) dz.
    """
    distances, z = np.linspace(0, 10, 201), np.linspace(-9, 9, 2001)
    weights = np.exp(-0.5 * z**2)
    integrals = (weights / np.cosh(distances[:, None] * z / 2)).sum(1) / weights.sum()
    return distances, np.exp(-(distances**2) / 8) * integrals
