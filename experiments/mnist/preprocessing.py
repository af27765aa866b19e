"""Images as vectors in [0, 1), dequantized, and the noise fitted to them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from experiments.common.mnist_images import load_images
from nce_jax import likelihood, noise

SIDE, LEVELS = 28, 256


class Data(NamedTuple):
    """Training images, uint8 (n, 784), dequantized test images (k, 784), and the noise."""

    train: jax.Array
    test: jax.Array
    noise: Any


def load(name: str, key: jax.Array) -> Data:
    """Loads a set, dequantizes its test images, and fits a Gaussian to the training images."""
    train, test = _gray_levels(name)
    key_train, key_test = jax.random.split(key)
    x_train = likelihood.dequantize(key_train, jnp.asarray(train))
    return Data(
        jnp.asarray(train),
        likelihood.dequantize(key_test, jnp.asarray(test)),
        noise.fitted_gaussian(x_train),
    )


def _gray_levels(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "digits":
        images = (
            np.asarray(load_digits().images * 15.9, np.uint8).repeat(3, axis=1).repeat(3, axis=2)
        )
        images = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, SIDE * SIDE)
        return images[:1500], images[1500:]
    return tuple(
        load_images(name, split=split).images.reshape(-1, SIDE * SIDE)
        for split in ("train", "test")
    )


def batch_fn(train: jax.Array, batch_size: int, key: jax.Array) -> Callable[[int], jax.Array]:
    """Function from a step number to a batch: random images, dequantized anew each time."""

    @jax.jit
    def batch(step: jax.Array) -> jax.Array:
        key_rows, key_levels = jax.random.split(jax.random.fold_in(key, step))
        rows = jax.random.randint(key_rows, (batch_size,), 0, train.shape[0])
        return likelihood.dequantize(key_levels, train[rows])

    return batch


def in_blocks(fn: Callable[[jax.Array], jax.Array], x: jax.Array, largest: int = 500) -> jax.Array:
    """fn(x), a value per row, computed in equal blocks of rows to limit memory."""
    block_size = next(
        block_size for block_size in range(min(largest, len(x)), 0, -1) if len(x) % block_size == 0
    )
    return jax.lax.map(fn, x.reshape(-1, block_size, x.shape[1])).reshape(-1)
