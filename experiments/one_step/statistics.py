"""Final values, the updates at which critics reach the end of the run without one, and ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.common import over_seeds
from experiments.common.over_seeds import Ratio, first_reached, interval, slug

SHOWN = ("sliced", "mmd", "good", "modes", "mode_kl", "spread")
"""Measures in the order of the tables."""
REACHED = ("sliced", "mmd", "good")
"""Measures by which it is asked when a run reaches where another ends."""
NUM_LAST = 4
"""Number of last checkpoints whose mean is the end of a run: each has its own draws."""
NUM_SMOOTHED = 3
"""Number of successive checkpoints of which a mean must have reached the end of another run."""


def final(arrays: Mapping[str, Any], measure: str) -> np.ndarray:
    """The mean of the last checkpoints, (method, seed)."""
    return arrays[measure][..., -NUM_LAST:].mean(axis=-1)


def paired(arrays: Mapping[str, Any], measure: str, first: str, second: str) -> np.ndarray:
    """The difference of the ends of two methods, paired by seed, with an interval."""
    values = final(arrays, measure)
    return interval(values[_row(arrays, first)] - values[_row(arrays, second)])


def first_near(updates: np.ndarray, curve: np.ndarray, goal: float) -> float:
    """The update at which a curve, smoothed over `NUM_SMOOTHED` checkpoints, falls to the goal."""
    window = np.ones(NUM_SMOOTHED) / NUM_SMOOTHED
    smooth, at = np.convolve(curve, window, "valid"), np.convolve(updates, window, "valid")
    return first_reached(at, smooth, goal)


def reached(arrays: Mapping[str, Any], measure: str, method: str, goal_of: str) -> np.ndarray:
    """The updates, (seed,), at which a method first is where another one ends, seed by seed."""
    sign = -1.0 if measure == "good" else 1.0
    goals = sign * final(arrays, measure)[_row(arrays, goal_of)]
    curves = sign * arrays[measure][_row(arrays, method)]
    return np.array(
        [
            first_near(arrays["updates"], curve, goal)
            for curve, goal in zip(curves, goals, strict=True)
        ]
    )


def ratio(
    arrays: Mapping[str, Any], measure: str, pairs: Sequence[tuple[str, str]], goal_of: str = "none"
) -> Ratio:
    """Updates of the first of each pair by those of the second, to where one method ends.

    The mean of the logarithms over pairs is one number of a seed.
    """
    needed = [
        np.array([reached(arrays, measure, name, goal_of) for name in names])
        for names in zip(*pairs, strict=True)
    ]
    return over_seeds.ratio(*needed, float(arrays["updates"][-1]))


def pooled(arrays: Mapping[str, Any], measure: str) -> dict[str, Ratio]:
    """Ratios of all critics to the run without one, and of M = 50 to M = 1, treatments alike."""
    critics = [name for name in map(str, arrays["methods"]) if name != "none"]
    pairs = {
        "of_all_critics": [(name, "none") for name in critics],
        "m_50_to_m_1": [
            pair
            for pair in comparisons(arrays)
            if pair[0].startswith("M = 50") and pair[1] == pair[0].replace("M = 50", "M = 1")
        ],
    }
    return {name: ratio(arrays, measure, of_name) for name, of_name in pairs.items() if of_name}


def comparisons(arrays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of critics that differ in one thing: M, regularizer, treatment of F, or rule."""
    methods = list(map(str, arrays["methods"]))
    ends = ("F joint", "F solved", "F joint, regularized", "F solved, regularized")
    pairs = [(f"M = 50, {end}", f"M = 1, {end}") for end in ends]
    pairs += [(f"M adaptive, {end}", f"M = 1, {end}") for end in ends]
    for end in ends[:2]:
        doubled = f"M = 1, {end}, doubled"
        pairs += [(doubled, f"M = 1, {end}"), (f"M = 50, {end}", doubled)]
    for size in ("M = 1", "M = 50", "M adaptive"):
        pairs.append((f"{size}, F solved", f"{size}, F joint"))
        pairs += [(f"{size}, {end}, regularized", f"{size}, {end}") for end in ends[:2]]
    return [pair for pair in pairs if set(pair) <= set(methods)]


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Ends of all runs and ratios of updates, of each critic and of all of them together."""
    numbers = {}
    for name in ("sliced", "good"):
        for prefix in ("data", "teacher", "start"):
            numbers[f"{prefix}_{name}"] = float(arrays[f"{prefix}_{name}"].mean())
        for method, row in zip(map(str, arrays["methods"]), final(arrays, name), strict=True):
            numbers[f"{name}_{slug(method)}"] = float(row.mean())
            if method != "none":
                key = f"updates_by_{name}_{slug(method)}"
                numbers[key] = ratio(arrays, name, [(method, "none")]).mean
    for measure in REACHED:
        for name, found in pooled(arrays, measure).items():
            numbers[f"updates_by_{measure}_{name}"] = found.mean
    return numbers


def _row(arrays: Mapping[str, Any], method: str) -> int:
    return list(map(str, arrays["methods"])).index(method)
