"""Calibration of the posteriors, and the headline numbers."""

from collections.abc import Mapping

import numpy as np

LEVELS = np.linspace(0, 1, 101)


def coverage(mass: np.ndarray) -> np.ndarray:
    """Fraction of the last axis whose credible regions hold the true parameters, by level.

    The level is a new last axis.
    """
    return (mass[..., None] <= LEVELS).mean(axis=-2)


def excess_coverage(mass: np.ndarray) -> np.ndarray:
    """Mean over levels of coverage minus level.

    It is zero for calibrated posteriors and negative for too narrow ones.
    """
    return (coverage(mass) - LEVELS).mean(axis=-1)


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measures of every loss at the largest budget, means over seeds and observations."""
    numbers = {"exact_excess_coverage": excess_coverage(arrays["exact_mass"])}
    for index, name in enumerate(map(str, arrays["methods"])):
        label = name.lower().replace("-", "_").replace(", ", "_")
        numbers[f"{label}_accuracy"] = arrays["accuracy"][index, -1].mean()
        numbers[f"{label}_excess_coverage"] = excess_coverage(arrays["mass"][index, -1]).mean()
        numbers[f"{label}_log_normalizer"] = np.abs(arrays["log_normalizer"][index, -1]).mean()
    return numbers
