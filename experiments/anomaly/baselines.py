"""Simple scores of images: nothing is trained but principal axes and a Gaussian mixture.

Each is larger where an image is more anomalous.
"""

import numpy as np
from sklearn.mixture import GaussianMixture

from experiments.anomaly.config import ImageSettings
from experiments.anomaly.detectors import area
from experiments.anomaly.images import Axes, Split, principal_axes, unit_norm

SCORES = (
    "little ink",
    "PCA residual",
    "PCA residual, unit norm",
    "Gaussian mixture",
    "nearest neighbor, unit norm",
)
"""The order of `simple_scores`."""
BLOCK = 1000


def little_ink(x: np.ndarray) -> np.ndarray:
    """Minus the mean gray level."""
    return -x.mean(axis=1)


def residual(axes: Axes, x: np.ndarray, count: int) -> np.ndarray:
    """Squared length of what the first principal axes leave of a row."""
    centered = x - axes.center
    return np.sum(centered**2, axis=1) - np.sum(axes.coordinates(x, count) ** 2, axis=1)


def nearest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared distance of every test row to the nearest training row."""
    lengths = np.sum(train**2, axis=1)
    rows = [
        np.min(lengths - 2 * block @ train.T, axis=1) + np.sum(block**2, axis=1)
        for block in np.split(test, range(BLOCK, len(test), BLOCK))
    ]
    return np.concatenate(rows)


def mixture(settings: ImageSettings, train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Minus the log density of a Gaussian mixture."""
    rows = np.random.default_rng(seed).permutation(len(train))[: settings.max_mixture]
    fitted = GaussianMixture(
        settings.num_components,
        reg_covar=1e-3 * train.var(),
        max_iter=30,
        tol=1e-2,
        random_state=seed,
        init_params="k-means++",
    ).fit(train[rows])
    return -fitted.score_samples(test)


def simple_scores(settings: ImageSettings, part: Split, seed: int) -> list[np.ndarray]:
    """Scores of the test rows, in the order of `SCORES`."""
    axes = principal_axes(part.train)
    count = settings.num_residual_axes
    known, scored = (axes.coordinates(x, count) for x in (part.train, part.test))
    train, test = unit_norm(part.train), unit_norm(part.test)
    unit_axes = principal_axes(train)
    unit = [unit_axes.coordinates(x, settings.num_neighbor_axes) for x in (train, test)]
    return [
        little_ink(part.test),
        residual(axes, part.test, count),
        residual(unit_axes, test, count),
        mixture(settings, known, scored, seed),
        nearest(*unit),
    ]


def simple_areas(settings: ImageSettings, part: Split, seed: int) -> np.ndarray:
    """Area under the precision-recall curve of every simple score."""
    return np.array([area(s, part.labels) for s in simple_scores(settings, part, seed)])
