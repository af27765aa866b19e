"""Two exponential families on the line, against N(0, 1), integrated by the trapezoidal rule."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax import models

SPAN = 8.0
"""Standard deviations by which the grid extends beyond data and noise, where densities are
1e-14."""


class Rule(NamedTuple):
    """Quadrature points for data and noise, with weights that turn means into expectations."""

    x: jax.Array
    weights_data: jax.Array
    weights_noise: jax.Array

    @property
    def weights(self) -> dict[str, jax.Array]:
        return {"weights_data": self.weights_data, "weights_noise": self.weights_noise}


class Problem(NamedTuple):
    """A family with the start and the truth of descent, its log ratio and its log Z."""

    rule: Rule
    start: jax.Array
    truth: jax.Array
    log_ratio_fn: Callable[[jax.Array, jax.Array], jax.Array]
    log_partition_fn: Callable[[jax.Array], jax.Array]

    def pair_distance(self, params: jax.Array, log_partition: jax.Array) -> jax.Array:
        """Distance of (theta, F) from the truth, as in the papers."""
        gap = jnp.append(params - self.truth, log_partition - self.log_partition_fn(self.truth))
        return jnp.linalg.norm(gap)


def mean_problem(separation: jax.Array, num_points: int) -> Problem:
    """T = x: N(theta, 1) against N(0, 1), s = theta x, log Z = theta^2 / 2.

    Descent starts at theta = 0, the noise.
    """
    rule = _rule(separation, 1.0, -SPAN, separation + SPAN, num_points)
    log_ratio_fn = models.exponential_family(models.linear_statistics, jnp.zeros(1))[1]
    return Problem(
        rule, jnp.zeros(1), separation[None], log_ratio_fn, lambda params: params[0] ** 2 / 2
    )


def precision_problem(separation: jax.Array, variance: float, num_points: int) -> Problem:
    """T = (x, x^2): theta = (mean, -1 / 2) / variance, starting at (0, -1 / 2), the noise.

    The grid is wide because the model in between is much wider than at the start and at the truth.
    """
    rule = _rule(separation, variance, -30.0, separation + 30.0, num_points)
    base = lambda x: (x[:, 0] ** 2 + jnp.log(2 * jnp.pi)) / 2
    log_ratio_fn = models.exponential_family(
        _linear_and_square, jnp.zeros(2), log_base_measure=base
    )[1]
    truth = jnp.stack([separation / variance, -0.5 / variance * jnp.ones_like(separation)])
    return Problem(rule, jnp.array([0.0, -0.5]), truth, log_ratio_fn, _gaussian_log_partition)


def _linear_and_square(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, x**2], axis=-1)


def _gaussian_log_partition(params: jax.Array) -> jax.Array:
    return -(params[0] ** 2) / (4 * params[1]) + jnp.log(-jnp.pi / params[1]) / 2


def _rule(mean, variance, low, high, num_points: int) -> Rule:
    x = jnp.linspace(low, high, num_points)
    cell = x[1] - x[0]
    normal = lambda mean, variance: (
        jnp.exp(-((x - mean) ** 2) / (2 * variance)) / jnp.sqrt(2 * jnp.pi * variance)
    )
    return Rule(x[:, None], cell * normal(mean, variance), cell * normal(0.0, 1.0))
