"""The two Gaussians, the data's parameters, and where a run may start."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.gaussian_16d.config import Config


class Problem(NamedTuple):
    """Data N(0, diag(variances)) against noise N(0, I), with all parameters of the data's family.

    The model is exp(<x^2, a> + <x, b> - F) with params = (a, b).
    """

    variances: jax.Array

    @property
    def params(self) -> jax.Array:
        """Parameters of the data: a = -1 / (2 v), b = 0."""
        return jnp.concatenate([-1 / (2 * self.variances), jnp.zeros_like(self.variances)])

    @property
    def log_partition(self) -> jax.Array:
        return jnp.sum(jnp.log(2 * jnp.pi * self.variances)) / 2


def make_problem(config: Config, key: jax.Array) -> Problem:
    bounds = {"minval": config.smallest_variance, "maxval": config.largest_variance}
    return Problem(jax.random.uniform(key, (config.dim,), **bounds))


def model_log_partition(params: jax.Array) -> jax.Array:
    """log Z of the model, params (..., 2 dim); infinite where x^2 has a coefficient >= 0."""
    square, linear = jnp.split(params, 2, axis=-1)
    curvature = jnp.where(square < 0, -square, jnp.nan)
    terms = jnp.log(jnp.pi / curvature) / 2 + linear**2 / (4 * curvature)
    return jnp.sum(jnp.where(square < 0, terms, jnp.inf), axis=-1)


class Start(NamedTuple):
    """theta0 = square + scale * N(0, 1) and F0, as numbers for a sweep."""

    square: float
    scale: float
    log_partition: float


def starts(config: Config) -> dict[str, Start]:
    """Starts by name. The first is that of figure 3, where the model is the noise, normalized."""
    log_z = float(config.dim * jnp.log(2 * jnp.pi) / 2)
    return {
        "the noise, F0 = log Z": Start(-0.5, 0.0, log_z),
        "the noise, F0 = 0": Start(-0.5, 0.0, 0.0),
        "theta0 = 0, F0 = 0": Start(0.0, 0.0, 0.0),
        "theta0 ~ N(0, 0.01), F0 = 0": Start(0.0, 0.1, 0.0),
    }
