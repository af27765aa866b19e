"""Ranks and means, the choice of a rule, and the headline numbers."""

import numpy as np

from experiments.anomaly import contrasts
from experiments.anomaly.detectors import area
from experiments.anomaly.scores import BASES, RULES, Rule, Terms, combined, without_energy

Cell = dict[str, np.ndarray]
BLOCKS = {"reconstruction": ("reconstruction",), "any": (*BASES, "joint")}
"""Two rules are chosen, by the name of their areas in the result: the best of those that know the
reconstruction alone, which is the published form of the score, and the best of all."""


def ranks(areas: np.ndarray) -> np.ndarray:
    """Rank of every method on every table, 1 for the largest area; (table, method).

    Equal methods share the mean of their ranks.
    """
    means = areas.mean(axis=1)
    above = means[:, None, :] > means[:, :, None]
    equal = means[:, None, :] == means[:, :, None]
    return above.sum(axis=2) + (equal.sum(axis=2) + 1) / 2


def terms_of(cell: Cell) -> tuple[Terms, Terms]:
    """Terms of test and of calibration images, as `scores.combined` takes them."""
    names = {name.rpartition("_")[0] for name in cell if name.endswith("_test")}
    test, normal = ({n: cell[f"{n}_{part}"] for n in names} for part in ("test", "calibration"))
    return test, normal


def cell_areas(cell: Cell, rule: Rule) -> np.ndarray:
    """Areas of a cell by prior, with the terms combined by a rule.

    Where a rule is not defined for the last prior, which is not learned, its area is NaN.
    """
    areas = [area(scores, cell["labels"]) for scores in combined(rule, *terms_of(cell))]
    return np.array(areas + [np.nan] * (len(cell["prior_test"]) - len(areas)))


def rule_areas(cells: list[Cell]) -> np.ndarray:
    """Areas by cell, rule and prior."""
    return np.array([[cell_areas(cell, rule) for rule in RULES] for cell in cells])


def best_rule(areas: np.ndarray, bases: tuple[str, ...] = (*BASES, "joint")) -> int:
    """Place of the rule with the largest mean area over validation cells and learned priors.

    Only rules of some bases are looked at.
    """
    means = areas[..., :-1].mean(axis=(0, 2))
    allowed = np.array([rule.base in bases for rule in RULES])
    return int(np.where(allowed, means, -np.inf).argmax())


def best_setting(areas: np.ndarray) -> int:
    """Place of the setting whose best rule has the largest mean area; (setting, cell, ...)."""
    return int(areas[..., :-1].mean(axis=(1, 3)).max(axis=1).argmax())


def latent_areas(cells: list[Cell], rules: dict[str, int]) -> dict[str, np.ndarray]:
    """Areas of every energy alone, (cell, prior), and of rules without and with an energy.

    `rules` are places of rules by the name that they have in the result; "_without" is added to it
    for the areas without an energy, (cell,).
    """
    energy = [_areas(cell["prior_test"], cell["labels"]) for cell in cells]
    arrays = {"energy": np.array(energy), "scored_rule_areas": rule_areas(cells)}
    for name, place in rules.items():
        arrays[name] = arrays["scored_rule_areas"][:, place]
        arrays[f"{name}_without"] = np.array(
            [
                _areas(without_energy(RULES[place], *terms_of(cell)), cell["labels"])
                for cell in cells
            ]
        )
    return arrays


def _areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.apply_along_axis(area, -1, scores, labels)


def headline(arrays) -> dict[str, float]:
    """Mean area and mean rank of the methods on tables; areas by digit."""
    numbers: dict[str, float] = {}
    if len(arrays["tables"]):
        means, places = arrays["table_areas"].mean(axis=(0, 1)), ranks(arrays["table_areas"])
        for index, method in enumerate(arrays["table_methods"]):
            numbers[f"tables_area_{_slug(method)}"] = means[index]
            numbers[f"tables_rank_{_slug(method)}"] = places[:, index].mean()
    for digit, row in zip(arrays["simple_digits"], arrays["simple_areas"], strict=True):
        if digit in arrays["digits"]:
            for score, value in zip(arrays["simple_scores"], row.mean(axis=0), strict=True):
                numbers[f"digit_{digit}_{_slug(score)}"] = value
    for index, digit in enumerate(arrays["digits"]):
        for block in BLOCKS:
            numbers[f"digit_{digit}_{block}_without"] = arrays[f"{block}_without"][index].mean()
            means = arrays[block][index].mean(axis=0)
            for prior, value in zip(arrays["priors"], means, strict=True):
                numbers[f"digit_{digit}_{block}_{_slug(prior)}"] = value
    for name, values in contrasts.differences(arrays["energy"]).items():
        numbers[f"energy_{_slug(name)}"] = values.mean()
    for block in BLOCKS:
        for name, values in contrasts.differences(arrays[block]).items():
            numbers[f"energy_{block}_{_slug(name)}"] = values.mean()
        mean, half_width = contrasts.interval(contrasts.of_energy(arrays, block).mean(axis=0))
        numbers[f"energy_adds_{block}"] = mean
        numbers[f"energy_adds_{block}_half_width"] = half_width
    # A rule that is not defined for a prior has no number.
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def _slug(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in str(name).lower()).split()
    return "_".join(words)
