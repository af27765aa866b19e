"""Ratios of mean errors: each method to the best fixed M in hindsight, and to M = 1."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import slug

BUDGETS = ("short", "medium", "long")
NEAR, WORSE = 1.1, 1.05
"""Within 10 % of the best M; more than 5 % worse than M = 1."""


def method_names(config: Any) -> tuple[str, ...]:
    """What chooses M, in the order of the arrays behind the fixed M."""
    sufficient = [f"sufficient, {matching:g}" for matching in config.matchings]
    return ("adaptive", *sufficient, *config.candidates)


def means(errors: np.ndarray) -> np.ndarray:
    """Mean over seeds, (problem, choice, column); inf where a run has failed."""
    return np.where(np.isfinite(errors), errors, np.inf).mean(axis=2)


def labels(arrays: Mapping[str, Any]) -> list[str]:
    """M = 1, and the methods: the choices that need no hindsight."""
    return ["M = 1", *map(str, arrays["methods"])]


def ratios(
    arrays: Mapping[str, Any], reference: str = "best", field: str = "averaged"
) -> np.ndarray:
    """Ratio of the mean error to that of "best" or "one", (problem, label, column).

    The best fixed M is chosen for every problem and column, by the mean over seeds.
    """
    mean, number = means(arrays[field]), len(arrays["magnifications"])
    one = list(arrays["magnifications"]).index(1)
    grid = mean[:, :number]
    base = grid.min(axis=1) if reference == "best" else grid[:, one]
    chosen = np.concatenate([grid[:, one, None], mean[:, number:]], axis=1)
    with np.errstate(invalid="ignore"):
        return chosen / base[:, None]


def standard_errors(arrays: Mapping[str, Any]) -> np.ndarray:
    """Standard error of the ratio to the best M, with that M fixed, (problem, label, budget).

    Seeds are paired, so that errors common to both cancel.
    """
    errors, number = arrays["averaged"], len(arrays["magnifications"])
    one = list(arrays["magnifications"]).index(1)
    best = means(errors)[:, :number].argmin(axis=1)[:, None, None]
    base = np.take_along_axis(errors[:, :number], best, axis=1)
    chosen = np.concatenate([errors[:, one, None], errors[:, number:]], axis=1)
    with np.errstate(invalid="ignore"):
        residuals = chosen - ratios(arrays)[:, :, None] * base
        spread = residuals.std(axis=2, ddof=1) / np.sqrt(errors.shape[2])
    return spread / np.abs(base.mean(axis=2))


def counts(
    arrays: Mapping[str, Any], rows: np.ndarray, field: str = "averaged"
) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs near the best M, pairs worse than M = 1, (label,), and the number of pairs."""
    to_best = ratios(arrays, "best", field)[rows]
    to_one = ratios(arrays, "one", field)[rows]
    near, worse = (to_best <= NEAR).sum(axis=(0, 2)), (to_one > WORSE).sum(axis=(0, 2))
    return near, worse, to_best.shape[0] * to_best.shape[2]


def sizes(arrays: Mapping[str, Any], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric mean and largest of the ratios to the best M, (label,) each."""
    to_best = np.maximum(ratios(arrays)[rows], np.finfo(float).tiny)
    return np.exp(np.log(to_best).mean(axis=(0, 2))), to_best.max(axis=(0, 2))


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    numbers = {}
    for group, rows in (("", ~arrays["is_further"]), ("further_", arrays["is_further"])):
        if not rows.any():
            continue
        near, worse, total = counts(arrays, rows)
        typical, _ = sizes(arrays, rows)
        for index, label in enumerate(labels(arrays)):
            name = group + slug(label)
            numbers[f"{name}_mean_ratio"] = float(typical[index])
            numbers[f"{name}_share_within_10_percent"] = float(near[index] / total)
            if label != "M = 1":
                numbers[f"{name}_share_worse_than_m_1"] = float(worse[index] / total)
    return numbers
