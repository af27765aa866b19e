"""The loss of one batch: as a number, and as a function of the parameters for a line search."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax.criteria import Criterion
from nce_jax.training._composition import check_loss
from nce_jax.training._treatments import Treatment

Ratios = dict[str, jax.Array]


def batch_loss(
    ratios: Ratios, log_partition: jax.Array, criterion: Criterion, weights: dict[str, Any]
) -> jax.Array:
    """The loss at given log ratios, its mean over stages."""
    loss = criterion.loss(
        ratios["log_ratio_data"], ratios["log_ratio_noise"], log_partition=log_partition, **weights
    )
    check_loss(criterion, loss, jnp.shape(log_partition))
    return jnp.mean(loss)


def value_of_pair(
    pair: Any,
    *,
    forward: Callable[[Any], Ratios],
    treatment: Treatment,
    criterion: Criterion,
    weights: dict[str, Any],
) -> jax.Array:
    """The loss of the step's own batch at other parameters, under its treatment of F.

    Where F is solved for, it is solved for again: by the envelope theorem the derivative is that at
    the solved F. Otherwise it is what the pair holds.

    Args:
      pair: parameters and F.
      forward: the log ratios of the batch, from parameters.
      treatment: of F.
      criterion: the loss.
      weights: of the batch.
    """
    params, log_partition = pair
    ratios = forward(params)
    if treatment.is_profiled:
        fixed = jax.lax.stop_gradient({**ratios, **weights})
        update = treatment.update(criterion, fixed, jax.lax.stop_gradient(log_partition))
        log_partition = jax.lax.stop_gradient(update.log_partition)
    return batch_loss(ratios, log_partition, criterion, weights)
