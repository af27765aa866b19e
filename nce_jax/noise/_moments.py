"""Mean and covariance of data, and a scale for every dimension that is never zero."""

import jax
import jax.numpy as jnp

from nce_jax._numerics import exceeds_rounding


def weighted_moments(
    points: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Returns mean (dim,) and maximum likelihood covariance (dim, dim) of (weighted) data."""
    mean, centered, weights = _centered(points, weights)
    # Full precision: the default of accelerators keeps ten bits, too few for a Cholesky factor.
    covariance = jnp.matmul((centered * weights).T, centered, precision=jax.lax.Precision.HIGHEST)
    return mean, covariance


def mean_and_variance(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and the maximum likelihood variance of data, both of shape (dim,)."""
    mean, centered, weights = _centered(points, None)
    return mean, jnp.sum(weights * centered**2, axis=0)


def _centered(
    points: jax.Array, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    if weights is None:
        weights = jnp.ones(points.shape[0], points.dtype)
    weights = (weights / jnp.sum(weights))[:, None]
    mean = jnp.sum(weights * points, axis=0)
    centered = points - mean[None]
    # The second pass removes the rounding error of the first, so that the variance of a constant
    # dimension is zero.
    correction = jnp.sum(weights * centered, axis=0)
    return mean + correction, centered - correction[None], weights


def positive_variance(variance: jax.Array, mean: jax.Array) -> jax.Array:
    """Returns the variance (dim,), with a typical value where a dimension is constant.

    The typical value is the average variance of all other dimensions, or one if all are constant.
    """
    varies = exceeds_rounding(jnp.sqrt(variance), mean)
    total = jnp.sum(jnp.where(varies, variance, 0))
    typical = jnp.where(total > 0, total / jnp.maximum(jnp.sum(varies, dtype=total.dtype), 1), 1)
    return jnp.where(varies, variance, typical)
