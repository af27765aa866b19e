"""Final values over seeds, paired differences between methods, and the headline numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from experiments.common.crossing import first_reached

SHOWN = ("frechet", "kernel", "class_kl", "sure")
"""Measures in the order of the tables."""
BASELINES = {"data": "training images", "teacher_many": "teacher, many steps", "teacher": "teacher"}
KINDS = ("sampler", "student")


def names(arrays: Mapping[str, Any], kind: str) -> list[str]:
    """The methods of a kind of generator."""
    return list(map(str, arrays[f"{kind}_methods"]))


def kinds(arrays: Mapping[str, Any]) -> list[str]:
    """The kinds of generators that were trained: a run may leave out samplers or students."""
    return [kind for kind in KINDS if names(arrays, kind)]


def final(arrays: Mapping[str, Any], kind: str, measure: str) -> np.ndarray:
    """The last checkpoint's values, (method, seed)."""
    return arrays[f"{kind}_{measure}"][..., -1]


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, the last axis, and its standard error."""
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def paired(
    arrays: Mapping[str, Any], kind: str, measure: str, first: str, second: str
) -> tuple[float, float, float]:
    """The difference of two methods, paired by seed: mean, low and high end (95 %, t).

    The pairs share the teacher, the critic's first weights, and all draws.
    """
    methods = names(arrays, kind)
    values = final(arrays, kind, measure)
    return interval(values[methods.index(first)] - values[methods.index(second)])


def interval(difference: np.ndarray) -> tuple[float, float, float]:
    """Mean over seeds with an interval of 95 %, by Student's t."""
    mean, error = mean_and_error(difference)
    reach = stats.t.ppf(0.975, difference.shape[-1] - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


class Ratio(NamedTuple):
    """Updates of one method by those of a second: the geometric mean, with an interval of 95 %.

    Attributes:
      mean: over seeds; a run that does not reach the goal counts with its last update.
      low: end of the interval, by Student's t on logarithms paired by seed.
      high: the other end.
      num_missed: number of seeds of the first method that never reach the goal.
    """

    mean: float
    low: float
    high: float
    num_missed: int


def ratio_of_updates(arrays: Mapping[str, Any], kind: str, first: str, second: str) -> Ratio:
    """Updates until both methods are at the Frechet distance at which the second ends."""
    methods, updates = names(arrays, kind), arrays[f"{kind}_updates"]
    curves = [arrays[f"{kind}_frechet"][methods.index(name)] for name in (first, second)]
    goals = curves[1][:, -1]
    needed = np.array(
        [
            [first_reached(updates, curve, goal) for curve, goal in zip(of_all, goals, strict=True)]
            for of_all in curves
        ]
    )
    logs = np.log(np.minimum(needed, float(updates[-1])))
    return Ratio(*map(float, np.exp(interval(logs[0] - logs[1]))), int(np.isinf(needed[0]).sum()))


def comparisons(arrays: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Pairs of methods that differ in one thing: M, regularizer, treatment of F, or rule."""
    if kind == "student":
        ones = [name for name in names(arrays, kind) if name.startswith("SiD + M = 1")]
        others = [name.replace("M = 1", "M = 50", 1) for name in ones]
        pairs = [(name, "SiD") for name in (*ones, *others)]
        pairs += list(zip(others, ones, strict=True))
        return [pair for pair in pairs if set(pair) <= set(names(arrays, kind))]
    ends = ("F joint", "F solved", "F joint, regularized", "F solved, regularized")
    pairs = [(f"M = 100, {end}", f"M = 1, {end}") for end in ends]
    pairs.append(("M = 10, F solved", "M = 1, F solved"))
    for size in ("M = 1", "M = 100"):
        pairs.append((f"{size}, F solved", f"{size}, F joint"))
        pairs.append((f"{size}, F solved, regularized", f"{size}, F solved"))
    pairs.append(("M adaptive, F solved, regularized", "M = 1, F solved, regularized"))
    pairs.append(("M = 100, F solved, regularized", "contrastive, regularized"))
    pairs.append(("value guidance", "contrastive, regularized"))
    return [pair for pair in pairs if set(pair) <= set(names(arrays, kind))]


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Frechet distance and KL of the classes of all methods and baselines; ratios of updates."""
    numbers = {"accuracy": float(arrays["accuracy"])}
    for measure in ("frechet", "class_kl"):
        for name in BASELINES:
            numbers[f"{name}_{measure}"] = float(arrays[f"{name}_{measure}"])
        for kind in kinds(arrays):
            means = final(arrays, kind, measure).mean(axis=-1)
            for method, mean in zip(names(arrays, kind), means, strict=True):
                numbers[f"{kind}_{measure}_{slug(method)}"] = float(mean)
    if "student" in kinds(arrays):
        for first, second in comparisons(arrays, "student"):
            ratio = ratio_of_updates(arrays, "student", first, second)
            numbers[f"student_updates_{slug(first)}_by_{slug(second)}"] = ratio.mean
    return numbers


def slug(method: str) -> str:
    """A method's name as a part of a number's name."""
    letters = "".join(letter if letter.isalnum() else " " for letter in method)
    return "_".join(letters.lower().split())
