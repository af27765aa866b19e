"""Final values over seeds, paired differences between critics, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import Ratio, first_reached, interval, ratio, slug

SHOWN = ("sliced", "mmd", "good", "modes", "mode_kl", "spread")
"""Measures in the order of the tables."""
GOAL = 0.25
"""Sliced distance at which a run from random weights counts as there; chosen after the run."""


def final(arrays: Mapping[str, Any], length: int, measure: str) -> np.ndarray:
    """The last two checkpoints' mean, (method, start, seed): one checkpoint has its own draws."""
    return arrays[f"T{length}_{measure}"][..., -2:].mean(axis=-1)


def paired(
    arrays: Mapping[str, Any], length: int, measure: str, first: str, second: str
) -> np.ndarray:
    """The difference of two methods, paired by seed: mean, low and high end (95 %, t), (start, 3).

    The pairs share the sampler's first weights, the critic's, and all draws of data.
    """
    return interval(_difference(arrays, length, measure, first, second))


def changes(arrays: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Pairs of methods that differ in M, in the treatment of F, or in the regularizer alone."""
    methods = list(map(str, arrays["methods"]))
    ends = ("F joint", "F solved", "F joint, regularized", "F solved, regularized")
    sizes = [f"M = {m}" for m in (1, 10, 50, 100)]
    pairs = {
        f"{size} less M = 1": [(f"{size}, {end}", f"M = 1, {end}") for end in ends]
        for size in sizes[1:]
    }
    pairs["F solved less joint"] = [
        (f"{size}, {end.replace('joint', 'solved')}", f"{size}, {end}")
        for size in sizes
        for end in ends[::2]
    ]
    pairs["regularized less not"] = [
        (f"{size}, {end}, regularized", f"{size}, {end}") for size in sizes for end in ends[:2]
    ]
    found = {name: [pair for pair in of if set(pair) <= set(methods)] for name, of in pairs.items()}
    return {name: of for name, of in found.items() if of}


def of_change(arrays: Mapping[str, Any], length: int, measure: str, change: str) -> np.ndarray:
    """The mean difference over the pairs of a change, as `paired`."""
    pairs = changes(arrays)[change]
    return interval(np.mean([_difference(arrays, length, measure, *pair) for pair in pairs], 0))


def _difference(
    arrays: Mapping[str, Any], length: int, measure: str, first: str, second: str
) -> np.ndarray:
    methods, values = list(map(str, arrays["methods"])), final(arrays, length, measure)
    return values[methods.index(first)] - values[methods.index(second)]


def steps_to_goal(arrays: Mapping[str, Any], length: int, method: str) -> np.ndarray:
    """The step at which each run from random weights first is at `GOAL`, (seed,)."""
    row = list(map(str, arrays["methods"])).index(method)
    curves = arrays[f"T{length}_sliced"][row, 0]
    return np.array([first_reached(arrays["steps"], curve, GOAL) for curve in curves])


def ratio_of_steps(arrays: Mapping[str, Any], length: int, change: str) -> Ratio:
    """Steps from random weights to `GOAL` after a change by those before, over all its pairs."""
    needed = [
        np.array([steps_to_goal(arrays, length, name) for name in names])
        for names in zip(*changes(arrays)[change], strict=True)
    ]
    return ratio(*needed, float(arrays["steps"][-1]))


def num_with_lost_modes(arrays: Mapping[str, Any], length: int) -> np.ndarray:
    """Runs that lack a mode at their last step, (method, start)."""
    return (arrays[f"T{length}_modes"][..., -1] < arrays["data_modes"]).sum(axis=-1)


def comparisons(arrays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of methods that differ in one thing: M, regularizer, treatment of F, or rule."""
    methods = list(map(str, arrays["methods"]))
    ends = ("F joint", "F solved", "F joint, regularized", "F solved, regularized")
    pairs = [(f"M = 100, {end}", f"M = 1, {end}") for end in ends]
    for size in ("M = 1", "M = 100"):
        pairs.append((f"{size}, F solved", f"{size}, F joint"))
        pairs.append((f"{size}, F solved, regularized", f"{size}, F solved"))
    pairs.append(("M adaptive, F solved", "M = 1, F solved"))
    critics = (f"M = 1, {ends[2]}", f"M = 100, {ends[3]}", "value guidance")
    pairs += [(name, "contrastive, regularized") for name in critics]
    return [pair for pair in pairs if set(pair) <= set(methods)]


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Sliced distance and KL of the modes, of all methods but those of M between 1 and 100."""
    numbers = {f"data_{name}": float(arrays[f"data_{name}"]) for name in ("sliced", "mode_kl")}
    for length in map(int, arrays["lengths"]):
        for name in ("sliced", "mode_kl"):
            numbers[f"T{length}_teacher_{name}"] = float(arrays[f"T{length}_teacher_{name}"].mean())
            means = final(arrays, length, name).mean(axis=-1)
            for method, row in zip(map(str, arrays["methods"]), means, strict=True):
                if method.startswith(("M = 10,", "M = 50,")):
                    continue
                for start, value in zip(("scratch", "teacher"), row, strict=True):
                    numbers[f"T{length}_{start}_{name}_{slug(method)}"] = float(value)
    if (change := "M = 100 less M = 1") in changes(arrays) and 5 in arrays["lengths"]:
        for name in ("sliced", "good"):
            numbers[f"T5_teacher_{name}_{slug(change)}"] = of_change(arrays, 5, name, change)[1, 0]
    return numbers
