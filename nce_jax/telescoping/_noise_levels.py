"""Noise levels from the stages' overlaps: stages with a gap are cut, then all are spaced evenly.

Cuts are made in the coordinate t = log(a / sqrt(1 - a^2)), half the log ratio of noise variance to
signal variance. In this coordinate few rounds suffice both for bridges that move over many scales
(narrow data in wide noise) and for bridges that shift.
"""

import functools
import math
from typing import Any

import numpy as np

from nce_jax._checks import as_real
from nce_jax._levels import NumbersPerStage, check_noise_levels
from nce_jax._options import check_fraction

MIN_OVERLAP = 0.4
"""Unit Gaussians at a distance of 2.15 have this overlap. More stages do not improve on it, as
`refine_noise_levels` explains."""


class ScheduleError(ValueError):
    """No noise levels were found that bridge data and noise with at most `max_stages` stages."""


def refine_noise_levels(
    noise_levels: NumbersPerStage, overlap: NumbersPerStage, *, min_overlap: float = MIN_OVERLAP
) -> np.ndarray:
    r"""Cuts every stage whose overlap is below a threshold in two.

    The default threshold of 0.4 balances cost and variance. With independent samples for every
    stage, Bennett's variance of F is :math:`\frac{2}{n} \sum_k (1 / O_k - 1)`. For unit Gaussians
    at a small distance :math:`\delta`, :math:`1 / O - 1 \to \delta^2 / 4`, so that at a fixed total
    number of samples finer stages gain nothing once :math:`\delta` is small: the variance is 22 %
    above its limit at O = 0.45 (:math:`\delta = 2`) and 3.4 times the limit at O = 0.07
    (:math:`\delta = 4`). Bridges share their samples, so that the errors of the stages add
    coherently, and the variance has a limit as K grows. For unit Gaussians at distances from 8 to
    64 it is reached to a few per cent at O = 0.45, whereas the cost is proportional to K. The
    product of cost and variance is smallest, and flat, at O between 0.2 and 0.3; 0.4 is on the side
    of that optimum that is safe from gaps.

    Args:
      noise_levels: a_0 = 0 < a_1 < ... < a_K = 1, from data to noise.
      overlap: overlap of every stage, (K,); NaN counts as no overlap.
      min_overlap: the threshold, between 0 and 1.

    Returns:
      The new noise levels, float64; the same ones if no stage is below the threshold.

    Raises:
      ValueError: not one overlap per stage, or a threshold outside (0, 1).

    Examples:
      >>> from nce_jax import telescoping
      >>> telescoping.refine_noise_levels([0.0, 0.6, 1.0], [0.1, 0.5]).round(4).tolist()
      [0.0, 0.3511, 0.6, 1.0]

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976 (the
        variance).
    """
    levels, overlap = _as_arrays(noise_levels, overlap, min_overlap)
    is_gap = ~(overlap >= min_overlap)
    cuts = [_cut(levels, int(stage)) for stage in np.flatnonzero(is_gap)]
    return np.unique(np.concatenate([levels, cuts]))


def even_noise_levels(
    noise_levels: NumbersPerStage, overlap: NumbersPerStage, *, min_overlap: float = MIN_OVERLAP
) -> np.ndarray:
    """Spaces the noise levels evenly, with as few stages as have the overlap of the threshold.

    The length of a stage is the distance of two unit Gaussians with the same overlap. Lengths add
    up along the bridge (thermodynamic length), so that K = ceil(total length / length at the
    threshold).

    Args:
      noise_levels: a_0 = 0 < a_1 < ... < a_K = 1, from data to noise; all stages must overlap.
      overlap: overlap of every stage, (K,).
      min_overlap: the threshold, between 0 and 1.

    Returns:
      The new noise levels, float64.

    Raises:
      ValueError: not one overlap per stage, or a threshold outside (0, 1).

    Examples:
      >>> from nce_jax import telescoping
      >>> levels = telescoping.even_noise_levels([0.0, 0.1, 0.2, 0.3, 1.0], [0.9, 0.9, 0.9, 0.5])
      >>> levels.round(2).tolist()
      [0.0, 0.29, 1.0]

    References:
      Shenfeld, Xu, Eastwood, Dror and Shaw, Minimizing thermodynamic length to select intermediate
        states for free-energy calculations and replica-exchange simulations, 2009.
    """
    levels, overlap = _as_arrays(noise_levels, overlap, min_overlap)
    if not np.isfinite(overlap).all():
        raise ValueError(f"overlap: expected finite numbers, got {overlap.tolist()}")
    lengths = np.concatenate([[0], np.cumsum(_length(overlap))])
    num_stages = max(math.ceil(lengths[-1] / _length(min_overlap) - 1e-6), 1)
    inner = [
        _level_at_length(levels, lengths, lengths[-1] * step / num_stages)
        for step in range(1, num_stages)
    ]
    return np.array([0.0, *inner, 1.0])


def _as_arrays(levels: Any, overlap: Any, min_overlap: float) -> tuple[np.ndarray, np.ndarray]:
    check_noise_levels(levels)
    overlap = np.asarray(as_real("overlap", overlap, "one number per stage"), np.float64)
    levels = np.asarray(levels, np.float64)
    if overlap.shape != (levels.size - 1,):
        raise ValueError(
            f"overlap: expected one number per stage, ({levels.size - 1},), got shape"
            f" {overlap.shape}"
        )
    check_fraction("min_overlap", min_overlap)
    return levels, overlap


def _coordinate(a: Any) -> Any:
    return np.log(a) - 0.5 * np.log((1 - a) * (1 + a))


def _level(t: Any) -> Any:
    """The inverse of `_coordinate`."""
    return np.exp(-0.5 * np.logaddexp(0, -2 * t))


def _cut(levels: np.ndarray, stage: int) -> float:
    """A level inside a stage, half-way in t.

    Where one end is infinite in t, the cut lies beyond the other end, by twice the length of the
    neighboring stage.
    """
    inner = _coordinate(levels[1:-1])
    if inner.size == 0:
        return math.sqrt(0.5)
    if 0 < stage < inner.size:
        return float(_level((inner[stage - 1] + inner[stage]) / 2))
    is_first = stage == 0
    outer, neighbor = (inner[0], inner[1:2]) if is_first else (inner[-1], inner[-2:-1])
    step = 2 * abs(outer - neighbor[0]) if neighbor.size else math.log(2)
    return float(_level(outer - step if is_first else outer + step))


def _level_at_length(levels: np.ndarray, lengths: np.ndarray, target: float) -> float:
    """The level at which the length from the data is `target`.

    Within a stage the length is taken to be proportional to t, or to the angle arcsin(a) where one
    end of the stage is infinite in t.
    """
    stage = min(int(np.searchsorted(lengths, target, side="right")) - 1, levels.size - 2)
    fraction = (target - lengths[stage]) / (lengths[stage + 1] - lengths[stage])
    ends = levels[stage : stage + 2]
    if ends[0] > 0 and ends[1] < 1:
        first, last = _coordinate(ends[0]), _coordinate(ends[1])
        return float(_level((1 - fraction) * first + fraction * last))
    angles = np.arcsin(ends)
    return float(np.sin((1 - fraction) * angles[0] + fraction * angles[1]))


def _length(overlap: Any) -> Any:
    """The distance of two unit Gaussians with this overlap."""
    distances, overlaps = _gaussian_overlaps()
    return np.interp(-np.asarray(overlap), -overlaps, distances)


@functools.cache
def _gaussian_overlaps() -> tuple[np.ndarray, np.ndarray]:
    r"""Distances from 0 to 10, and the overlap of unit Gaussians at each of them.

    .. math::
        O(d) = 2 \int \frac{p\, q}{p + q}
          = e^{-d^2 / 8} \int \frac{\varphi(z)}{\cosh(d z / 2)}\, dz
    """
    distances, z = np.linspace(0, 10, 201), np.linspace(-9, 9, 2001)
    weights = np.exp(-0.5 * z**2)
    integrals = (weights / np.cosh(distances[:, None] * z / 2)).sum(1) / weights.sum()
    return distances, np.exp(-(distances**2) / 8) * integrals
