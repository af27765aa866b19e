"""Eight equal Gaussians on a circle: data, and measures of samples against them, in their units.

Experiments whose samples have known modes share them: samplers of few steps, one-step generators.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Config(Protocol):
    """What the settings of an experiment have to say.

    Attributes:
      radius: distance of the modes from the origin.
      std: standard deviation of a mode.
      num_projections: number of directions of the sliced distance.
    """

    @property
    def radius(self) -> float: ...
    @property
    def std(self) -> float: ...
    @property
    def num_projections(self) -> int: ...


class Measures(NamedTuple):
    """What is measured of a set of samples.

    Attributes:
      sliced: the sliced 2-Wasserstein distance to as many data.
      mmd: the maximum mean discrepancy, squared, of a Gaussian kernel of width 1; unbiased.
      good: share of samples within three standard deviations of a mode, .99 of the data.
      modes: number of modes that are nearest to at least a fourth of their share.
      mode_kl: KL of the masses of the modes, by the nearest one, to equal masses, in nats.
      spread: root mean square distance of the good samples to their mode, relative to the data's.
    """

    sliced: jax.Array
    mmd: jax.Array
    good: jax.Array
    modes: jax.Array
    mode_kl: jax.Array
    spread: jax.Array


def centers(config: Config) -> np.ndarray:
    """The modes, (8, 2)."""
    angles = np.arange(8) * np.pi / 4
    return (config.radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).astype(np.float32)


def draw_data(config: Config, key: jax.Array, count: int) -> jax.Array:
    """Data in their own units, (count, 2)."""
    key_mode, key_normal = jax.random.split(key)
    mode = jax.random.randint(key_mode, (count,), 0, 8)
    return jnp.asarray(centers(config))[mode] + config.std * jax.random.normal(
        key_normal, (count, 2)
    )


def measure(config: Config, x: jax.Array, data: jax.Array, key: jax.Array) -> Measures:
    """The measures of samples x against data, (n, 2) each."""
    distance = jnp.linalg.norm(x[:, None] - jnp.asarray(centers(config))[None], axis=-1)
    nearest = distance.min(axis=1)
    masses = jnp.mean(jax.nn.one_hot(distance.argmin(axis=1), 8), axis=0)
    is_good = nearest < 3 * config.std
    square = jnp.sum(jnp.where(is_good, nearest**2, 0)) / jnp.maximum(jnp.sum(is_good), 1)
    return Measures(
        sliced_distance(x, data, key, config.num_projections),
        discrepancy(x[:1024], data[:1024]),
        jnp.mean(is_good.astype(x.dtype)),
        jnp.sum((masses >= 1 / 32).astype(x.dtype)),
        jnp.sum(jnp.where(masses > 0, masses * jnp.log(jnp.maximum(8 * masses, 1e-30)), 0)),
        jnp.sqrt(square / (2 * config.std**2)),
    )


def sliced_distance(
    x: jax.Array, data: jax.Array, key: jax.Array, num_projections: int
) -> jax.Array:
    """The sliced 2-Wasserstein distance (Bonneel et al., 2015) of two sets of equal size."""
    direction = jax.random.normal(key, (2, num_projections))
    direction /= jnp.linalg.norm(direction, axis=0, keepdims=True)
    first, second = (jnp.sort(side @ direction, axis=0) for side in (x, data))
    return jnp.sqrt(jnp.mean((first - second) ** 2))


def discrepancy(x: jax.Array, data: jax.Array) -> jax.Array:
    """The squared maximum mean discrepancy of two sets, unbiased (Gretton et al., 2012, eq. 3)."""

    def kernel(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.exp(-jnp.sum((a[:, None] - b[None]) ** 2, axis=-1) / 2)

    def within(a: jax.Array) -> jax.Array:
        return (jnp.sum(kernel(a, a)) - len(a)) / (len(a) * (len(a) - 1))

    return within(x) + within(data) - 2 * jnp.mean(kernel(x, data))
