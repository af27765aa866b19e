"""What M, K and the treatment of F contribute: paired differences with intervals over seeds."""

from typing import NamedTuple

import numpy as np
from scipy import stats

PUBLISHED = {
    "NCE": {1: 0.702, 4: 0.829, 5: 0.764, 7: 0.605, 9: 0.502},
    "N2CE, K = 1": {1: 0.910, 4: 0.911, 5: 0.935, 7: 0.779, 9: 0.699},
    "N2CE, K = 3": {1: 0.959, 4: 0.935, 5: 0.959, 7: 0.845, 9: 0.854},
}
"""Areas of Yu et al. (2026) by digit, picked by their area on test images."""


class Contrast(NamedTuple):
    """The mean over some priors minus that over others, by their places in `priors`."""

    name: str
    plus: tuple[int, ...]
    minus: tuple[int, ...]


MLE, NCE, N2CE, LONGER, NEIGHBOR = (0,), (1, 4), (2, 5), (3, 6), (7,)
CONTRASTS = (
    Contrast("M: N2CE minus NCE, K = 1", N2CE, NCE),
    Contrast("K: N2CE with K = 3 minus K = 1", LONGER, N2CE),
    Contrast("M and K: N2CE with K = 3 minus NCE", LONGER, NCE),
    Contrast("F: solved minus joint", (4, 5, 6), (1, 2, 3)),
    Contrast("NCE minus MLE", NCE, MLE),
    Contrast("learned by contrast minus nearest neighbor of z", (1, 2, 3, 4, 5, 6), NEIGHBOR),
)


def differences(areas: np.ndarray) -> dict[str, np.ndarray]:
    """Differences of areas (digit, seed, prior) by the contrast's name, (digit, seed)."""
    return {
        name: areas[..., list(plus)].mean(axis=-1) - areas[..., list(minus)].mean(axis=-1)
        for name, plus, minus in CONTRASTS
    }


def of_energy(arrays, block: str) -> np.ndarray:
    """What the six energies learned by contrast add to a rule in the mean, (digit, seed)."""
    return arrays[block][..., 1:7].mean(axis=-1) - arrays[f"{block}_without"]


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last axis, the seeds, and half the width of Student's 95 % interval.

    With one seed the interval is infinite.
    """
    count = values.shape[-1]
    if count == 1:
        return values[..., 0], np.full(values.shape[:-1], np.inf)
    error = values.std(axis=-1, ddof=1) / np.sqrt(count)
    return values.mean(axis=-1), stats.t.ppf(0.975, count - 1) * error
