"""The mean of log weights, and a bound from weights of which some are zero, with their errors."""

import jax
import jax.numpy as jnp


def mean_of_log(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean log weight, and values whose mean has its standard error."""
    return jnp.mean(log_weights), log_weights


def lower_bound(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A lower bound on the log of the mean weight, and values whose mean has its standard error.

    It is the mean log weight of those that are not zero, plus the log of their fraction f. By
    Jensen's inequality, mean w = f (mean of these w) is no less. A value is the influence of one
    chain on both terms.
    """
    is_positive = ~jnp.isneginf(log_weights)
    count = jnp.sum(is_positive, dtype=log_weights.dtype)
    fraction = count / log_weights.size
    mean = jnp.sum(jnp.where(is_positive, log_weights, 0)) / jnp.maximum(count, 1)
    influence = jnp.where(is_positive, (log_weights - mean + (1 - fraction)) / fraction, -1)
    return mean + jnp.log(fraction), influence


def error_of_mean(values: jax.Array) -> jax.Array:
    """The standard error of the mean of independent values; inf for one of them."""
    if values.size == 1:
        return jnp.full((), jnp.inf, values.dtype)
    return jnp.std(values, ddof=1) / jnp.sqrt(jnp.asarray(values.size, values.dtype))
