"""The log ratio of a stage: a perceptron, and a concave quadratic along every coordinate.

The noise is wider than the data, so that a quadratic is part of every log ratio. It cannot grow,
and the perceptron grows at most linearly: with a Gaussian noise log Z is finite.
"""

from typing import Any

import distrax
import jax
import jax.numpy as jnp

from experiments.latent_digits.config import CellSettings
from nce_jax import models, telescoping


def wide_normal(settings: CellSettings) -> Any:
    """The noise: a Gaussian `width` times as wide as the data in every direction."""
    scale = jnp.full(settings.dim, settings.width)
    return distrax.MultivariateNormalDiag(jnp.zeros(settings.dim), scale)


def initial(settings: CellSettings, key: jax.Array, num_stages: int) -> Any:
    """Initial parameters of K stages, on a leading axis."""

    def one(key: jax.Array) -> Any:
        perceptron, _ = models.mlp_energy(key, settings.dim, hidden=settings.hidden)
        linear = jnp.zeros(settings.dim)
        return {"perceptron": perceptron, "linear": linear, "quadratic": linear - 3}

    return jax.vmap(one)(jax.random.split(key, num_stages))


def log_ratio_fn(settings: CellSettings) -> Any:
    """Log ratio of one stage as a function of parameters and points, (n, dim) -> (n,)."""
    _, perceptron_fn = models.mlp_energy(jax.random.key(0), settings.dim, hidden=settings.hidden)

    def log_ratio(params: Any, z: jax.Array) -> jax.Array:
        bowl = 0.5 * z**2 @ jax.nn.softplus(params["quadratic"])
        return perceptron_fn(params["perceptron"], z) + z @ params["linear"] - bowl

    return log_ratio


def stages_fn(settings: CellSettings) -> Any:
    """Log ratios of all stages: (K, n, dim) -> (K, n)."""
    return telescoping.separate(log_ratio_fn(settings))
