"""The images: one class held out as the anomaly, the rest split, and principal coordinates."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from experiments.anomaly.config import ImageSettings
from experiments.common.mnist_images import load_images


class Images(NamedTuple):
    """All images as rows with values from 0 to 1, float32, and their classes."""

    x: np.ndarray
    classes: np.ndarray


CALIBRATION_SHARE = 0.1
"""Share of the training rows that no model is trained on: the rules are calibrated on them."""


class Split(NamedTuple):
    """Training rows, test rows, and the labels of the test rows: 1 for an anomaly."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray

    @property
    def num_calibration(self) -> int:
        """How many training rows, the first ones, are for calibration."""
        return round(CALIBRATION_SHARE * len(self.train))

    def in_order(self, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Values of all rows: those trained on, then those for calibration, then test rows."""
        return np.concatenate([np.roll(train, -self.num_calibration, axis=0), test])


class Axes(NamedTuple):
    """Principal axes of training rows, by falling variance."""

    center: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def coordinates(self, x: np.ndarray, count: int) -> np.ndarray:
        """The first `count` principal coordinates of rows."""
        return (x - self.center) @ self.directions[:, :count]


def load(name: str) -> Images:
    """Loads "mnist", training and test images pooled, or "digits", scikit-learn's."""
    if name == "digits":
        x, classes = load_digits(return_X_y=True)
        return Images((x / 16).astype(np.float32), classes)
    if name != "mnist":
        raise ValueError(f"images: expected 'mnist' or 'digits', got {name!r}")
    parts = [load_images("mnist", split="train"), load_images("mnist", split="test")]
    x = np.concatenate([part.images.reshape(len(part.images), -1) for part in parts])
    return Images(
        x.astype(np.float32) / 255, np.concatenate([part.labels for part in parts]).astype(int)
    )


def split(settings: ImageSettings, images: Images, digit: int, seed: int) -> Split:
    """Holds a class out: the test rows are the rest of the normal rows and all anomalies."""
    rng = np.random.default_rng([seed, digit])
    normal = rng.permutation(np.flatnonzero(images.classes != digit))
    count = round(settings.image_share * len(normal))
    scored = np.concatenate([normal[count:], np.flatnonzero(images.classes == digit)])
    labels = (images.classes[scored] == digit).astype(np.int32)
    return Split(images.x[normal[:count]], images.x[scored], labels)


def unit_norm(x: np.ndarray) -> np.ndarray:
    """Rows divided by their norms, which takes out the amount of ink."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)


def principal_axes(x: np.ndarray) -> Axes:
    center = x.mean(axis=0)
    centered = x - center
    covariance = (centered.T @ centered).astype(np.float64) / (len(x) - 1)
    variances, directions = np.linalg.eigh(covariance)
    return Axes(center, directions[:, ::-1].astype(x.dtype), np.maximum(variances[::-1], 0))
