"""The digits as points in R^64, dequantized and mapped by a logit, and their Gaussian noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

from experiments.digits.config import Config
from nce_jax import noise

NUM_LEVELS = 17


class Digits(NamedTuple):
    """Training images as gray levels, held-out images as fixed points, and the noise.

    Every use of a training image draws its own dequantization. `mean` and `scale` of the training
    data, per pixel, standardize the input of the network.
    """

    train_levels: jax.Array
    x_validation: jax.Array
    x_test: jax.Array
    noise: Any
    mean: jax.Array
    scale: jax.Array


def load(config: Config, key: jax.Array) -> Digits:
    """Splits the images by key; the noise is fitted to the training images alone."""
    key_split, key_validation, key_test, key_fit = jax.random.split(key, 4)
    levels = jnp.asarray(load_digits().data, jnp.float32)
    levels = levels[jax.random.permutation(key_split, len(levels))]
    validation, test, train = jnp.split(levels, (config.num_held_out, 2 * config.num_held_out))
    # Ten dequantizations of every image make the covariance that of the dequantized data, not of a
    # single draw.
    x_train = dequantize(key_fit, jnp.tile(train, (10, 1)), config.logit_margin)
    return Digits(
        train_levels=train,
        x_validation=dequantize(key_validation, validation, config.logit_margin),
        x_test=dequantize(key_test, test, config.logit_margin),
        noise=noise.fitted_gaussian(x_train),
        mean=x_train.mean(axis=0),
        scale=x_train.std(axis=0),
    )


def dequantize(key: jax.Array, levels: jax.Array, margin: float) -> jax.Array:
    """logit(alpha + (1 - 2 alpha) (v + e) / 17), with e uniform on [0, 1) and alpha = `margin`."""
    unit = (levels + jax.random.uniform(key, levels.shape)) / NUM_LEVELS
    squeezed = margin + (1 - 2 * margin) * unit
    return jnp.log(squeezed) - jnp.log1p(-squeezed)


def gray_levels(x: jax.Array, margin: float) -> jax.Array:
    """Inverse of the logit: v + e, between 0 and 17 (slightly outside for some noise)."""
    return NUM_LEVELS * (jax.nn.sigmoid(x) - margin) / (1 - 2 * margin)
