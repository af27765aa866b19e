"""The alias method: V cells of equal probability, each for its own word and at most one other."""

import numpy as np

_FULL_CELL = 2**32
"""Number of values of 32 random bits: the threshold of a cell that belongs to its word alone."""


def alias_table(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns thresholds, uint32, and aliases, int32, for probabilities (V,) that sum to one.

    Cell k gives word k for 32 random bits below its threshold, else its alias. The probability of a
    word within its cell is rounded to 32 bits; the alias of a full cell is its own word.
    """
    mass = probabilities * len(probabilities)
    thresholds, aliases = np.zeros(len(mass), np.uint32), np.arange(len(mass), dtype=np.int32)
    for cell, part, alias in _pair_up(mass):
        thresholds[cell], aliases[cell] = min(int(part * _FULL_CELL + 0.5), _FULL_CELL - 1), alias
    return thresholds, aliases


def _pair_up(mass: np.ndarray) -> list[tuple[int, float, int]]:
    """Returns every cell with two words: the cell, its own word's part, and the other word (Vose).

    `mass` (V,) is the probability of every word in units of a cell.
    """
    remaining = mass.tolist()
    small, large = np.flatnonzero(mass < 1).tolist(), np.flatnonzero(mass >= 1).tolist()
    pairs = []
    while small and large:
        cell, alias = small.pop(), large[-1]
        pairs.append((cell, remaining[cell], alias))
        remaining[alias] -= 1 - remaining[cell]
        if remaining[alias] < 1:
            small.append(large.pop())
    # The remaining cells are full up to rounding, except those of words that must never be drawn.
    return pairs + [(cell, 0.0, int(mass.argmax())) for cell in small if mass[cell] == 0]
