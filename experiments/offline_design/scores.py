"""What a set of candidates is worth."""

from typing import NamedTuple

import numpy as np

HIGH = 0.9
"""Score above which a candidate counts as high."""


class Score(NamedTuple):
    """The true scores of a set of candidates.

    Attributes:
      median: their median.
      share: share above `HIGH`.
      best: the best of them.
      distinct: number of distinct candidates.
    """

    median: float
    share: float
    best: float
    distinct: int


def judge(x: np.ndarray, values: np.ndarray) -> Score:
    """Scores candidates (n, length), which may repeat one another, by their true values (n,)."""
    return Score(
        float(np.median(values)),
        float(np.mean(values > HIGH)),
        float(np.max(values)),
        len(np.unique(x, axis=0)),
    )
