"""Means and errors over seeds, and the headline numbers: means at the last checkpoint.

A cell is withheld as a whole if any of its seeds is withheld. Samples that missed the tail of the
weights are the ones that look good, so that a choice among seeds would favor them.
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
    """Lanes of the grid by kappa, in ascending order, from the first cell on each diagonal."""
    cells = kappas(arrays)
    order = {float(f"{kappa:.6g}"): index for index, kappa in reversed(list(np.ndenumerate(cells)))}
    return {kappa: np.asarray(arrays[f"grid_{name}"])[order[kappa]] for kappa in sorted(order)}


def diagonal_difference(arrays: Mapping[str, Any], name: str) -> float:
    """Largest difference between lanes of equal kappa and seed at the last checkpoint."""
    values = np.asarray(arrays[f"grid_{name}"])[..., -1]
    cells, largest = kappas(arrays), 0.0
    for kappa in np.unique(cells.round(9)):
        lanes = values[np.isclose(cells, kappa)]
        largest = max(largest, float(np.ptp(lanes, axis=0).max()))
    return largest


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Numbers for `make check`; withheld ones and kappas that a preset lacks are left out."""
    losses, gains = (by_kappa(arrays, name) for name in ("test_loss", "gain"))
    named = {
        "gaussian_log_likelihood": np.mean(arrays["test_log_noise"]),
        "diagonal_difference_of_losses": diagonal_difference(arrays, "test_loss"),
        "withheld_lanes_bounded": _num_withheld(arrays["grid_gain"]),
        "withheld_lanes_unbounded": _num_withheld(arrays["unbounded_gain"]),
    }
    named |= {f"loss_kappa_{kappa:g}": lanes[:, -1].mean() for kappa, lanes in losses.items()}
    named |= {f"gain_kappa_{kappa:g}": lanes[:, -1].mean() for kappa, lanes in gains.items()}
    named |= _differences(arrays, losses, gains)
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def _differences(arrays: Mapping[str, Any], losses: Mapping, gains: Mapping) -> dict[str, float]:
    """Differences paired by seed: joint minus solved, and more noise samples minus one.

    The first are at the grid's corners, and the second have ten noise samples per image.
    """
    named = {}
    for index, corner in enumerate(arrays["corners"]):
        kappa = float(f"{np.prod(corner, dtype=np.float64):.6g}")
        named[f"loss_joint_minus_solved_kappa_{kappa:g}"] = _last_mean(
            arrays["joint_test_loss"][index] - losses[kappa]
        )
    for index, kappa in enumerate(arrays["study_kappas"]):
        if float(kappa) not in gains:
            continue
        difference = arrays["study_gain"][index] - gains[float(kappa)]
        named[f"gain_more_noise_minus_one_kappa_{kappa:g}"] = _last_mean(difference)
    return named


def _last_mean(lanes: np.ndarray) -> float:
    return lanes[:, -1].mean()


def _num_withheld(gain: np.ndarray) -> int:
    return int(np.isnan(gain[..., -1]).sum())
