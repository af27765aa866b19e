"""The problems and Adam's peak learning rate on each: those of `choosing_m`, and further ones."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import optax
from sklearn import datasets

from experiments.common import magnification_problems, whitened_tables
from experiments.common.magnification_problems import Problem, planar, scaled, shifted, tabular

NETWORK_RATE = 1e-3


class Case(NamedTuple):
    """A problem and the peak learning rate, the same for every M.

    Attributes:
      make: makes the problem; its own optimizer is not used.
      peak_rate: of Adam. About a fifth of the largest distance that a parameter has to move, so
        that it can be covered in 20 steps, where `choosing_m` does not train with Adam.
    """

    make: Callable[[], Problem]
    peak_rate: float


PEAK_RATES = {
    "1-D, 2 apart": 0.4,
    "1-D, 4 apart": 0.8,
    "5-D": 0.2,
    "20-D": 0.15,
    "10-D, narrow": 0.5,
    "5-D, wide": 0.1,
    "5-D, Adam": 0.05,
    "100-D, Adam": 0.02,
    "50-D": 0.1,
    "8-D, both": 0.3,
    "3-D, momentum": 0.3,
}

PROBLEMS = {
    name: Case(make, PEAK_RATES.get(name, NETWORK_RATE))
    for name, make in magnification_problems.PROBLEMS.items()
}
"""The 17 problems of `choosing_m`."""


def _breast_cancer() -> Problem:
    rows = datasets.load_breast_cancer().data
    return tabular(lambda: whitened_tables.split_rows(rows, np.random.default_rng(0)))


FURTHER = {
    "30-D": Case(lambda: shifted(0.5, 30, optax.identity()), 0.1),
    "2-D, 3 apart": Case(lambda: shifted(2.1, 2, optax.identity()), 0.4),
    "6-D, narrow and apart": Case(lambda: scaled(0.3, 1.0, 1.0, 6, optax.identity()), 0.6),
    "checkerboard": Case(lambda: planar("checkerboard"), NETWORK_RATE),
    "breast cancer": Case(_breast_cancer, NETWORK_RATE),
}
"""Problems that were fixed before the first run of any candidate, and are in the final run only."""
