"""Mean, covariance and a scale for every dimension that is never zero."""

import jax
import jax.numpy as jnp


def weighted_moments(
    points: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean (dim,) and maximum likelihood covariance (dim, dim) of points (samples,
    dim).
    """
    mean, centered, weights = _centered(points, weights)
    # Full precision: the default of accelerators keeps ten bits, too few for a Cholesky factor.
    covariance = jnp.matmul((centered * weights).T, centered, precision=jax.lax.Precision.HIGHEST)
    return mean, covariance


def mean_and_variance(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and the maximum likelihood variance, each (dim,), of points (samples,
    dim).
    """
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
    # The second pass removes the rounding of the first, so that a constant dimension comes out as
    # constant.
    correction = jnp.sum(weights * centered, axis=0)
    return mean + correction, centered - correction[None], weights


def exceeds_rounding(spread: jax.Array, location: jax.Array) -> jax.Array:
    """Whether a spread is more than the rounding of values at that location: False means
    constant.
    """
    return spread > 4 * jnp.finfo(spread.dtype).eps * jnp.abs(location)


def positive_variance(variance: jax.Array, mean: jax.Array) -> jax.Array:
    """Returns the variance (dim,); where a dimension is constant, the average of the others, or
    one.
    """
    varies = exceeds_rounding(jnp.sqrt(variance), mean)
    total = jnp.sum(jnp.where(varies, variance, 0))
    typical = jnp.where(total > 0, total / jnp.maximum(jnp.sum(varies), 1), 1)
    return jnp.where(varies, variance, typical)
