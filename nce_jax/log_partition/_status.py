"""Which lanes of a solve can be solved, and how each of them ended."""

import jax
import jax.numpy as jnp

from nce_jax.log_partition._loop import Run
from nce_jax.log_partition.equation import lacks_overlap
from nce_jax.log_partition.evaluation import log_kappa_range
from nce_jax.log_partition.problem import Problem, Status, bracket


def find_valid(problem: Problem) -> jax.Array:
    """True where the equation has a root, weights are >= 0 with a positive sum, kappa in range."""
    # A log ratio that no equation has a value for makes an end of the bracket infinite or NaN.
    lower, upper = bracket(problem)
    least, largest = log_kappa_range(lower.dtype)
    is_valid = jnp.isfinite(upper - lower)
    is_valid &= (problem.log_kappa >= least) & (problem.log_kappa <= largest)
    for side in (problem.data, problem.noise):
        is_valid &= jnp.isfinite(side.total) & (side.total > 0)
        if side.weights is not None:
            is_valid &= jnp.all(side.weights >= 0, axis=-1)
    if problem.pull is not None:
        # A quadratic penalty is infinite on every infinite log ratio, and with a negative slope
        # the loss has no minimum.
        slope = problem.pull.slope
        is_valid &= jnp.isfinite(problem.pull.center) & jnp.isfinite(slope) & (slope >= 0)
    return is_valid


def find_status(problem: Problem, run: Run, is_valid: jax.Array) -> jax.Array:
    """The `Status` of every lane at the end of the loop."""
    solved = jnp.where(
        lacks_overlap(problem, run.state.log_overlap), Status.NO_OVERLAP, Status.CONVERGED
    )
    return jnp.select(
        [~is_valid, ~run.is_done], [Status.NONFINITE, Status.MAX_STEPS], solved
    ).astype(jnp.int32)
