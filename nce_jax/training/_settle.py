"""Batches for which a treatment's F does not stand: padding, and data outside of the noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax.log_partition import Status
from nce_jax.training._state import TrainState
from nce_jax.training._treatments import LogPartitionUpdate


def is_without_samples(inputs: dict[str, Any]) -> jax.Array | None:
    """Whether all weights of a side are zero; None where the batch has no weights."""
    weights = [inputs["weights_data"], inputs["weights_noise"]]
    empty = [jnp.all(side == 0) for side in weights if side is not None]
    return functools.reduce(jnp.logical_or, empty) if empty else None


def zero_if(is_empty: jax.Array | None, value: jax.Array) -> jax.Array:
    """The value, and zero for an empty batch; `is_empty` is None where there can be none."""
    return value if is_empty is None else jnp.where(is_empty, 0, value)


def settle(
    update: LogPartitionUpdate, state: TrainState, is_uncovered: jax.Array, is_empty
) -> LogPartitionUpdate:
    """The update, failed where the noise does not cover the data, and none for an empty batch.

    A loss such as NCE's is zero at a data sample outside of the noise's support, where no model
    would be learned.
    """
    f, next_f = (
        jnp.where(is_uncovered, jnp.nan, f)
        for f in (update.log_partition, update.next_log_partition)
    )
    status = jnp.where(is_uncovered, Status.NONFINITE, update.status).astype(jnp.int32)
    waits = update.params_wait
    if waits is not None:
        waits = waits & (status != Status.NONFINITE)  # a failure does not wait to be seen
    if is_empty is None:
        return update._replace(
            log_partition=f, next_log_partition=next_f, status=status, params_wait=waits
        )
    waits = is_empty if waits is None else is_empty | waits
    return LogPartitionUpdate(
        log_partition=jnp.where(is_empty, state.log_partition, f),
        next_log_partition=jnp.where(is_empty, state.log_partition, next_f),
        num_evaluations=zero_if(is_empty, update.num_evaluations),
        status=jnp.where(is_empty, Status.CONVERGED, status).astype(jnp.int32),
        params_wait=waits,
    )
