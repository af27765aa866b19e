"""Bennett's fixed point, F <- F - rho(F): the acceptance-ratio iteration."""

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real, as_scalar, check_positive
from nce_jax._partial import EqualPartial
from nce_jax._types import Scalars
from nce_jax.log_partition._bracket import initial_state
from nce_jax.log_partition.equation import bennett_residual
from nce_jax.log_partition.evaluation import error_bound, evaluate_equation
from nce_jax.log_partition.problem import Problem, Solver, State


def fixed_point(learning_rate: Scalars = 1.0) -> Solver:
    r"""Bennett's self-consistent iteration, F <- F - learning_rate * rho(F).

    .. math::
       \rho(F) = \log \operatorname{mean}_i \sigma(\log\kappa - u(x_i))
       - \log\big(\kappa \operatorname{mean}_j \sigma(u(y_j) - \log\kappa)\big), \qquad u = s - F.

    With a learning rate of at
    most one no step increases the distance to the root (lemma B.1). Where data and noise hardly
    overlap the iteration is slow or oscillates, and a rate above one may diverge; it then ends with
    MAX_STEPS and not with a wrong result. So it does on an equation with a `Pull`, which the step
    does not include. One step is the BAR update of Sevekari et al.

    Args:
      learning_rate: positive factor of the step; a traced number, or one per batch entry.

    Returns:
      A `Solver` for `solve_log_partition`.

    Raises:
      TypeError: `learning_rate` is no number.
      ValueError: a plain number that is not finite and positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([0.2, 1.0, 3.0]), jnp.array([-2.0, -0.5, 0.1])
      >>> solution = nce_jax.solve_log_partition(s_data, s_noise, solver=nce_jax.fixed_point())
      >>> print(f"{solution.log_partition:.4f} in {solution.num_evaluations} steps")
      0.2364 in 8 steps

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eqs.
        12-13.
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eqs. 9-11.
    """

    check_positive("learning_rate", learning_rate)
    rate = as_real("learning_rate", learning_rate)
    return Solver(
        _init,
        EqualPartial(_move, rate, is_branchless=False),
        EqualPartial(_move, rate, is_branchless=True),
    )


def _move(learning_rate: Scalars, problem: Problem, state: State, *, is_branchless: bool) -> State:
    evaluation = evaluate_equation(problem, state.estimate, is_branchless=is_branchless)
    rate = as_scalar("learning_rate", learning_rate, problem.data.values)
    estimate = state.estimate - rate * bennett_residual(problem, state.estimate)
    bound = error_bound(evaluation.residual)
    # The triangle inequality holds for every equation, and for the step as it was rounded.
    error = bound + jnp.abs(estimate - state.estimate)
    if problem.pull is None:
        # By lemma B.1 the bound at the old point holds at the new one; a rate above one increases
        # it by this factor. The lemma is about the exact rho, a difference of two logarithms.
        stretch = jnp.maximum(1, jnp.abs(rate) + jnp.abs(rate - 1))
        size = 4 + jnp.abs(evaluation.log_overlap) + jnp.abs(problem.log_kappa)
        rounding = jnp.abs(rate) * jnp.finfo(rate.dtype).eps * size
        error = jnp.minimum(error, stretch * bound + rounding)
    return state._replace(
        estimate=estimate,
        error=error,
        residual=evaluation.residual,
        log_overlap=evaluation.log_overlap,
    )


def _init(problem: Problem, initial: jax.Array) -> State:
    """The state of the other solvers, but at any finite `initial`, even outside the bracket."""
    state = initial_state(problem, initial)
    return state._replace(estimate=jnp.where(jnp.isfinite(initial), initial, state.estimate))
