"""Images as coordinates: dequantized, on the logit scale, along principal axes, and back.

The Gaussian with the mean and covariance of the logits has a density in closed form, and is a
standard normal in these coordinates. An energy of the first few coordinates, times the Gaussian of
the others, is therefore a density of whole images.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.gray_images import PIXELS, GrayImages
from experiments.latent_digits.config import SpaceSettings
from nce_jax import likelihood

LEVELS = 256


class Space(NamedTuple):
    """Coordinates, and what leads back to images.

    Attributes:
        mean: mean logit of every pixel, (784,).
        axes: principal axes times the standard deviations along them, (784, 784); a column each.
        train: coordinates of training images, (n, dim).
        test: all coordinates of test images, (k, 784).
        log_base: log density of the Gaussian at the test images, pixels from 0 to 1, (k,).
    """

    mean: np.ndarray
    axes: np.ndarray
    train: np.ndarray
    test: np.ndarray
    log_base: np.ndarray


def make_space(settings: SpaceSettings, key: jax.Array, images: GrayImages) -> Space:
    """Principal coordinates of the logits, with axes of the training images."""
    keys = jax.random.split(key, settings.num_dequantizations + 1)
    logits, _ = _logits(keys[0], images.train)
    mean = logits.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(np.cov(logits, rowvar=False, dtype=np.float64))
    scales, vectors = np.sqrt(values[::-1]), vectors[:, ::-1]
    if not values[0] > 0:
        raise ValueError(f"images: expected logits that vary in every direction, got {values[0]}")
    whiten = (vectors / scales).astype(np.float32)

    def coordinates(key: jax.Array, levels: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        logits, log_det = _logits(key, levels)
        return (logits - mean.astype(np.float32)) @ whiten[:, :dim], log_det

    train = [coordinates(key, images.train, settings.dim)[0] for key in keys[:-1]]
    test, log_det = coordinates(keys[-1], images.test, PIXELS)
    log_normal = -0.5 * (test.astype(np.float64) ** 2 + np.log(2 * np.pi)).sum(axis=1)
    log_base = log_normal - np.log(scales).sum() + log_det
    return Space(mean, vectors * scales, np.concatenate(train), test, log_base)


def _logits(key: jax.Array, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = likelihood.dequantize(key, jnp.asarray(levels))
    return tuple(map(np.asarray, likelihood.logit_transform(x)))


def to_images(space: Space, coordinates: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
    """Images in [0, 1], (n, 784), of the first coordinates.

    `rest` are all other coordinates, (n, 784 - dim); None is zero, their mean.
    """
    dim = coordinates.shape[1]
    logits = space.mean + coordinates @ space.axes[:, :dim].T
    if rest is not None:
        logits = logits + rest @ space.axes[:, dim:].T
    return np.asarray(jax.nn.sigmoid(logits))
