"""The stages of a chain inside a train step: their bridges, and one number of each for all."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._bridges import Space, bridges
from nce_jax._checks import relative_weights
from nce_jax._levels import Coefficients, NumbersPerStage, count_stages
from nce_jax._numerics import highest
from nce_jax.log_partition import Status
from nce_jax.training._state import Batch
from nce_jax.training._treatments import LogPartitionUpdate


class Stages(NamedTuple):
    """What makes K stages of a pair of samples.

    Attributes:
      noise_levels: a_0 = 0 < ... < a_K = 1, (K + 1,), or their coefficients.
      space: the space in which bridges are straight; None is that of the samples.
    """

    noise_levels: NumbersPerStage | Coefficients
    space: Space | None

    @property
    def num_stages(self) -> int:
        """K."""
        return count_stages(self.noise_levels)

    def sides(self, x_data: Any, x_noise: Any) -> tuple[jax.Array, jax.Array]:
        """Samples of the stages' data and noise, (K, n, ...) each, of the same pairs."""
        levels: Any = self.noise_levels
        x = bridges(x_data, x_noise, noise_levels=levels, space=self.space)
        return x[:-1], x[1:]


def pair_weights(batch: Batch) -> Batch:
    """The batch with the weights of its pairs on both sides: every bridge is one of a pair."""
    given = [
        weights for weights in (batch.weights_data, batch.weights_noise) if weights is not None
    ]
    if len(given) == 2:
        # The product of two scales may leave the range; that of two negative weights is positive.
        given = [_relative(given[0]) * _relative(given[1])]
    weights = given[0] if given else None
    return batch._replace(weights_data=weights, weights_noise=weights)


def _relative(weights: Any) -> jax.Array:
    weights = jnp.asarray(weights)
    weights = weights.astype(jnp.promote_types(weights.dtype, jnp.float32))
    return jnp.where(weights < 0, jnp.nan, relative_weights(weights, jnp))


def worst_of_stages(inputs: dict[str, Any]) -> dict[str, Any]:
    """Log ratios of one row, (n,), with that of each sample that is farthest from finite."""
    return {
        name: value if name.startswith("weights") else worst(value)
        for name, value in inputs.items()
    }


def worst(log_ratio: jax.Array) -> jax.Array:
    """The log ratio that is farthest from finite, of those along the first axis."""
    # A NaN or +inf of any stage is the maximum.
    largest = highest(log_ratio, axis=0)
    has_none = jnp.isneginf(log_ratio).any(axis=0) & jnp.isfinite(largest)
    return jnp.where(has_none, -jnp.inf, largest)


_BY_SEVERITY = (Status.NONFINITE, Status.MAX_STEPS, Status.NO_OVERLAP, Status.LOW_OVERLAP)


def of_all_stages(update: LogPartitionUpdate) -> LogPartitionUpdate:
    """The update with the gravest status of all stages; the parameters wait for every stage."""
    conditions = [jnp.any(update.status == status) for status in _BY_SEVERITY]
    waits = update.params_wait
    return update._replace(
        num_evaluations=jnp.sum(update.num_evaluations),
        status=jnp.select(conditions, [jnp.int32(s) for s in _BY_SEVERITY], Status.CONVERGED),
        params_wait=None if waits is None else jnp.any(waits),
    )
