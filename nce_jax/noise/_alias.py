"""The alias method: V cells of equal probability, each shared by its own word and at most one
other.
"""

import numpy as np

_FULL = 2**32


def alias_table(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds, uint32, and aliases, int32: cell k gives k for 32 random bits below its
    threshold, else its alias.

    Probabilities (V,) sum to one. A word's share of its cell is rounded to 32 bits; a full cell has
    itself for alias.
    """
    share = probabilities * len(probabilities)
    thresholds, aliases = np.zeros(len(share), np.uint32), np.arange(len(share), dtype=np.int32)
    for cell, kept, alias in _pair_up(share):
        thresholds[cell], aliases[cell] = min(int(kept * _FULL + 0.5), _FULL - 1), alias
    return thresholds, aliases


def _pair_up(share: np.ndarray) -> list[tuple[int, float, int]]:
    """Every cell that is not its own word's: the cell, its word's part of it, and who has the rest
    (Vose).
    """
    left = share.tolist()
    small, large = np.flatnonzero(share < 1).tolist(), np.flatnonzero(share >= 1).tolist()
    pairs = []
    while small and large:
        cell, giver = small.pop(), large[-1]
        pairs.append((cell, left[cell], giver))
        left[giver] -= 1 - left[cell]
        if left[giver] < 1:
            small.append(large.pop())
    # What is left over is full up to rounding, but for words that must never be drawn.
    return pairs + [(cell, 0.0, int(share.argmax())) for cell in small if share[cell] == 0]
