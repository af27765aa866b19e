"""Gaussian data with correlated pairs of coordinates, against the product of the marginals.

Coordinates 2i and 2i + 1 of x in R^d are correlated, and the product of the marginals is N(0, I).
"""

import jax
import jax.numpy as jnp
import numpy as np


def draw(key: jax.Array, num_samples: int, dim: int, correlation: float) -> jax.Array:
    first, second = jax.random.normal(key, (2, num_samples, dim // 2))
    partner = correlation * first + np.sqrt(1 - correlation**2) * second
    return jnp.stack([first, partner], axis=-1).reshape(num_samples, dim)


def covariance(dim: int, correlation: float) -> np.ndarray:
    return np.kron(np.eye(dim // 2), [[1, correlation], [correlation, 1]])


def mutual_information(dim: int, correlation: float) -> float:
    """Mutual information in nats, -(d / 4) log(1 - rho^2), which is KL(p || q) as well.

    Each of the d / 2 pairs contributes -1/2 log(1 - rho^2).
    """
    return -dim / 4 * float(np.log1p(-(correlation**2)))
