"""Ranks and means, the choice of a rule, and the headline numbers."""

import numpy as np

from experiments.anomaly.detectors import area
from experiments.anomaly.scores import RULES, combined

Cell = dict[str, np.ndarray]


def ranks(areas: np.ndarray) -> np.ndarray:
    """Rank of every method on every table, 1 for the largest area; (table, method).

    Equal methods share the mean of their ranks.
    """
    means = areas.mean(axis=1)
    above = means[:, None, :] > means[:, :, None]
    equal = means[:, None, :] == means[:, :, None]
    return above.sum(axis=2) + (equal.sum(axis=2) + 1) / 2


def cell_areas(cell: Cell, rule: str) -> np.ndarray:
    """Areas of a cell by prior, with the two terms combined by a rule."""
    both = combined(
        rule,
        cell["reconstruction_test"],
        cell["prior_test"],
        (cell["reconstruction_calibration"], cell["prior_calibration"]),
    )
    return np.array([area(scores, cell["labels"]) for scores in both])


def rule_areas(cells: list[Cell]) -> np.ndarray:
    """Areas by validation cell, rule and prior."""
    return np.array([[cell_areas(cell, rule) for rule in RULES] for cell in cells])


def best_rule(areas: np.ndarray) -> str:
    """The rule with the largest mean area over validation cells and priors."""
    return RULES[int(areas.mean(axis=(0, 2)).argmax())]


def latent_areas(cells: list[Cell], rule: str) -> dict[str, np.ndarray]:
    """Areas of the reconstruction (cell,), of the energy and of both (cell, prior)."""
    return {
        "reconstruction": np.array(
            [area(cell["reconstruction_test"], cell["labels"]) for cell in cells]
        ),
        "energy": np.array(
            [[area(scores, cell["labels"]) for scores in cell["prior_test"]] for cell in cells]
        ),
        "both": np.array([cell_areas(cell, rule) for cell in cells]),
    }


def headline(arrays) -> dict[str, float]:
    """Mean area and mean rank of the methods on tables; areas by digit."""
    numbers: dict[str, float] = {}
    if len(arrays["tables"]):
        means, places = arrays["table_areas"].mean(axis=(0, 1)), ranks(arrays["table_areas"])
        for index, method in enumerate(arrays["table_methods"]):
            numbers[f"tables_area_{_slug(method)}"] = means[index]
            numbers[f"tables_rank_{_slug(method)}"] = places[:, index].mean()
    simple = arrays["simple_areas"][arrays["digits"]].mean(axis=1)
    for digit, row in zip(arrays["digits"], simple, strict=True):
        for score, value in zip(arrays["simple_scores"], row, strict=True):
            numbers[f"digit_{digit}_{_slug(score)}"] = value
    for index, digit in enumerate(arrays["digits"]):
        numbers[f"digit_{digit}_reconstruction"] = arrays["reconstruction"][index].mean()
        means = arrays["both"][index].mean(axis=0)
        for prior, value in zip(arrays["priors"], means, strict=True):
            numbers[f"digit_{digit}_both_{_slug(prior)}"] = value
    # A cell that the run has left out has no number.
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _slug(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in str(name).lower()).split()
    return "_".join(words)
