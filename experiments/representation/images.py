"""Images in [0, 1], and random views of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from experiments.common.mnist_images import load_images
from experiments.representation.config import Config


class Split(NamedTuple):
    """Images (n, side, side) and their classes (n,)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load(config: Config, name: str) -> Split:
    """The first images of the published halves; of the digits, a random fifth is for testing."""
    if name == "digits":
        digits = load_digits()
        order = np.random.default_rng(0).permutation(len(digits.target))
        images, labels = digits.images[order] / 16, digits.target[order]
        cut = len(labels) * 4 // 5
        split = Split(images[:cut], labels[:cut], images[cut:], labels[cut:])
    else:
        train, test = (load_images(name, split=half) for half in ("train", "test"))
        split = Split(train.images / 255, train.labels, test.images / 255, test.labels)
    sizes = (config.num_train, config.num_train, config.num_test, config.num_test)
    return Split(*(leaf[:size] for leaf, size in zip(split, sizes, strict=True)))


def view(key: jax.Array, images: jax.Array) -> jax.Array:
    """Random views: shifted, partly erased, dimmed, and with noise.

    The shift is up to an eighth of the side, and the erased square measures a third of it.
    """
    return jax.vmap(_view)(jax.random.split(key, len(images)), images)


def _view(key: jax.Array, image: jax.Array) -> jax.Array:
    side = image.shape[0]
    reach, hole = side // 8, side // 3
    key_move, key_hole, key_light, key_noise = jax.random.split(key, 4)
    start = jax.random.randint(key_move, (2,), 0, 2 * reach + 1)
    shifted = jax.lax.dynamic_slice(jnp.pad(image, reach), start, (side, side))
    corner = jax.random.randint(key_hole, (2,), 0, side - hole + 1)
    erased = jax.lax.dynamic_update_slice(shifted, jnp.zeros((hole, hole), image.dtype), corner)
    light = jax.random.uniform(key_light, minval=0.6, maxval=1.0)
    return light * erased + 0.1 * jax.random.normal(key_noise, image.shape)
