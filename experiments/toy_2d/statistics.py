"""Headline numbers of the stored arrays: means over seeds."""

from itertools import product

import numpy as np

from experiments.toy_2d.measures import imbalance

SHORT = {"NCE": "nce", "BAR": "bar", "binary search": "search"}
"""Treatments with headline numbers in both readings."""

COMPARED = tuple(SHORT)
"""Treatments of the first toy in other sizes."""


def headline(arrays) -> dict[str, float]:
    return {name: values.mean() for name, values in by_seed(arrays).items()}


def by_seed(arrays) -> dict[str, np.ndarray]:
    """Values whose means are the headline numbers.

    They are taken at an early, a later and the last reported step.
    """
    steps = [arrays["reported_steps"][index] for index in (0, -2, -1)]
    early, later, last = np.searchsorted(arrays["steps"], steps)
    named: dict[str, np.ndarray] = {}
    for toy, reading in product(arrays["toys"], arrays["readings"]):
        excess = excess_loss(arrays, f"{toy}_{reading}")
        methods = list(arrays[f"{reading}_methods"])
        for method, short in SHORT.items():
            lanes = excess[methods.index(method)]
            reported = zip(steps, (early, later, last), strict=True)
            named |= {
                f"{toy}_{reading}_{short}_excess_{step}": lanes[:, index]
                for step, index in reported
            }
    for toy, (method, short) in product(arrays["toys"], SHORT.items()):
        index = list(arrays["energy_methods"]).index(method)
        named[f"{toy}_energy_{short}_kl_{steps[-1]}"] = arrays[f"{toy}_energy_divergence"][
            index, :, last
        ]
        heights = arrays[f"{toy}_energy_heights"][index, :, last]
        named[f"{toy}_energy_{short}_imbalance_{steps[-1]}"] = imbalance(heights)
    for size, (index, short) in product(arrays["sizes"], enumerate(SHORT.values())):
        cell = f"{resized_name(arrays['toys'][0], size)}_energy"
        named[f"{cell}_{short}_excess_{steps[1]}"] = excess_loss(arrays, cell)[index, :, later]
    for start, loss in zip(arrays["starts"], arrays["starts_loss"], strict=True):
        truth = arrays[f"{arrays['toys'][0]}_truth_loss"]
        named[f"nce_from_{start:g}_excess_{steps[1]}"] = loss[:, later] - truth
    return named


def resized_name(toy: str, size: float) -> str:
    return f"{toy}_x{size:g}"


def excess_loss(arrays, cell: str) -> np.ndarray:
    """NCE loss minus that of the data's own density, (method, seed, checkpoint), in nats.

    It is zero only for the true model.
    """
    toy = cell.rsplit("_", 1)[0]
    return arrays[f"{cell}_loss"] - arrays[f"{toy}_truth_loss"]
