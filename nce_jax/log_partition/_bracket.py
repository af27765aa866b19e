"""The bracket that every solver keeps: where it starts, and how an evaluation narrows it."""

import jax
import jax.numpy as jnp

from nce_jax.log_partition.problem import Problem, State, bracket
from nce_jax.numerics import weighted_sum


def initial_state(problem: Problem, initial: jax.Array) -> State:
    """The state that every solver starts from: the whole bracket, a point inside it, nothing known.

    An initial point outside the bracket tells nothing, and a warm start from a failed solve is NaN:
    begin halfway between the sample means instead, which is the root itself for Gaussians of one
    width.
    """
    lower, upper = bracket(problem)
    unknown = jnp.full_like(lower, jnp.inf)
    means = [
        weighted_sum(side.values, side.weights) / side.total
        for side in (problem.data, problem.noise)
    ]
    is_inside = (initial >= lower) & (initial <= upper)
    estimate = jnp.where(is_inside, initial, jnp.clip(midpoint(*means), lower, upper))
    return State(estimate, lower, upper, error=unknown, residual=unknown, log_overlap=-unknown)


def narrow(state: State, residual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bracket after the sign of the residual at the estimate is known; a root hit exactly
    closes it.
    """
    lower = jnp.where(residual <= 0, state.estimate, state.lower)
    upper = jnp.where(residual >= 0, state.estimate, state.upper)
    return lower, upper


def midpoint(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The middle of an interval, without overflow."""
    return lower + (upper - lower) / 2
