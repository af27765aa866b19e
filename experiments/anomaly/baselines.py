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
BLOCK = 100
"""Number of test rows whose distances to all training rows are in memory at once."""


def little_ink(x: np.ndarray) -> np.ndarray:
    """Minus the mean gray level."""
    return -x.mean(axis=1)


def residual(axes: Axes, x: np.ndarray, count: int) -> np.ndarray:
    """Squared length of what the first principal axes leave of a row."""
    centered = x - axes.center
    return np.sum(centered**2, axis=1) - np.sum(axes.coordinates(x, count) ** 2, axis=1)


def nearest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared distance of every test row to the nearest training row."""
    # The lengths are one more column of the product, so that distances are read once.
    known = np.concatenate([-2 * train, np.sum(train**2, axis=1, keepdims=True)], axis=1).T
    wider = np.concatenate([test, np.ones_like(test[:, :1])], axis=1)
    blocks = np.split(wider, range(BLOCK, len(test), BLOCK))
    return np.concatenate([np.min(block @ known, axis=1) for block in blocks]) + np.sum(
        test**2, axis=1
    )


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


def simple_cell(settings: ImageSettings, part: Split, seed: int) -> dict[str, np.ndarray]:
    """Areas of the simple scores, in the order of `SCORES`, and terms for the rules.

    The terms, of calibration and of test rows, are the distance of the nearest training row that is
    not for calibration, and the norm's logarithm.
    """
    axes = principal_axes(part.train)
    count = settings.num_residual_axes
    known, scored = (axes.coordinates(x, count) for x in (part.train, part.test))
    train, test = unit_norm(part.train), unit_norm(part.test)
    unit_axes = principal_axes(train)
    unit, scored_unit = (
        unit_axes.coordinates(x, settings.num_neighbor_axes) for x in (train, test)
    )
    kept, held = unit[part.num_calibration :], unit[: part.num_calibration]
    neighbor = nearest(kept, scored_unit)
    scores = (
        little_ink(part.test),
        residual(axes, part.test, count),
        residual(unit_axes, test, count),
        mixture(settings, known, scored, seed),
        np.minimum(neighbor, nearest(held, scored_unit)),
    )
    return {
        "areas": np.array([area(score, part.labels) for score in scores]),
        "neighbor_test": neighbor,
        "neighbor_calibration": nearest(kept, held),
        "log_norm_test": log_norm(part.test),
        "log_norm_calibration": log_norm(part.train[: part.num_calibration]),
    }


def log_norm(x: np.ndarray) -> np.ndarray:
    """Logarithm of every row's norm."""
    return np.log(np.maximum(np.linalg.norm(x, axis=1), 1e-6))
