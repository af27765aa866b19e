"""Losses of an output layer, by name: estimates of the sum over the vocabulary."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nce_jax

FULL, SAMPLED = "full softmax", "sampled softmax"


class Batch(NamedTuple):
    """States of a step, (n, dim), its targets and noise as rows of the table, and their log q."""

    hidden: jax.Array
    targets: jax.Array
    noise_ids: jax.Array
    log_noise: Mapping[str, jax.Array]


# A loss maps the table's rows, a batch, the learned F and M to its value and the F it used.
Loss = Callable[[Mapping[str, jax.Array], Batch, Any, Any], tuple[jax.Array, jax.Array]]


def full(table: Mapping[str, jax.Array], hidden: jax.Array, targets: jax.Array) -> jax.Array:
    return nce_jax.losses.full_softmax_loss(hidden, targets, **table)


def sampled(table, batch: Batch, log_partition, magnification):
    loss = nce_jax.losses.sampled_softmax_loss(
        *batch[:3],
        **table,
        log_noise_ids=batch.log_noise["log_noise_ids"],
        magnification=magnification,
    )
    return loss, jnp.zeros(())


def zero(table, batch: Batch, log_partition, magnification):
    return _nce(table, batch, jnp.zeros(()), magnification)


def learned(table, batch: Batch, log_partition, magnification):
    return _nce(table, batch, log_partition, magnification)


def solved(table, batch: Batch, log_partition, magnification):
    """NCE with the F that minimizes the batch's loss.

    By the envelope theorem, the gradient is the one at constant F.
    """
    s_data, s_noise = jax.lax.stop_gradient(
        nce_jax.losses.vocabulary_log_ratios(*batch[:3], **table, **batch.log_noise)
    )
    solution = nce_jax.solve_log_partition(
        s_data,
        s_noise.reshape(-1),
        magnification=magnification,
        noise_ratio=float(batch.noise_ids.size),
    )
    return _nce(table, batch, jax.lax.stop_gradient(solution.log_partition), magnification)


def _nce(table, batch: Batch, log_partition, magnification):
    loss = nce_jax.losses.vocabulary_nce_loss(
        *batch[:3],
        **table,
        **batch.log_noise,
        log_partition=log_partition,
        magnification=magnification,
    )
    return loss, log_partition


NCE: Mapping[str, Loss] = {"NCE, F = 0": zero, "NCE, F learned": learned, "NCE, F solved": solved}
LOSSES: Mapping[str, Loss] = {SAMPLED: sampled, **NCE}
