"""Seeds of cells; means, paired differences and ratios of updates over them, and their names."""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Ratio(NamedTuple):
    """Updates of one method by those of a second: the geometric mean, with an interval of 95 %.

    Attributes:
      mean: over seeds; a run that does not reach the goal counts with its last update.
      low: end of the interval, by Student's t on logarithms paired by seed.
      high: the other end.
      num_missed: number of runs of the first method that never reach the goal.
    """

    mean: float
    low: float
    high: float
    num_missed: int


def cell_seeds(seed: int, count: int) -> range:
    """The seeds of the cells of a run: 0, 1, ... of the run of seed 0, and others of any other."""
    first = 1000 * seed
    return range(first, first + count)


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, the last axis, and its standard error."""
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def interval(difference: np.ndarray) -> np.ndarray:
    """Mean over seeds, the last axis, with low and high end of 95 % by Student's t, (..., 3)."""
    mean, error = mean_and_error(difference)
    reach = stats.t.ppf(0.975, difference.shape[-1] - 1) * error
    return np.stack([mean, mean - reach, mean + reach], axis=-1)


def first_reached(updates: np.ndarray, curve: np.ndarray, goal: float) -> float:
    """The update at which a curve, (checkpoint,), falls to the goal; infinite if it never does.

    Between two checkpoints the curve is a straight line. One that begins at or below the goal has
    reached it at the first checkpoint.
    """
    if not np.any(is_there := curve <= goal):
        return np.inf
    number = int(np.argmax(is_there))
    if number == 0:
        return float(updates[0])
    before, after = curve[number - 1], curve[number]
    place = (before - goal) / (before - after)
    return float(updates[number - 1] + place * (updates[number] - updates[number - 1]))


def ratio(first: np.ndarray, second: np.ndarray, last: float) -> Ratio:
    """The ratio of the updates that two methods need, (..., seed), infinite where they miss.

    Other axes are averaged within a seed, so that the interval is over seeds.
    """
    logs = np.log(np.minimum(first, last)) - np.log(np.minimum(second, last))
    by_seed = logs.reshape(-1, logs.shape[-1]).mean(axis=0)
    return Ratio(*map(float, np.exp(interval(by_seed))), int(np.isinf(first).sum()))


def slug(method: str) -> str:
    """A method's name as a part of a number's name."""
    letters = "".join(letter if letter.isalnum() else " " for letter in method)
    return "_".join(letters.lower().split())
