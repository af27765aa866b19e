"""Bisection of the bracket: binary search, the slow and certain method."""

import jax
import jax.numpy as jnp

from nce_jax.log_partition._equations import evaluate
from nce_jax.log_partition._types import Problem, Solver, State, bracket
from nce_jax.numerics import weighted_sum


def bisection() -> Solver:
    """Binary search between the smallest and the largest log-ratio.

    The bracket contains F*(kappa) for every kappa, and halves at every step: about 25 steps from a range of 30 nats to 1e-6.

    Returns:
      A `Solver` for `solve_log_partition`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([0.2, 1.0, 3.0]), jnp.array([-2.0, -0.5, 0.1])
      >>> solution = nce_jax.solve_log_partition(s_data, s_noise, solver=nce_jax.bisection())
      >>> print(f"{solution.log_partition:.4f} in {solution.num_steps} steps")
      0.2364 in 19 steps

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation, 2024, lemma 3.2.
    """
    return Solver(_init, _step)


def _init(problem: Problem, initial: jax.Array) -> State:
    return initial_state(problem, initial)


def _step(problem: Problem, state: State) -> State:
    balance = evaluate(problem, state.estimate)
    lower, upper = narrow(state, balance.residual)
    estimate = midpoint(lower, upper)
    return state._replace(
        estimate=estimate,
        lower=lower,
        upper=upper,
        error=jnp.maximum(upper - estimate, estimate - lower),
        residual=balance.residual,
        log_overlap=balance.log_overlap,
    )


def initial_state(problem: Problem, initial: jax.Array) -> State:
    """The state that every solver starts from: the whole bracket, a point inside it, nothing known.

    An initial point outside the bracket tells nothing, and a warm start from a failed solve is NaN: begin halfway between
    the sample means instead, which is the root itself for Gaussians of one width.
    """
    lower, upper = bracket(problem)
    unknown = jnp.full_like(lower, jnp.inf)
    means = [weighted_sum(side.values, side.weights) / side.total for side in (problem.data, problem.noise)]
    is_inside = (initial >= lower) & (initial <= upper)
    estimate = jnp.where(is_inside, initial, jnp.clip(midpoint(*means), lower, upper))
    return State(estimate, lower, upper, error=unknown, residual=unknown, log_overlap=-unknown)


def narrow(state: State, residual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bracket after the sign of the residual at the estimate is known; a root hit exactly closes it."""
    lower = jnp.where(residual <= 0, state.estimate, state.lower)
    upper = jnp.where(residual >= 0, state.estimate, state.upper)
    return lower, upper


def midpoint(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The middle of an interval, without overflow."""
    return lower + (upper - lower) / 2
