"""Final values, the updates at which critics reach the end of the run without one, and ratios."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from experiments.common.crossing import first_reached

SHOWN = ("sliced", "mmd", "good", "modes", "mode_kl", "spread")
"""Measures in the order of the tables."""
REACHED = ("sliced", "mmd", "good")
"""Measures by which it is asked when a run reaches where another ends."""
NUM_LAST = 4
"""Number of last checkpoints whose mean is the end of a run: each has its own draws."""
NUM_SMOOTHED = 3
"""Number of successive checkpoints of which a mean must have reached the end of another run."""


class Ratio(NamedTuple):
    """A ratio of numbers of updates: the geometric mean over seeds, with an interval of 95 %.

    Attributes:
      mean: of runs that both reach the goal; a run that does not counts with its last update.
      low: end of the interval, by Student's t on logarithms paired by seed.
      high: the other end.
      num_missed: number of seeds of the first run that never reach the goal.
    """

    mean: float
    low: float
    high: float
    num_missed: int


def final(arrays: Mapping[str, Any], measure: str) -> np.ndarray:
    """The mean of the last checkpoints, (method, seed)."""
    return arrays[measure][..., -NUM_LAST:].mean(axis=-1)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, the last axis, and its standard error."""
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def interval(difference: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds with an interval of 95 %, by Student's t."""
    mean, error = mean_and_error(difference)
    reach = stats.t.ppf(0.975, len(difference) - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


def paired(
    arrays: Mapping[str, Any], measure: str, first: str, second: str
) -> tuple[float, float, float]:
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
    arrays: Mapping[str, Any], measure: str, first: str, second: str, goal_of: str = "none"
) -> Ratio:
    """Updates of one method by those of a second, until each is where a third one ends."""
    logs = log_ratios(arrays, measure, first, second, goal_of)
    missed = np.isinf(reached(arrays, measure, first, goal_of)).sum()
    return Ratio(*map(float, np.exp(interval(logs))), int(missed))


def log_ratios(
    arrays: Mapping[str, Any], measure: str, first: str, second: str, goal_of: str = "none"
) -> np.ndarray:
    """Logarithms of `ratio`, (seed,); a run that misses the goal counts with its last update."""
    last = float(arrays["updates"][-1])
    updates = [reached(arrays, measure, name, goal_of) for name in (first, second)]
    return np.subtract(*(np.log(np.minimum(of_run, last)) for of_run in updates))


def pooled(arrays: Mapping[str, Any], measure: str) -> dict[str, tuple[float, float, float]]:
    """Geometric means over seeds and critics of ratios of updates, with intervals over seeds.

    Of all critics to the run without one, and of M = 50 to M = 1 of the same treatment.
    """
    critics = [name for name in map(str, arrays["methods"]) if name != "none"]
    pairs = {
        "of_all_critics": [(name, "none") for name in critics],
        "m_50_to_m_1": [
            pair
            for pair in comparisons(arrays)
            if pair[0].startswith("M = 50") and pair[1] == pair[0].replace("M = 50", "M = 1")
        ],
    }
    found = {
        name: np.mean([log_ratios(arrays, measure, *pair) for pair in of_name], axis=0)
        for name, of_name in pairs.items()
        if of_name
    }
    return {name: tuple(map(float, np.exp(interval(logs)))) for name, logs in found.items()}


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
                numbers[key] = ratio(arrays, name, method, "none").mean
    for measure in REACHED:
        for name, (mean, _, _) in pooled(arrays, measure).items():
            numbers[f"updates_by_{measure}_{name}"] = mean
    return numbers


def slug(method: str) -> str:
    """A method's name as a part of a number's name."""
    letters = "".join(letter if letter.isalnum() else " " for letter in method)
    return "_".join(letters.lower().split())


def _row(arrays: Mapping[str, Any], method: str) -> int:
    return list(map(str, arrays["methods"])).index(method)
