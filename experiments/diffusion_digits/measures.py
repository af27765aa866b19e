"""Images, and how far samples are from test images in the features of a classifier."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import image_features
from experiments.common.gray_images import GrayImages
from experiments.common.image_features import SIDE
from experiments.diffusion_digits.config import TeacherSettings, features_of
from nce_jax import diagnostics

MEASURES = ("frechet", "kernel", "class_kl", "sure")
"""Squared Frechet distance, squared MMD (cubic kernel), KL of the masses of the classes to those of
test images, and the share of samples of which the classifier is sure: above .9."""


class Judge(NamedTuple):
    """A classifier, features of test images, masses of their classes, and the classifier's hits."""

    settings: TeacherSettings
    params: Any
    reference: np.ndarray
    masses: np.ndarray
    accuracy: float


def shrink(settings: TeacherSettings, levels: np.ndarray) -> np.ndarray:
    """Gray levels, (n, 784), as images (n, side, side, 1) from -1 to 1, averaged over squares."""
    factor, rest = divmod(SIDE, settings.side)
    if rest:
        raise ValueError(f"side: expected a divisor of {SIDE}, got {settings.side}")
    blocks = levels.reshape(-1, settings.side, factor, settings.side, factor)
    return (blocks.mean(axis=(2, 4), dtype=np.float32) / 127.5 - 1)[..., None]


def enlarge(x: Any) -> np.ndarray:
    """Images (n, side, side, 1) as rows of 784 gray values in [0, 1], as the classifier sees."""
    values = np.clip((np.asarray(x, np.float32) + 1) / 2, 0, 1)[..., 0]
    factor = SIDE // values.shape[1]
    return values.repeat(factor, axis=1).repeat(factor, axis=2).reshape(-1, SIDE * SIDE)


def make_judge(settings: TeacherSettings, key: jax.Array, images: GrayImages) -> Judge:
    """Trains the classifier on training images that are shrunk and enlarged as samples are."""
    features = features_of(settings)
    train, test = (enlarge(shrink(settings, levels)) for levels in (images.train, images.test))
    params = image_features.train_classifier(features, key, train, images.train_labels)
    guessed = image_features.predicted(features, params, test).argmax(axis=1)
    # In random order, since the first half of the published test images is by other writers.
    test = test[np.random.default_rng(settings.seed).permutation(len(test))]
    return Judge(
        settings,
        params,
        image_features.features(features, params, test),
        np.bincount(guessed, minlength=features.num_classes) / len(guessed),
        float(np.mean(guessed == images.test_labels)),
    )


def measure(judge: Judge, x: Any) -> dict[str, np.ndarray]:
    """The measures of samples (n, side, side, 1), with the Frechet distance's bias."""
    features, rows = features_of(judge.settings), enlarge(x)
    seen = image_features.features(features, judge.params, rows)
    log_probabilities = image_features.predicted(features, judge.params, rows)
    masses = np.bincount(log_probabilities.argmax(axis=1), minlength=len(judge.masses)) / len(rows)
    frechet = diagnostics.frechet_distance(seen, judge.reference)
    numbers = {
        "frechet": frechet.value,
        "frechet_bias": frechet.bias,
        "kernel": diagnostics.kernel_distance(seen, judge.reference[: len(seen)]).value,
        "class_kl": _kl(masses, judge.masses),
        "sure": np.mean(log_probabilities.max(axis=1) > np.log(0.9)),
    }
    return {name: np.asarray(value) for name, value in numbers.items()} | {"masses": masses}


def _kl(masses: np.ndarray, expected: np.ndarray) -> float:
    """KL of masses to others in nats; classes that the test images have not are left out."""
    is_seen = (masses > 0) & (expected > 0)
    return float(np.sum(masses[is_seen] * np.log(masses[is_seen] / expected[is_seen])))


def rows_of(key: jax.Array, images: jax.Array, count: int) -> jax.Array:
    """So many images, drawn with replacement."""
    return images[jax.random.randint(key, (count,), 0, len(images))]


def as_images(settings: TeacherSettings, levels: np.ndarray) -> jax.Array:
    """Shrunk images on the device."""
    return jnp.asarray(shrink(settings, levels))
