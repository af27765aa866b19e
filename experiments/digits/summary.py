"""Means and errors over seeds, shared by headline numbers, table and figures. A cell is withheld
whole if any seed is: samples that missed the tail of the weights are the ones that look well, so
choosing among seeds would favor them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np


def mean_and_error(values: Any, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds with its standard error, in float64; NaN where any seed is NaN."""
    values = np.asarray(values, np.float64)
    return values.mean(axis=axis), values.std(axis=axis, ddof=1) / np.sqrt(values.shape[axis])


def kappas(arrays: Mapping[str, Any]) -> np.ndarray:
    """kappa of every cell of the grid, (magnification, noise ratio)."""
    return np.outer(arrays["magnifications"], arrays["noise_ratios"])


def by_kappa(arrays: Mapping[str, Any], name: str) -> dict[float, np.ndarray]:
    """The grid's lanes of every kappa, smallest first, from the first cell on its diagonal (the
    others repeat it).
    """
    cells = kappas(arrays)
    order = {float(f"{kappa:.6g}"): index for index, kappa in reversed(list(np.ndenumerate(cells)))}
    return {kappa: np.asarray(arrays[f"grid_{name}"])[order[kappa]] for kappa in sorted(order)}


def diagonal_difference(arrays: Mapping[str, Any], name: str) -> float:
    """The largest difference between lanes of one kappa and one seed, at the last checkpoint."""
    values = np.asarray(arrays[f"grid_{name}"])[..., -1]
    cells, largest = kappas(arrays), 0.0
    for kappa in np.unique(cells.round(9)):
        lanes = values[np.isclose(cells, kappa)]
        largest = max(largest, float(np.ptp(lanes, axis=0).max()))
    return largest
