"""Inception of published FID values (the network of 2015-12-05): features of 2,048 numbers.

Inception-v3 (Szegedy et al., 2016) as TensorFlow's weights want it: averages leave out the padding,
and the last block takes the largest value of a neighborhood in place of the average.
"""

import jax
import jax.numpy as jnp
from jax import lax

from experiments.common.networks import layers
from experiments.common.networks.layers import Weights

SIDE = 299


def features(weights: Weights, images: jax.Array) -> jax.Array:
    """Features of images from 0 to 1, (n, height, width, 3) -> (n, 2048).

    Images are resized to 299 x 299 pixels as pytorch-fid does, linearly and without smoothing.
    """
    shape = (len(images), SIDE, SIDE, 3)
    x = 2 * jax.image.resize(images, shape, "linear", antialias=False) - 1
    x = _convolve(weights, "Conv2d_1a_3x3", x, 2, "VALID")
    x = _convolve(weights, "Conv2d_2a_3x3", x, 1, "VALID")
    x = _halved(_convolve(weights, "Conv2d_2b_3x3", x))
    x = _convolve(weights, "Conv2d_3b_1x1", x)
    x = _halved(_convolve(weights, "Conv2d_4a_3x3", x, 1, "VALID"))
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _block_a(weights, name, x)
    x = _block_b(weights, "Mixed_6a", x)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _block_c(weights, name, x)
    x = _block_d(weights, "Mixed_7a", x)
    x = _block_e(weights, "Mixed_7b", x, _average(x))
    x = _block_e(weights, "Mixed_7c", x, _largest(x, 1, "SAME"))
    return x.mean(axis=(1, 2))


def _convolve(
    weights: Weights, name: str, x: jax.Array, stride: int = 1, padding: str | None = None
) -> jax.Array:
    x = layers.conv(weights, f"{name}.conv", x, stride, padding)
    return jax.nn.relu(layers.batch_norm(weights, f"{name}.bn", x))


def _largest(x: jax.Array, stride: int, padding: str) -> jax.Array:
    window, strides = (1, 3, 3, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


def _halved(x: jax.Array) -> jax.Array:
    return _largest(x, 2, "VALID")


def _average(x: jax.Array) -> jax.Array:
    """The mean of a neighborhood of 3 x 3 pixels, of those that lie in the image."""

    def total(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def _branch(weights: Weights, name: str, x: jax.Array, *parts: str) -> jax.Array:
    """Convolutions one after another; their names begin alike."""
    for part in parts:
        x = _convolve(weights, f"{name}{part}", x)
    return x


def _block_a(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    branches = (
        _branch(weights, f"{name}.branch1x1", x, ""),
        _branch(weights, f"{name}.branch5x5", x, "_1", "_2"),
        _branch(weights, f"{name}.branch3x3dbl", x, "_1", "_2", "_3"),
        _branch(weights, f"{name}.branch_pool", _average(x), ""),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_b(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    tower = _branch(weights, f"{name}.branch3x3dbl", x, "_1", "_2")
    branches = (
        _convolve(weights, f"{name}.branch3x3", x, 2, "VALID"),
        _convolve(weights, f"{name}.branch3x3dbl_3", tower, 2, "VALID"),
        _halved(x),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_c(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    branches = (
        _branch(weights, f"{name}.branch1x1", x, ""),
        _branch(weights, f"{name}.branch7x7", x, "_1", "_2", "_3"),
        _branch(weights, f"{name}.branch7x7dbl", x, "_1", "_2", "_3", "_4", "_5"),
        _branch(weights, f"{name}.branch_pool", _average(x), ""),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_d(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    first = _branch(weights, f"{name}.branch3x3", x, "_1")
    second = _branch(weights, f"{name}.branch7x7x3", x, "_1", "_2", "_3")
    branches = (
        _convolve(weights, f"{name}.branch3x3_2", first, 2, "VALID"),
        _convolve(weights, f"{name}.branch7x7x3_4", second, 2, "VALID"),
        _halved(x),
    )
    return jnp.concatenate(branches, axis=-1)


def _block_e(weights: Weights, name: str, x: jax.Array, pooled: jax.Array) -> jax.Array:
    first = _branch(weights, f"{name}.branch3x3", x, "_1")
    second = _branch(weights, f"{name}.branch3x3dbl", x, "_1", "_2")
    branches = (
        _branch(weights, f"{name}.branch1x1", x, ""),
        _branch(weights, f"{name}.branch3x3", first, "_2a"),
        _branch(weights, f"{name}.branch3x3", first, "_2b"),
        _branch(weights, f"{name}.branch3x3dbl", second, "_3a"),
        _branch(weights, f"{name}.branch3x3dbl", second, "_3b"),
        _branch(weights, f"{name}.branch_pool", pooled, ""),
    )
    return jnp.concatenate(branches, axis=-1)
