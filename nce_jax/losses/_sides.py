"""Both sides of a loss of log ratios, checked, and the two cases in which a loss has no gradient.

A loss compares data with noise. Where all weights of a side are zero, as in a batch that consists
of padding, there is nothing to compare, and loss and gradient are zero. Where F is NaN, because its
solve has failed, the loss is NaN and its gradient zero: otherwise one failed entry of a batch would
make the gradient of all shared parameters NaN, even if its loss is masked.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair, as_scalar
from nce_jax._numerics import expand, has_no_weight, ignore_unweighted, stop_where, weighted_mean
from nce_jax._types import Scalars


class Sides(NamedTuple):
    """Checked log ratios and weights; samples of weight zero are replaced, not to be counted.

    Attributes:
      data: log ratios of the data, (*batch, n).
      noise: log ratios of the noise, (*batch, m).
      weights_data: (*batch, n) or None.
      weights_noise: (*batch, m) or None.
      shift: F with a sample axis, (*batch, 1).
      is_empty: whether all weights of a side are zero, (*batch).
    """

    data: jax.Array
    noise: jax.Array
    weights_data: jax.Array | None
    weights_noise: jax.Array | None
    shift: jax.Array
    is_empty: jax.Array

    def mean_data(self, values: jax.Array) -> jax.Array:
        """The (weighted) mean of one value per data sample."""
        return weighted_mean(values, self.weights_data)

    def mean_noise(self, values: jax.Array) -> jax.Array:
        """The (weighted) mean of one value per noise sample."""
        return weighted_mean(values, self.weights_noise)

    def finish(self, loss: jax.Array) -> jax.Array:
        """The loss, and zero where a side has no sample."""
        return jnp.where(self.is_empty, 0, loss)


def as_sides(
    log_ratio_data: Any,
    log_ratio_noise: Any,
    weights_data: Any = None,
    weights_noise: Any = None,
    log_partition: Scalars = 0.0,
) -> Sides:
    """Checks the arguments that all losses of log ratios share; raises as `as_pair` does."""
    data, noise, weights_data, weights_noise = as_pair(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    shift = as_scalar("log_partition", log_partition, data)
    is_empty = has_no_weight(data, weights_data) | has_no_weight(noise, weights_noise)
    data, noise, weights_data, weights_noise, shift = stop_where(
        is_empty | jnp.isnan(shift), (data, noise, weights_data, weights_noise, shift)
    )
    return Sides(
        ignore_unweighted(data, weights_data),
        ignore_unweighted(noise, weights_noise),
        weights_data,
        weights_noise,
        expand(shift),
        is_empty,
    )
