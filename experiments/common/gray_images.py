"""Both splits of a set of 28 x 28 images as rows of gray levels."""

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from experiments.common.image_features import SIDE
from experiments.common.mnist_images import load_images

PIXELS = SIDE * SIDE


class GrayImages(NamedTuple):
    """Gray levels, uint8 (n, 784), and labels of both splits."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def gray_images(name: str) -> GrayImages:
    """Both splits of a set; "digits" are scikit-learn's, three times as large."""
    if name == "digits":
        bunch = load_digits()
        images = np.asarray(bunch.images * 15.9, np.uint8).repeat(3, axis=1).repeat(3, axis=2)
        images = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, PIXELS)
        return GrayImages(images[:1400], bunch.target[:1400], images[1400:], bunch.target[1400:])
    train, test = (load_images(name, split=split) for split in ("train", "test"))
    return GrayImages(
        train.images.reshape(-1, PIXELS), train.labels, test.images.reshape(-1, PIXELS), test.labels
    )
