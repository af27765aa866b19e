"""Variances of means over groups of samples that are independent of one another."""

from typing import Any

import numpy as np


def grouped_variance(influence: np.ndarray, is_data: np.ndarray, group: np.ndarray) -> float:
    """The sum of the squares of the groups' total influences, with the usual correction.

    The correction is G / (G - 1) for the G groups of data alone, of noise alone, and of both: one
    mean is fitted to each set. A single group gives infinity.

    Args:
      influence: the influence of every sample on the estimate, (samples,); it sums to zero on each
        of the two sides.
      is_data: which samples are data.
      group: number of every sample's group.
    """
    _, numbers = np.unique(group, return_inverse=True)
    totals = np.bincount(numbers, weights=influence)
    of_data, of_noise = (np.bincount(numbers, weights=side) > 0 for side in (is_data, ~is_data))
    if min(of_data.sum(), of_noise.sum()) < 2:
        return np.inf
    variance = 0.0
    for members in (of_data & ~of_noise, of_noise & ~of_data, of_data & of_noise):
        count = max(int(members.sum()), 1)
        variance += float((totals[members] ** 2).sum()) * count / max(count - 1, 1)
    return variance


def side_mean(values: np.ndarray, is_data: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """The mean over the data plus the mean over the noise, (samples, ...) -> (...)."""
    if weights is None:
        weights = np.ones(len(values))
    of_data, of_noise = (
        np.average(values[side], axis=0, weights=weights[side]) for side in (is_data, ~is_data)
    )
    return of_data + of_noise


def standard_error(
    values: np.ndarray,
    is_data: np.ndarray,
    group: np.ndarray,
    weights: np.ndarray | None = None,
    inefficiency: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Standard error of `side_mean` of (samples,), for groups that are independent.

    Without groups it is the usual error of a sum of two (weighted) means. `inefficiency` is that of
    the data and of the noise: the factor of the variance of a mean of correlated samples.
    """
    if weights is None:
        weights = np.ones(len(values))
    influence = np.empty(len(values))
    for side, g in zip((is_data, ~is_data), inefficiency, strict=True):
        mean = np.average(values[side], weights=weights[side])
        influence[side] = weights[side] * (values[side] - mean) / weights[side].sum()
        influence[side] *= np.sqrt(g)
    return float(np.sqrt(grouped_variance(influence, is_data, group)))
