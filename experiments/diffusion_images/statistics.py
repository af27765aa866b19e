"""The headline numbers: distances in the end, by method."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import first_reached, slug

BASELINES = {"teacher_many": "teacher, many steps", "teacher_few": "teacher, few steps"}
KINDS = ("sampler", "student")


def kinds(arrays: Mapping[str, Any]) -> list[str]:
    """The kinds of generators that were trained: a run may leave out samplers or students."""
    return [kind for kind in KINDS if names(arrays, kind)]


def updates_to_the_end(arrays: Mapping[str, Any], kind: str, method: str) -> np.ndarray:
    """The updates, (seed,), at which a method is where the first of its kind ends."""
    updates, runs = arrays[f"{kind}_updates"], arrays[f"{kind}_frechet"]
    curves = runs[names(arrays, kind).index(method)]
    pairs = zip(curves, runs[0][:, -1], strict=True)
    return np.array([first_reached(updates, *pair) for pair in pairs])


def names(arrays: Mapping[str, Any], kind: str) -> list[str]:
    """The methods of a kind of generator."""
    return list(map(str, arrays[f"{kind}_methods"]))


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """The squared Frechet distance of all methods, a mean over seeds, and of the baselines."""
    numbers = {f"{name}_frechet": float(arrays[f"{name}_frechet"]) for name in BASELINES}
    for kind in kinds(arrays):
        means = np.mean(arrays[f"{kind}_frechet"][..., -1], axis=-1)
        for method, mean in zip(names(arrays, kind), means, strict=True):
            numbers[f"{kind}_frechet_{slug(method)}"] = float(mean)
    return numbers
