"""The headline numbers: distances in the end, by method."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import slug

BASELINES = {"teacher_many": "teacher, many steps", "teacher_few": "teacher, few steps"}
KINDS = ("sampler", "student")


def student_label(magnification: float) -> str:
    """A student's name in tables and figures."""
    return f"SiD + M = {magnification:g}" if magnification else "SiD"


def names(arrays: Mapping[str, Any], kind: str) -> list[str]:
    """The methods of a kind of generator."""
    return list(map(str, arrays[f"{kind}_methods"]))


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """The squared Frechet distance of all methods, a mean over seeds, and of the baselines."""
    numbers = {f"{name}_frechet": float(arrays[f"{name}_frechet"]) for name in BASELINES}
    for kind in KINDS:
        means = np.mean(arrays[f"{kind}_frechet"][..., -1], axis=-1)
        for method, mean in zip(names(arrays, kind), means, strict=True):
            numbers[f"{kind}_frechet_{slug(method)}"] = float(mean)
    return numbers
