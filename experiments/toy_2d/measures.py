"""Measures of a model: densities integrated over a square, and heights at the modes."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax

EDGE = 6.0
"""Coordinate beyond which lie hardly any data and less than 5e-5 of the noise, so that a model is
undetermined there."""


class Square(NamedTuple):
    """Midpoints x (cells, 2) of a square's cells, their area, and log densities of data and noise.

    The densities are normalized over the cells, as is a model when it is measured: divergences are
    those of the cells' masses.
    """

    x: jax.Array
    log_area: float
    log_data: jax.Array
    log_noise: jax.Array


class Measures(NamedTuple):
    """Measures of one model, in nats.

    Attributes:
      divergence: KL(p* || p_theta), the model normalized over the square.
      loss: NCE loss at the F in use, by quadrature, without the sampling error of a batch.
      log_partition: log Z over the square.
      profiled: F*(kappa), the F that minimizes this loss; it equals log Z only for the true model.
      outside: fraction of the model's mass beyond `EDGE`.
      heights: normalized log density at the modes, (modes,).
    """

    divergence: jax.Array
    loss: jax.Array
    log_partition: jax.Array
    profiled: jax.Array
    outside: jax.Array
    heights: jax.Array


def make_square(
    log_data: Callable, log_noise: Callable, half_width: float, num_cells: int
) -> Square:
    axis = half_width * ((2 * np.arange(num_cells) + 1) / num_cells - 1)
    x = jnp.asarray(
        np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), jnp.float32
    )
    log_area = 2 * float(np.log(2 * half_width / num_cells))
    densities = (
        log_density - log_integral(log_density, log_area)
        for log_density in (log_data(x), log_noise(x))
    )
    return Square(x, log_area, *densities)


def log_integral(log_density: jax.Array, log_area: float) -> jax.Array:
    return jax.nn.logsumexp(log_density) + log_area


def measure(
    square: Square,
    log_density: jax.Array,
    log_density_at_modes: jax.Array,
    log_partition: jax.Array,
    magnification: float | jax.Array = 1.0,
    noise_ratio: float | jax.Array = 1.0,
) -> Measures:
    """Measures phi, given at the cells and at the modes, with F = `log_partition` in use.

    Loss and F* are those of the training at this magnification and noise ratio.
    """
    log_z = log_integral(log_density, square.log_area)
    log_model = log_density - log_z
    log_ratio = log_density - square.log_noise
    data, noise, model = (
        jnp.exp(log_p + square.log_area) for log_p in (square.log_data, square.log_noise, log_model)
    )
    options = {
        "weights_data": data,
        "weights_noise": noise,
        "magnification": magnification,
        "noise_ratio": noise_ratio,
    }
    is_outside = jnp.max(jnp.abs(square.x), axis=-1) > EDGE
    return Measures(
        divergence=jnp.sum(data * jnp.where(data > 0, square.log_data - log_model, 0)),
        loss=nce_jax.nce_loss(log_ratio, log_ratio, log_partition=log_partition, **options),
        log_partition=log_z,
        profiled=nce_jax.solve_log_partition(log_ratio, log_ratio, **options).log_partition,
        outside=jnp.sum(jnp.where(is_outside, model, 0)),
        heights=log_density_at_modes - log_z,
    )


def imbalance(heights: np.ndarray) -> np.ndarray:
    """Depth imbalance of the modes: the s.d. of the log density over them, on the last axis.

    It is zero for the data's own density.
    """
    return np.std(heights, axis=-1)
