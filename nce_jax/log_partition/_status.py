"""Which lanes of a solve can be solved, and how each of them ended."""

import math

import jax
import jax.numpy as jnp

from nce_jax.log_partition._loop import Run
from nce_jax.log_partition.equation import lacks_overlap
from nce_jax.log_partition.problem import Problem, Status, bracket


def find_valid(problem: Problem) -> jax.Array:
    """True where all values are finite, weights sum to a positive number, and kappa is in range."""
    # A NaN anywhere is both the minimum and the maximum.
    lower, upper = bracket(problem)
    # Kappa is limited to the square root of the dtype's range, 1e-19 to 1e19 in float32, so that
    # its product with a mean neither underflows nor overflows.
    largest = 0.5 * math.log(jnp.finfo(lower.dtype).max)
    is_valid = jnp.isfinite(upper - lower) & (jnp.abs(problem.log_kappa) <= largest)
    if problem.pull is not None:
        # With a negative slope the loss has no minimum. The center is in the bracket.
        is_valid &= jnp.isfinite(problem.pull.slope) & (problem.pull.slope >= 0)
    for side in (problem.data, problem.noise):
        is_valid &= jnp.isfinite(side.total) & (side.total > 0)
        if side.weights is not None:
            is_valid &= jnp.all(side.weights >= 0, axis=-1)
    return is_valid


def find_status(problem: Problem, run: Run, is_valid: jax.Array) -> jax.Array:
    """The `Status` of every lane at the end of the loop."""
    solved = jnp.where(
        lacks_overlap(problem, run.state.log_overlap), Status.NO_OVERLAP, Status.CONVERGED
    )
    return jnp.select(
        [~is_valid, ~run.is_done], [Status.NONFINITE, Status.MAX_STEPS], solved
    ).astype(jnp.int32)
