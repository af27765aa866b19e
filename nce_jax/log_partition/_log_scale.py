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


class Tails(NamedTuple):
    """Weighted mean tails of one side of the equation, with an entry for d > 0 and one for d <= 0.

    Each is divided by exp(-nearest), with the smallest |d| of its samples, and is therefore of
    order one: a gap of thousands of nats does not underflow.
    """

    values: tuple[jax.Array, jax.Array]
    slopes: tuple[jax.Array, jax.Array]
    nearest: tuple[jax.Array, jax.Array]

    def unscaled(self) -> tuple[jax.Array, jax.Array]:
        """The signed tail of the side, and its slope."""
        scales = [jnp.exp(-nearest) for nearest in self.nearest]
        signed = self.values[1] * scales[1] - self.values[0] * scales[0]
        return signed, self.slopes[0] * scales[0] + self.slopes[1] * scales[1]

    def logs(self, means: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """The logs of `values` or `slopes`, without their scale."""
        positive, negative = (
            jnp.log(mean) - nearest for mean, nearest in zip(means, self.nearest, strict=True)
        )
        return positive, negative


def scaled_tails(logits: jax.Array, samples: Samples) -> Tails:
    """The tails of one side, each scaled by its nearest sample."""
    is_positive, size = logits > 0, jnp.abs(logits)
    masks = is_positive, ~is_positive
    smallest = [jnp.min(size, axis=-1, initial=jnp.inf, where=mask) for mask in masks]
    # There is none without a sample; the mean is then zero, whatever its scale.
    nearest = [jnp.where(jnp.isfinite(value), value, 0) for value in smallest]

    def of_sample(values: list[jax.Array]) -> jax.Array:
        return jnp.where(is_positive, expand(values[0]), expand(values[1]))

    decay = jnp.exp(of_sample(nearest) - size)
    # exp(-|d|), without a second exponential per sample.
    body = 1 / (1 + decay * of_sample([jnp.exp(-value) for value in nearest]))

    def means(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        positive, negative = (
            weighted_sum(jnp.where(mask, values, 0), samples.weights) / samples.total
            for mask in masks
        )
        return positive, negative

    tails = decay * body
    return Tails(means(tails), means(tails * body), (nearest[0], nearest[1]))


@jax.custom_batching.custom_vmap
def near_or_far(problem: Problem, log_partition, constant, residual) -> tuple[jax.Array, jax.Array]:
    """Residual and Newton step: as given near the root, and from the log scale far from it.

    The log scale costs twice the rest and is rarely needed, so that it is in a branch of a `cond`.
    Under `vmap` a `cond` would always compute both branches; the rule below therefore turns the
    mapped axis into a leading batch axis.
    """

    def with_far():
        logits_data, logits_noise = acceptance_logits(problem, log_partition)
        data = scaled_tails(logits_data, problem.data)
        noise = scaled_tails(logits_noise, problem.noise)
        return select_far(problem, data, noise, constant, residual)

    is_near = jnp.all(_is_informative(problem, residual))
    return jax.lax.cond(is_near, lambda: (residual, -residual), with_far)


@near_or_far.def_vmap
def _near_or_far_vmap(axis_size, in_batched, *args):
    def add_batch(leaf, is_batched):
        return leaf if is_batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return near_or_far(*jax.tree.map(add_batch, args, tuple(in_batched))), (True, True)


def select_far(
    problem: Problem, data: Tails, noise: Tails, constant: jax.Array, residual: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Residual and Newton step, from the log scale where g / H is not informative.

    `constant` is the part of the equation apart from the tails. On the log scale, residual and
    step are g / H where that is small, else the difference of the logs and its Newton step.
    """
    log_kappa = problem.log_kappa
    (data_above, data_below), (noise_above, noise_below) = (
        side.logs(side.values) for side in (data, noise)
    )
    left = jnp.logaddexp(
        jnp.logaddexp(data_below, log_kappa + noise_above), jnp.log(jnp.maximum(constant, 0))
    )
    right = jnp.logaddexp(
        jnp.logaddexp(data_above, log_kappa + noise_below), jnp.log(jnp.maximum(-constant, 0))
    )
    left_slope, right_slope = _log_slopes(problem, data, noise, constant)
    difference = left - right
    far_step = -difference / (jnp.exp(left_slope - left) + jnp.exp(right_slope - right))
    far_residual = jnp.expm1(difference) * jnp.exp(right - jnp.logaddexp(left_slope, right_slope))
    is_near = jnp.abs(difference) <= MAX_LINEAR
    step = jnp.where(is_near, -far_residual, far_step)
    is_given = _is_informative(problem, residual)
    return (
        jnp.where(is_given, residual, jnp.where(is_near, far_residual, difference)),
        jnp.where(is_given, -residual, step),
    )


def _log_slopes(
    problem: Problem, data: Tails, noise: Tails, constant: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logs of the slopes of both sides; a pull belongs to the side of the constant."""
    data_above, data_below = data.logs(data.slopes)
    noise_above, noise_below = noise.logs(noise.slopes)
    left = jnp.logaddexp(data_below, problem.log_kappa + noise_above)
    right = jnp.logaddexp(data_above, problem.log_kappa + noise_below)
    if problem.pull is None:
        return left, right
    log_pull = jnp.log(problem.pull.slope)
    return (
        jnp.where(constant > 0, jnp.logaddexp(left, log_pull), left),
        jnp.where(constant < 0, jnp.logaddexp(right, log_pull), right),
    )


def _is_informative(problem: Problem, residual: jax.Array) -> jax.Array:
    """Where g / H tells the distance to the root: up to its saturation, or with a pull."""
    if problem.pull is None:
        return jnp.abs(residual) <= MAX_LINEAR
    return jnp.isfinite(residual)
