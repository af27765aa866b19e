"""Samples at which the log ratio is infinite and the equation has a value all the same.

A noise sample with s = -inf, where the model has no mass, has Q = 0, and a data sample with
s = +inf, where the noise has none, has P = 0. They count in the means and add nothing to them.
"""

import jax
import jax.numpy as jnp

from nce_jax._numerics import highest, lowest, weighted_sum


def share(
    values: jax.Array, weights: jax.Array | None, total: jax.Array, vanishing: float
) -> jax.Array:
    """The fraction of a side's weight whose log ratio is not `vanishing`; exactly 1 for all."""
    is_lost = values == vanishing
    # Not one less the lost part, which cancels where little is left.
    left = weighted_sum((~is_lost).astype(values.dtype), weights) / total
    return jnp.where(jnp.any(is_lost, axis=-1), left, 1)


def mean(
    values: jax.Array, weights: jax.Array | None, total: jax.Array, vanishing: float
) -> jax.Array:
    """The mean log ratio of the samples that are not `vanishing`."""
    counted = jnp.where(values == vanishing, 0, values)
    return weighted_sum(counted, weights) / (total * share(values, weights, total, vanishing))


def ends(values: jax.Array, vanishing: float) -> tuple[jax.Array, jax.Array]:
    """The smallest and the largest log ratio that is not `vanishing`; NaN where one is NaN."""
    # NaN differs from every number, so that it is not left out.
    is_counted = values != vanishing
    return lowest(values, where=is_counted), highest(values, where=is_counted)
