"""The equation for F far from its root, where the two sides are compared on the log scale."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._numerics import expand, weighted_sum
from nce_jax.log_partition.equation import acceptance_logits
from nce_jax.log_partition.problem import Problem, Samples

MAX_LINEAR = 0.9
"""Residuals up to this size are g / H, which saturates at 1 in a gap. Larger ones are compared on
the log scale."""


@jax.custom_batching.custom_vmap
def near_or_far(problem: Problem, log_partition, count, residual) -> tuple[jax.Array, jax.Array]:
    """Residual and Newton step: as given near the root, and from the log scale far from it.

    The log scale costs twice the rest and is rarely needed, so that it is in a branch of a `cond`.
    Under `vmap` a `cond` would always compute both branches; the rule below therefore turns the
    mapped axis into a leading batch axis.
    """
    is_near = jnp.abs(residual) <= MAX_LINEAR

    def with_far():
        far_residual, far_step = _far(problem, log_partition, count)
        return jnp.where(is_near, residual, far_residual), jnp.where(is_near, -residual, far_step)

    return jax.lax.cond(jnp.all(is_near), lambda: (residual, -residual), with_far)


@near_or_far.def_vmap
def _near_or_far_vmap(axis_size, in_batched, *args):
    def add_batch(leaf, is_batched):
        return leaf if is_batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return near_or_far(*jax.tree.map(add_batch, args, tuple(in_batched))), (True, True)


class _LogTails(NamedTuple):
    """Logs of the weighted mean tails where d > 0 and where d <= 0, and of the slopes there."""

    positive: jax.Array
    negative: jax.Array
    positive_slope: jax.Array
    negative_slope: jax.Array


def _far(
    problem: Problem, log_partition: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Residual and Newton step from the log scale.

    They are g / H where that is small, else the difference of the logs and its Newton step.
    """
    log_kappa = problem.log_kappa
    logits_data, logits_noise = acceptance_logits(problem, log_partition)
    data, noise = _log_tails(logits_data, problem.data), _log_tails(logits_noise, problem.noise)
    left = jnp.logaddexp(
        jnp.logaddexp(data.negative, log_kappa + noise.positive), jnp.log(jnp.maximum(count, 0))
    )
    right = jnp.logaddexp(
        jnp.logaddexp(data.positive, log_kappa + noise.negative), jnp.log(jnp.maximum(-count, 0))
    )
    left_slope = jnp.logaddexp(data.negative_slope, log_kappa + noise.positive_slope)
    right_slope = jnp.logaddexp(data.positive_slope, log_kappa + noise.negative_slope)
    difference = left - right
    far_step = -difference / (jnp.exp(left_slope - left) + jnp.exp(right_slope - right))
    residual = jnp.expm1(difference) * jnp.exp(right - jnp.logaddexp(left_slope, right_slope))
    is_near = jnp.abs(difference) <= MAX_LINEAR
    return jnp.where(is_near, residual, difference), jnp.where(is_near, -residual, far_step)


def _log_tails(logits: jax.Array, samples: Samples) -> _LogTails:
    is_positive, size = logits > 0, jnp.abs(logits)
    # Each side is scaled by its nearest sample, so that a gap of thousands of nats does not
    # underflow.
    nearest = [
        jnp.min(size, axis=-1, initial=jnp.inf, where=mask) for mask in (is_positive, ~is_positive)
    ]
    # A sample that adds nothing is at an infinite distance, also from an infinite nearest one.
    nearest = [jnp.where(jnp.isinf(distance), 0, distance) for distance in nearest]
    decay = jnp.exp(jnp.where(is_positive, expand(nearest[0]), expand(nearest[1])) - size)
    body = 1 / (1 + jnp.exp(-size))
    log_total = jnp.log(samples.total)

    def log_sum(values, mask, nearest):
        total = weighted_sum(jnp.where(mask, values, 0), samples.weights)
        return jnp.where(total == 0, -jnp.inf, jnp.log(total) - nearest - log_total)

    sides = (is_positive, nearest[0]), (~is_positive, nearest[1])
    return _LogTails(
        *(
            log_sum(values, *side)
            for values in (decay * body, decay * body * body)
            for side in sides
        )
    )
