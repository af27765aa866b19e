"""Images as samples: checks of their shape, and conversion from and to vectors."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._types import Array, LogDensityFn, Params
from nce_jax.models._checks import check_not_params

ImageShape = tuple[int, int, int]


def as_image_shape(image_shape: Sequence[int]) -> ImageShape:
    """Returns (height, width, channels) as a tuple; raises unless all are positive integers."""
    if (
        not isinstance(image_shape, Sequence)
        or isinstance(image_shape, str)
        or len(image_shape) != 3
    ):
        raise ValueError(f"image_shape: expected (height, width, channels), got {image_shape!r}")
    for index, size in enumerate(image_shape):
        check_positive_int(f"image_shape[{index}]", size)
    height, width, channels = image_shape
    return height, width, channels


def as_images(x: Array, image_shape: ImageShape) -> jax.Array:
    """Returns samples (samples, dim) as images (samples, height, width, channels)."""
    return jnp.reshape(x, (jnp.shape(x)[0], *image_shape))


def taking_images(log_density_fn: LogDensityFn, image_shape: ImageShape) -> LogDensityFn:
    """Returns a log density of images or vectors from one of vectors, as which noise is drawn."""

    def images_log_density_fn(params: Params, x: Array) -> Array:
        return log_density_fn(params, _as_vectors(x, image_shape))

    return images_log_density_fn


def _as_vectors(x: Any, image_shape: ImageShape) -> jax.Array:
    check_not_params(x)
    shape, dim = jnp.shape(x), math.prod(image_shape)
    if len(shape) < 2 or shape[1:] not in (image_shape, (dim,)):
        images = ", ".join(map(str, image_shape))
        raise ValueError(
            f"x: expected shape (samples, {images}) or (samples, {dim}), got shape {shape}"
        )
    return jnp.reshape(x, (shape[0], dim))
