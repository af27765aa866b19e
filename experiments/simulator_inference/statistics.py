"""Calibration from the masses, and the headline numbers."""

from collections.abc import Mapping

import numpy as np

LEVELS = np.linspace(0, 1, 101)


def coverage(mass: np.ndarray) -> np.ndarray:
    """Share of the last axis whose credible region of a level holds the true parameters, by level
    on a new last axis.
    """
    return (mass[..., None] <= LEVELS).mean(axis=-2)


def excess_coverage(mass: np.ndarray) -> np.ndarray:
    """Mean over levels of coverage less level: zero where calibrated, negative where posteriors are
    too narrow.
    """
    return (coverage(mass) - LEVELS).mean(axis=-1)


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of every loss at the largest budget, means over seeds and observations."""
    found = {"exact_excess_coverage": excess_coverage(arrays["exact_mass"])}
    for index, name in enumerate(map(str, arrays["methods"])):
        short = name.lower().replace("-", "_").replace(", ", "_")
        found[f"{short}_accuracy"] = arrays["accuracy"][index, -1].mean()
        found[f"{short}_excess_coverage"] = excess_coverage(arrays["mass"][index, -1]).mean()
        found[f"{short}_log_normalizer"] = np.abs(arrays["log_normalizer"][index, -1]).mean()
    return found
