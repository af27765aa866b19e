"""Final values over seeds, paired differences between critics, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

SHOWN = ("sliced", "mmd", "good", "modes", "mode_kl", "spread")
"""Measures in the order of the tables."""


def final(arrays: Mapping[str, Any], length: int, measure: str) -> np.ndarray:
    """The last two checkpoints' mean, (method, start, seed): one checkpoint has its own draws."""
    return arrays[f"T{length}_{measure}"][..., -2:].mean(axis=-1)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, the last axis, and its standard error."""
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def paired(
    arrays: Mapping[str, Any], length: int, measure: str, first: str, second: str
) -> np.ndarray:
    """The difference of two methods, paired by seed: mean, low and high end (95 %, t), (start, 3).

    The pairs share the sampler's first weights, the critic's, and all draws of data.
    """
    return interval(_difference(arrays, length, measure, first, second))


def of_magnification(arrays: Mapping[str, Any], length: int, measure: str) -> np.ndarray:
    """What M = 100 adds to M = 1, the mean over treatments of F and regularizer, as `paired`."""
    pairs = [pair for pair in comparisons(arrays) if is_of_magnification(*pair)]
    return interval(np.mean([_difference(arrays, length, measure, *pair) for pair in pairs], 0))


def is_of_magnification(first: str, second: str) -> bool:
    """Whether the methods are M = 100 and M = 1 of the same treatment."""
    return first.startswith("M = 100") and second == first.replace("M = 100", "M = 1")


def interval(difference: np.ndarray) -> np.ndarray:
    """Mean over seeds, the last axis, with low and high end of 95 % by Student's t, (..., 3)."""
    mean, error = mean_and_error(difference)
    reach = stats.t.ppf(0.975, difference.shape[-1] - 1) * error
    return np.stack([mean, mean - reach, mean + reach], axis=-1)


def _difference(
    arrays: Mapping[str, Any], length: int, measure: str, first: str, second: str
) -> np.ndarray:
    methods, values = list(map(str, arrays["methods"])), final(arrays, length, measure)
    return values[methods.index(first)] - values[methods.index(second)]


def comparisons(arrays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of methods that differ in one thing: M, regularizer, treatment of F, or rule."""
    methods = list(map(str, arrays["methods"]))
    ends = ("F joint", "F solved", "F joint, regularized", "F solved, regularized")
    pairs = [(f"M = 100, {end}", f"M = 1, {end}") for end in ends]
    for size in ("M = 1", "M = 100"):
        pairs.append((f"{size}, F solved", f"{size}, F joint"))
        pairs.append((f"{size}, F solved, regularized", f"{size}, F solved"))
    pairs.append(("M adaptive, F solved", "M = 1, F solved"))
    pairs.append(("M = 100, F solved, regularized", "contrastive, regularized"))
    pairs.append(("value guidance", "contrastive, regularized"))
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
    return numbers


def slug(method: str) -> str:
    """A method's name as a part of a number's name."""
    letters = "".join(letter if letter.isalnum() else " " for letter in method)
    return "_".join(letters.lower().split())
