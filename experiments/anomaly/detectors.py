"""Detectors for tables that are in common use, as functions of arrays.

Each takes normal training rows and test rows, and returns a score per test row that is larger where
a row is more anomalous.
"""

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import auc, precision_recall_curve
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

NEIGHBORS = 5
COMPONENTS = 10


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the precision-recall curve by trapezoids; 1 labels an anomaly.

    `sklearn.metrics.average_precision_score` is another number, a little lower.
    """
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(auc(recall, precision))


def isolation_forest(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Isolation forest with scikit-learn's defaults."""
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


def nearest_neighbors(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Distance to the fifth nearest training row."""
    del seed
    neighbors = NearestNeighbors(n_neighbors=NEIGHBORS).fit(train)
    return neighbors.kneighbors(test)[0][:, -1]


def ecod(train: np.ndarray, test: np.ndarray, seed: int = 0) -> np.ndarray:
    """Empirical tail probabilities, taken as independent over columns.

    Left, right, or in each column the side of its longer tail: the largest of the three sums of
    -log p. The tails are those of the training rows, each scored row counted beside them; pyod's
    class of this name pools all rows, and takes the larger side column by column.

    References:
        Li et al., ECOD: unsupervised outlier detection using empirical cumulative distribution
          functions, 2022, algorithm 1.
    """
    del seed
    left, right = _tails(train, test), _tails(-train, -test)
    centered = train - train.mean(axis=0)
    is_left = np.mean(centered**3, axis=0) < 0
    sides = np.where(is_left, left, right)
    return np.max([side.sum(axis=1) for side in (left, right, sides)], axis=0)


def _tails(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """-log of the share of training rows at or below each test value, the value itself counted."""
    columns = zip(np.sort(train, axis=0).T, test.T, strict=True)
    counts = [np.searchsorted(known, values, side="right") for known, values in columns]
    return -np.log((np.stack(counts, axis=1) + 1) / (len(train) + 1))


def gaussian_mixture(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Minus the log density of a mixture of ten Gaussians, with 0.01 on their diagonals."""
    mixture = GaussianMixture(COMPONENTS, reg_covar=1e-2, random_state=seed, max_iter=50, tol=1e-2)
    return -mixture.fit(train).score_samples(test)


DETECTORS = {
    "isolation forest": isolation_forest,
    "5-NN": nearest_neighbors,
    "ECOD": ecod,
    "Gaussian mixture": gaussian_mixture,
}
