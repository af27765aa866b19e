"""Measures of an encoder: a linear classifier on its features, and a picture of them."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.representation.config import Config
from experiments.representation.images import Split


def accuracy(train: np.ndarray, test: np.ndarray, split: Split) -> float:
    """Test accuracy of a logistic regression fitted to all training images and labels."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, C=0.1))
    with warnings.catch_warnings():
        # Further iterations change the likelihood's last digits, but no accuracy.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(train, split.y_train)
    return float(classifier.score(test, split.y_test))


def picture(config: Config, features: np.ndarray) -> np.ndarray:
    """t-SNE of the first features, (num_shown, 2)."""
    shown = features[: config.num_shown]
    return TSNE(
        random_state=config.seed, init="pca", perplexity=min(30, len(shown) / 4)
    ).fit_transform(shown)
