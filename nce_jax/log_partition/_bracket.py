"""The bracket of the root: the initial state of every solver, and the step that narrows it."""

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar_array, check_instance
from nce_jax._types import Array, Float
from nce_jax.log_partition._support import mean
from nce_jax.log_partition.problem import Problem, State, as_lanes, bracket, log_share_ratio


def initial_state(problem: Problem, initial: Float[Array, "*batch"]) -> State:
    """The state before the first step: the whole bracket, a point inside it, and no error bound.

    An initial point outside the bracket carries no information, and a warm start from a failed
    solve is NaN. In both cases the iteration starts halfway between the two sample means, which is
    the root itself for Gaussians of equal width.

    Args:
      problem: the equation.
      initial: where to start, one per batch entry.

    Returns:
      A `State`, whose `error` and `residual` are infinite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> state = log_partition.initial_state(problem, jnp.float32(jnp.nan))
      >>> print(state.estimate, state.lower, state.upper)
      0.625 -1.0 2.0
    """
    initial = as_lanes("initial", initial, problem)
    lower, upper = bracket(problem)
    unknown = jnp.full_like(lower, jnp.inf)
    means = mean(*problem.data, jnp.inf), mean(*problem.noise, -jnp.inf)
    middle = midpoint(*means) + log_share_ratio(problem)
    is_inside = (initial >= lower) & (initial <= upper)
    estimate = jnp.where(is_inside, initial, jnp.clip(middle, lower, upper))
    return State(estimate, lower, upper, error=unknown, residual=unknown, log_overlap=-unknown)


def narrow_bracket(
    state: State, residual: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The bracket after an evaluation: its estimate replaces the end on the same side of the root.

    Args:
      state: the state before the evaluation.
      residual: of the equation at `state.estimate`; its sign says on which side the root lies.

    Returns:
      The lower and the upper end, (*batch); both are the estimate where the residual is zero, and
        the ends of before where it is NaN.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> state = log_partition.initial_state(problem, jnp.float32(0.0))
      >>> evaluation = log_partition.evaluate_equation(problem, state.estimate)
      >>> lower, upper = log_partition.narrow_bracket(state, evaluation.residual)
      >>> print(lower, upper)
      0.0 2.0
    """
    check_instance("state", state, State, "initial_state(...) returns")
    residual = as_scalar_array("residual", residual, jnp.shape(state.estimate))
    lower = jnp.where(residual <= 0, state.estimate, state.lower)
    upper = jnp.where(residual >= 0, state.estimate, state.upper)
    return lower, upper


def midpoint(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The middle of an interval, without overflow."""
    return lower + (upper - lower) / 2
