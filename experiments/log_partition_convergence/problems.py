"""The two problems: log ratios of a batch, and its F* by code independent of the library."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.log_partition_convergence.config import Config
from nce_jax import noise


class Ratios(NamedTuple):
    """Log ratios of data and of noise, (..., batch_size)."""

    data: jax.Array
    noise: jax.Array


def ring(key: jax.Array, config: Config) -> Ratios:
    """One batch of figure 1: unit Gaussians on a circle in a plane of R^dim, against N(0, I).

    The model is the true log density plus `log_partition`.
    """
    key_component, key_data, key_angle = jax.random.split(key, 3)
    means = _means(key_angle, config)
    reference = noise.standard_normal(config.dim)
    log_constant = config.dim / 2 * math.log(2 * math.pi) + math.log(config.num_components)
    shape = (config.batch_size,)
    x_noise = reference.sample(seed=jax.random.fold_in(key, 1), sample_shape=shape)
    x_data = means[jax.random.randint(key_component, shape, 0, config.num_components)]
    x_data += jax.random.normal(key_data, (*shape, config.dim))

    def log_ratio(x: jax.Array) -> jax.Array:
        squares = jnp.sum(jnp.square(x[:, None] - means[None]), axis=-1)
        log_density = jax.nn.logsumexp(-squares / 2, axis=-1) - log_constant + config.log_partition
        return log_density - reference.log_prob(x)

    return Ratios(log_ratio(x_data), log_ratio(x_noise))


def _means(key: jax.Array, config: Config) -> jax.Array:
    if config.random_angles:
        angles = 2 * jnp.pi * jax.random.uniform(key, (config.num_components,))
    else:
        angles = 2 * jnp.pi * jnp.arange(config.num_components) / config.num_components
    plane = config.radius * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return jnp.pad(plane, ((0, 0), (0, config.dim - 2)))


def gaussian_pair(key: jax.Array, separation: jax.Array, config: Config) -> Ratios:
    """One batch of figure 7: N(separation, 1) against N(0, 1).

    The model is the true log density plus `log_partition`. The same key gives the same noise draws
    at every separation.
    """
    draws = jax.random.normal(key, (2, config.batch_size))
    slope, offset = separation, config.log_partition - jnp.square(separation) / 2
    return Ratios(slope * (draws[0] + separation) + offset, slope * draws[1] + offset)


def reference_root(ratios: Ratios) -> np.ndarray:
    """F* at kappa = 1 in float64, by plain bisection of log mean P - log mean Q in NumPy.

    This is sound where the data lie above the noise, as here: both means are then far from 1
    somewhere near the root.
    """
    data, noise_ = (np.asarray(side, np.float64) for side in ratios)
    lower = np.minimum(data.min(-1), noise_.min(-1))
    upper = np.maximum(data.max(-1), noise_.max(-1))
    for _ in range(80):
        middle = (lower + upper) / 2
        balance = _log_mean_sigmoid(middle[..., None] - data) - _log_mean_sigmoid(
            noise_ - middle[..., None]
        )
        lower, upper = np.where(balance <= 0, middle, lower), np.where(balance >= 0, middle, upper)
    return (lower + upper) / 2


def _log_mean_sigmoid(values: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(-np.logaddexp(0, -values), axis=-1) - np.log(values.shape[-1])


def bar_slope(ratios: Ratios, root: np.ndarray) -> np.ndarray:
    """Factor by which a BAR step multiplies a small error: 1 - rho'(F*), in (-1, 1).

    A negative factor means that the step overshoots F*.
    """
    distances = (
        root[..., None] - np.asarray(ratios.data),
        np.asarray(ratios.noise) - root[..., None],
    )
    fractions = []
    for distance in distances:
        log_p = -np.logaddexp(0, -distance)
        # Both means decay like exp(-separation^2 / 8); only their ratio matters.
        p = np.exp(log_p - log_p.max(-1, keepdims=True))
        fractions.append(np.mean(p * np.exp(log_p), axis=-1) / np.mean(p, axis=-1))
    return fractions[0] + fractions[1] - 1
