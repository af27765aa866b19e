"""Final values over seeds, paired differences between methods, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import Ratio, first_reached, interval, ratio, slug

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


def paired(
    arrays: Mapping[str, Any], kind: str, measure: str, first: str, second: str
) -> np.ndarray:
    """The difference of two methods, paired by seed: mean, low and high end (95 %, t).

    The pairs share the teacher, the critic's first weights, and all draws.
    """
    methods = names(arrays, kind)
    values = final(arrays, kind, measure)
    return interval(values[methods.index(first)] - values[methods.index(second)])


def ratio_of_updates(arrays: Mapping[str, Any], kind: str, first: str, second: str) -> Ratio:
    """Updates until both methods are at the Frechet distance at which the second ends."""
    methods, updates = names(arrays, kind), arrays[f"{kind}_updates"]
    curves = [arrays[f"{kind}_frechet"][methods.index(name)] for name in (first, second)]
    goals = curves[1][:, -1]
    needed = [
        np.array([first_reached(updates, *pair) for pair in zip(of_method, goals, strict=True)])
        for of_method in curves
    ]
    return ratio(*needed, float(updates[-1]))


def comparisons(arrays: Mapping[str, Any], kind: str) -> list[tuple[str, str]]:
    """Pairs of methods that differ in one thing: M, regularizer, treatment of F, or rule."""
    if kind == "student":
        there = names(arrays, kind)
        pairs = [(name, "SiD") for name in there if name != "SiD"]
        pairs += [(name, name.replace("M = 50", "M = 1", 1)) for name in there if "M = 50" in name]
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
            found = ratio_of_updates(arrays, "student", first, second)
            numbers[f"student_updates_{slug(first)}_by_{slug(second)}"] = found.mean
    return numbers
