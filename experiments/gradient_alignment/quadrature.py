"""Quadrature as weighted samples: with weights = density * cell, means are integrals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradient_alignment.families import Gaussian


class Rule(NamedTuple):
    """Points shared by data and noise, with the weights of either."""

    x: jax.Array
    weights_data: jax.Array
    weights_noise: jax.Array

    @property
    def weights(self) -> dict[str, jax.Array]:
        return {"weights_data": self.weights_data, "weights_noise": self.weights_noise}


def square_grid(data: Gaussian, half_width: float, spacing: float) -> Rule:
    """The trapezoidal rule, whose error decays exponentially for smooth integrands."""
    count = round(half_width / spacing)
    axis = spacing * jnp.arange(-count, count + 1)
    x = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    noise = Gaussian(jnp.zeros(2), jnp.eye(2))
    return Rule(x, _density(data, x) * spacing**2, _density(noise, x) * spacing**2)


def _density(gaussian: Gaussian, x: jax.Array) -> jax.Array:
    centered = x - gaussian.mean[None]
    quadratic = jnp.sum(centered * jnp.linalg.solve(gaussian.covariance, centered.T).T, axis=-1)
    return jnp.exp(-quadratic / 2) / (2 * jnp.pi * jnp.sqrt(jnp.linalg.det(gaussian.covariance)))


def half_line(
    data_variance: float, *, end: float = 400.0, panels: int = 200, order: int = 16
) -> Rule:
    """Gauss-Legendre panels for e = |x|^2 / 2 of x in the plane.

    e is exponential with mean v if x ~ N(0, v I).
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(0.0, end, panels + 1)[:-1, None]
    width = end / panels
    e = jnp.asarray((edges + (nodes + 1) * width / 2).ravel())
    cells = jnp.asarray(np.tile(weights * width / 2, panels))
    return Rule(e, cells * jnp.exp(-e / data_variance) / data_variance, cells * jnp.exp(-e))
