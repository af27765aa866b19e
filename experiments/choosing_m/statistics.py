"""Ratios of mean errors: each rule to the best M of the grid in hindsight, and to M = 1."""

from collections.abc import Mapping

import numpy as np

BUDGETS = ("short", "medium", "long")
RULES = ("adaptive", "constant")


def ratios(arrays: Mapping[str, np.ndarray], rule: str, reference: str) -> np.ndarray:
    """Ratio of the mean error to that of the reference "best" or "one", (problem, budget)."""
    grid = arrays["grid"].mean(axis=2)
    base = (
        grid.min(axis=1)
        if reference == "best"
        else grid[:, list(arrays["magnifications"]).index(1)]
    )
    return arrays[rule].mean(axis=1) / base


def standard_errors(arrays: Mapping[str, np.ndarray], rule: str) -> np.ndarray:
    """Standard error of the ratio to the best M, with that M fixed, (problem, budget).

    Seeds are paired, so that errors common to both cancel.
    """
    grid, errors = arrays["grid"], arrays[rule]
    best = grid.mean(axis=2).argmin(axis=1)  # (problem, budget)
    base = np.take_along_axis(grid, best[:, None, None, :], axis=1)[:, 0]
    ratio = errors.mean(axis=1) / base.mean(axis=1)
    residuals = errors - ratio[:, None] * base
    return residuals.std(axis=1, ddof=1) / np.abs(base.mean(axis=1)) / np.sqrt(errors.shape[1])


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    numbers = {}
    for rule in RULES:
        to_best, to_one = (ratios(arrays, rule, reference) for reference in ("best", "one"))
        numbers[f"{rule}_share_within_10_percent"] = float(np.mean(to_best <= 1.1))
        numbers[f"{rule}_share_worse_than_m_1"] = float(np.mean(to_one > 1.05))
        for column, budget in enumerate(BUDGETS):
            numbers[f"{rule}_median_ratio_{budget}"] = float(np.median(to_best[:, column]))
            numbers[f"{rule}_worst_ratio_{budget}"] = float(to_best[:, column].max())
    return numbers
