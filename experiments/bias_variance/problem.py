"""Gaussian data N(mu 1, I) and noise N(0, I), with a model that tilts the noise.

The log ratio of the model is <theta, x>.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Problem(NamedTuple):
    """The data N(mean 1, I) against the noise N(0, I).

    The data's own parameters are mean 1, and the exact likelihood gradient at theta is mean 1 -
    theta.
    """

    dim: int
    mean: float

    @property
    def truth(self) -> jax.Array:
        return jnp.full(self.dim, self.mean)

    def draw(self, key: jax.Array, num_seeds: int, num_samples: int) -> jax.Array:
        """Samples of data and of noise, (seed, 2, n, dim)."""
        shift = jnp.array([self.mean, 0.0])[None, :, None, None]
        return jax.random.normal(key, (num_seeds, 2, num_samples, self.dim)) + shift


def log_ratio(theta: jax.Array, x: jax.Array) -> jax.Array:
    """s = <theta, x>, the log of the tilt."""
    return x @ theta


def log_z(theta: jax.Array) -> jax.Array:
    """log E_noise[e^s] = |theta|^2 / 2."""
    return jnp.sum(theta**2) / 2


def normalized_log_ratio(theta: jax.Array, x: jax.Array) -> jax.Array:
    return log_ratio(theta, x) - log_z(theta)


def grid(per_decade: int, largest: float) -> jax.Array:
    """M from 0.1 to 10^largest, evenly on a log scale."""
    return 10 ** jnp.linspace(-1, largest, round((largest + 1) * per_decade) + 1)
