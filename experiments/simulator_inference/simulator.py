"""A linear Gaussian simulator, x = A theta + noise, whose posterior is known.

theta ~ N(0, I) has two dimensions, and x has three.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MATRIX = np.array([[1.0, 0.0], [0.6, 0.8], [0.5, -1.0]])
NUM_PARAMETERS = MATRIX.shape[1]


class Pairs(NamedTuple):
    """Parameters (n, 2) and the simulations from them, (n, 3)."""

    theta: jax.Array
    x: jax.Array


def simulate(key: jax.Array, num_pairs: int, noise_scale: float) -> Pairs:
    key_theta, key_x = jax.random.split(key)
    theta = jax.random.normal(key_theta, (num_pairs, NUM_PARAMETERS))
    noise = jax.random.normal(key_x, (num_pairs, MATRIX.shape[0]))
    return Pairs(theta, theta @ jnp.asarray(MATRIX.T, theta.dtype) + noise_scale * noise)


def posterior(x: np.ndarray, noise_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Means (n, 2) of p(theta | x) for observations (n, 3), and their common covariance."""
    covariance = np.linalg.inv(np.eye(NUM_PARAMETERS) + MATRIX.T @ MATRIX / noise_scale**2)
    return x @ MATRIX @ covariance / noise_scale**2, covariance


def grid(num_cells: int, half_width: float) -> tuple[np.ndarray, float]:
    """Midpoints (cells, 2) of a square's cells, and the area of a cell."""
    edges = np.linspace(-half_width, half_width, num_cells + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    points = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(
        -1, NUM_PARAMETERS
    )
    return points, float(edges[1] - edges[0]) ** 2


def log_prior(theta: np.ndarray) -> np.ndarray:
    return -0.5 * (theta**2).sum(-1) - np.log(2 * np.pi)


def log_posterior(theta: np.ndarray, x: np.ndarray, noise_scale: float) -> np.ndarray:
    """Log posterior (observations, points), for points (points, 2) and observations (n, 3)."""
    mean, covariance = posterior(x, noise_scale)
    deviation = theta[None] - mean[:, None]
    exponent = np.einsum("npi,ij,npj->np", deviation, np.linalg.inv(covariance), deviation)
    return -0.5 * exponent - np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(covariance)[1]
