"""Bisection of the bracket: binary search, the slow and certain method."""

import jax
import jax.numpy as jnp

from nce_jax.log_partition._equations import evaluate
from nce_jax.log_partition._types import Problem, Solver, State, bracket


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
        move=jnp.abs(estimate - state.estimate),
    )


def initial_state(problem: Problem, initial: jax.Array) -> State:
    """The state that every solver starts from: the whole bracket, the initial point inside it, nothing known."""
    lower, upper = bracket(problem)
    unknown = jnp.full_like(lower, jnp.inf)
    # A warm start from a failed solve is NaN: begin afresh rather than fail again.
    estimate = jnp.clip(jnp.where(jnp.isfinite(initial), initial, midpoint(lower, upper)), lower, upper)
    return State(estimate, lower, upper, error=unknown, residual=unknown, log_overlap=-unknown, move=upper - lower)


def narrow(state: State, residual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bracket after the sign of the residual at the estimate is known; a root hit exactly closes it."""
    lower = jnp.where(residual <= 0, state.estimate, state.lower)
    upper = jnp.where(residual >= 0, state.estimate, state.upper)
    return lower, upper


def midpoint(lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The middle of an interval, without overflow."""
    return lower + (upper - lower) / 2
