"""Means over seeds, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MEASURES = ("median", "share", "best", "distinct")


def mean_and_deviation(arrays: Mapping[str, Any], task: str, measure: str) -> np.ndarray:
    """Mean and standard deviation over seeds of every method, (methods, 2)."""
    values = arrays[f"{task}_{measure}"]
    return np.stack([values.mean(axis=1), values.std(axis=1, ddof=1)], axis=1)


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Median, share above 0.9 and best of the candidates by task and method: means over seeds."""
    numbers = {}
    for task in arrays["task_names"]:
        for measure in ("median", "share", "best"):
            means = mean_and_deviation(arrays, task, measure)[:, 0]
            for method, value in zip(arrays["methods"], means, strict=True):
                numbers[f"{task}_{measure}_{slug(method)}"] = float(value)
    return numbers


def slug(method: str) -> str:
    """A method's name as a part of a number's name."""
    letters = "".join(letter if letter.isalnum() else " " for letter in method)
    return "_".join(letters.lower().split())
