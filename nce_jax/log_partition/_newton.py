"""Newton's method inside the bracket: the default solver."""

import jax.numpy as jnp

from nce_jax.log_partition._attempt import attempt
from nce_jax.log_partition._bracket import initial_state, midpoint, narrow_bracket
from nce_jax.log_partition.evaluation import Evaluation, evaluate_equation, newton_error_bound
from nce_jax.log_partition.problem import Problem, Solver, State


def newton() -> Solver:
    """Newton's method, safeguarded by the bracket.

    The equation is solved in a form that is nearly straight far from the root and smooth near it,
    so that a median of 1 to 5 evaluations is enough at any overlap. A step that would leave the
    bracket is replaced by bisection, and so is a step after one that hardly reduced the residual.
    Convergence is certified: the residual bounds the distance to the root, and with it the error
    that the last step leaves.

    Where the sets overlap none of this is needed: sums of powers of the acceptances, tried first,
    give a step of fourth order with a certificate of its own. From a start within a tenth of a nat
    one evaluation is then enough in float32.

    Returns:
      A `Solver` for `solve_log_partition`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([0.2, 1.0, 3.0]), jnp.array([-2.0, -0.5, 0.1])
      >>> solution = nce_jax.solve_log_partition(s_data, s_noise, solver=nce_jax.newton())
      >>> print(f"{solution.log_partition:.4f}, evaluations: {solution.num_evaluations}")
      0.2364, evaluations: 1

    References:
      Press et al., Numerical Recipes, 1992, section 9.4 (safeguarded Newton). The form of the
        residual is this library's (docs/design.md).
    """
    return Solver(initial_state, _step, _fused_step, attempt)


def _step(problem: Problem, state: State) -> State:
    return _move(state, evaluate_equation(problem, state.estimate))


def _fused_step(problem: Problem, state: State) -> State:
    return _move(state, evaluate_equation(problem, state.estimate, is_branchless=True))


def _move(state: State, evaluation: Evaluation) -> State:
    lower, upper = narrow_bracket(state, evaluation.residual)
    proposal = state.estimate + evaluation.newton_step
    is_inside = (proposal >= lower) & (proposal <= upper)
    has_shrunk = jnp.abs(evaluation.residual) <= 0.75 * jnp.abs(state.residual)
    # Proven to converge; rounding may still push the point out of the bracket.
    is_quadratic = newton_error_bound(evaluation.residual) < 0.1
    is_good = is_inside & has_shrunk | is_quadratic
    estimate = jnp.where(is_good, jnp.clip(proposal, lower, upper), midpoint(lower, upper))
    error = jnp.where(is_good, newton_error_bound(evaluation.residual), jnp.inf)
    return state._replace(
        estimate=estimate,
        lower=lower,
        upper=upper,
        error=jnp.minimum(error, jnp.maximum(upper - estimate, estimate - lower)),
        residual=evaluation.residual,
        log_overlap=evaluation.log_overlap,
    )
