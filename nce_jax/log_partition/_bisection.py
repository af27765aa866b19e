"""Bisection of the bracket: binary search, slow and robust."""

import jax.numpy as jnp

from nce_jax.log_partition._bracket import initial_state, midpoint, narrow_bracket
from nce_jax.log_partition.evaluation import Evaluation, evaluate_equation
from nce_jax.log_partition.problem import Problem, Solver, State


def bisection() -> Solver:
    """Binary search between the smallest and the largest log-ratio.

    The bracket contains F*(kappa) for every kappa and is halved at every step: about 25 steps
    reduce a range of 30 nats to 1e-6.

    Returns:
      A `Solver` for `solve_log_partition`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([0.2, 1.0, 3.0]), jnp.array([-2.0, -0.5, 0.1])
      >>> solution = nce_jax.solve_log_partition(s_data, s_noise, solver=nce_jax.bisection())
      >>> print(f"{solution.log_partition:.4f} in {solution.num_evaluations} steps")
      0.2364 in 19 steps

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, lemma 3.2.
    """
    return Solver(initial_state, _step, _fused_step)


def _step(problem: Problem, state: State) -> State:
    return _halve(state, evaluate_equation(problem, state.estimate))


def _fused_step(problem: Problem, state: State) -> State:
    return _halve(state, evaluate_equation(problem, state.estimate, is_branchless=True))


def _halve(state: State, evaluation: Evaluation) -> State:
    lower, upper = narrow_bracket(state, evaluation.residual)
    estimate = midpoint(lower, upper)
    return state._replace(
        estimate=estimate,
        lower=lower,
        upper=upper,
        error=jnp.maximum(upper - estimate, estimate - lower),
        residual=evaluation.residual,
        log_overlap=evaluation.log_overlap,
    )
