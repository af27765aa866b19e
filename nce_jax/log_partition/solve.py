"""Solving for F, from log ratios or from an equation that is gathered already."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real, as_scalar, check_instance
from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import stop_where
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition._loop import check_loop_options
from nce_jax.log_partition._newton import newton
from nce_jax.log_partition._run import run_solver
from nce_jax.log_partition._status import find_status, find_valid
from nce_jax.log_partition.equation import bennett_residual
from nce_jax.log_partition.implicit import implicit_root
from nce_jax.log_partition.problem import (
    Problem,
    Solution,
    Solver,
    Status,
    check_problem,
    make_problem,
)

_ROOT_TOLERANCE = 0.05
"""Nats by which both sides of the equation may differ at an F that is given as its root."""


@one_program(
    *PAIR, static=("solver", "max_steps", "fixed_steps"), effect=Effect("log_partition", error=None)
)
def solve_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    solver: Solver = newton(),
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> Solution:
    r"""Solves for the profiled normalizer F*(kappa), the minimizer of the NCE loss in F.

    F* is the root of

    .. math::
       \mathbb{E}_{\mathrm{data}}[\sigma(\log\kappa - u)]
       = \kappa\, \mathbb{E}_{\mathrm{noise}}[\sigma(u - \log\kappa)], \qquad u = s - F,

    with s given by `log_ratio_data` and `log_ratio_noise`, and kappa = `noise_ratio` *
    `magnification`. It is what training needs. It equals the model's log Z only if the data follow
    the model, or as kappa -> infinity.

    The result is differentiable to any order in every array argument, by the implicit function
    theorem, and the function can be used under `jit`, `vmap` and `grad`. A failed solve raises
    nothing: it shows in `status`, or call `check_solution` outside `jit`.

    Args:
      log_ratio_data: s of the data samples, (*batch, n).
      log_ratio_noise: s of the noise samples, (*batch, m).
      magnification: M > 0, virtual copies of the noise; a number or one per batch entry, traced.
        Where kappa is not between 1e-31 and 8e37 in float32, the status is NONFINITE.
      noise_ratio: nu > 0, prior odds noise : data; as for `magnification`.
      weights_data: weights >= 0 of the data samples, broadcastable to them; need not be normalized.
      weights_noise: the same for the noise samples.
      solver: `newton()`, `bisection()`, `fixed_point()`, or your own `Solver`.
      initial: where to start. None starts halfway between the two sample means, and so does (except
        for `fixed_point`) a value outside the range of the log ratios. A warm start saves steps.
      tolerance: admissible error of F in nats; None takes eps^(3/4) of the dtype (6e-6, or 2e-12 in
        float64). It is never taken smaller than the rounding error of F.
      max_steps: evaluations allowed.
      fixed_steps: makes exactly this many evaluations, without a data-dependent stop, so that an
        accelerator needs no round trip to the host. An entry that is not within the tolerance by
        then is MAX_STEPS.

    Returns:
      A `Solution` of arrays with the batch shape. Inputs in bfloat16 or float16 are solved in
      float32.

    Raises:
      TypeError: log ratios or weights that are not floating, or a `solver` that is no `Solver`.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 2 + jax.random.normal(key_data, (500,))
      >>> x_noise = jax.random.normal(key_noise, (500,))
      >>> log_ratio = lambda x: 2 * x  # the model is N(2, 1), with log Z = 2; the noise is N(0, 1)
      >>> solution = nce_jax.solve_log_partition(log_ratio(x_data), log_ratio(x_noise))
      >>> print(f"{solution.log_partition:.4f}", nce_jax.Status(int(solution.status)).name)
      1.8521 CONVERGED

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eq. 3.
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976.
    """
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    options: dict[str, Any] = {"initial": initial, "tolerance": tolerance, "max_steps": max_steps}
    return solve_problem(problem, solver=solver, fixed_steps=fixed_steps, **options)


def solve_problem(
    problem: Problem,
    *,
    solver: Solver = newton(),
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> Solution:
    """Solves an equation for F that is given as a `Problem`, such as that of your own criterion.

    Args:
      problem: as `make_problem` or a criterion's `equation` returns it.
      solver: as in `solve_log_partition`.
      initial: as in `solve_log_partition`.
      tolerance: as in `solve_log_partition`.
      max_steps: as in `solve_log_partition`.
      fixed_steps: as in `solve_log_partition`.

    Returns:
      A `Solution` of arrays with the batch shape of `problem`, differentiable in all of its arrays.

    Raises:
      TypeError: `problem` is no `Problem`, or `solver` no `Solver`.
      ValueError: plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import criteria, log_partition
      >>> problem = criteria.nce(magnification=10.0).equation(
      ...     jnp.array([2.0, 1.0]), jnp.array([0.5])
      ... )
      >>> solution = log_partition.solve_problem(problem, solver=log_partition.bisection())
      >>> print(f"{solution.log_partition:.4f}")
      0.6430
    """
    solution, _ = solve_with_last_iterate(
        problem,
        solver=solver,
        initial=initial,
        tolerance=tolerance,
        max_steps=max_steps,
        fixed_steps=fixed_steps,
    )
    return solution


def solve_unless_given(problem: Problem, log_partition: Scalars | None) -> Float[Array, "*batch"]:
    """The F that a caller gave, in the shape of the batch, or the root where it is None.

    It serves functions with an option `log_partition=None`, such as `overlap`, whose result has a
    meaning at the root only.

    Args:
      problem: the equation.
      log_partition: F, a number or one per batch entry; or None.

    Returns:
      F, (*batch); NaN where the solve failed, and where a given F is no root: where both sides of
      the equation differ there by more than 0.05 nats, and more than the rounding of F explains.

    Raises:
      TypeError: `log_partition` is no number.
      ValueError: it does not broadcast to the batch.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> print(f"{log_partition.solve_unless_given(problem, None):.4f}")
      0.6556
      >>> print(log_partition.solve_unless_given(problem, 0.65))
      0.65
      >>> print(log_partition.solve_unless_given(problem, 50.0))
      nan

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eq. 3.
    """
    check_problem(problem)
    if log_partition is None:
        return solve_problem(problem).log_partition
    given = as_scalar("log_partition", log_partition, problem.data.values)
    return jnp.where(_is_root(*jax.lax.stop_gradient((problem, given))), given, jnp.nan)


def _is_root(problem: Problem, log_partition: jax.Array) -> jax.Array:
    # The value at the root lies between those of both sides of the equation. A small difference
    # therefore means that what is computed from either side is right, however flat the equation.
    rounding = 2 * jnp.finfo(log_partition.dtype).eps * jnp.abs(log_partition)
    is_close = jnp.abs(bennett_residual(problem, log_partition)) <= _ROOT_TOLERANCE + rounding
    return is_close & find_valid(problem)


def solve_with_last_iterate(
    problem: Problem,
    *,
    solver: Solver = newton(),
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> tuple[Solution, Float[Array, "*batch"]]:
    """Solves an equation for F and returns the last iterate as well, from which a solve can resume.

    Where the steps run out the solution is NaN, while the iterate is a number that may serve as
    `initial` of the next solve.

    Args:
      problem: as in `solve_problem`.
      solver: as in `solve_log_partition`.
      initial: as in `solve_log_partition`.
      tolerance: as in `solve_log_partition`.
      max_steps: as in `solve_log_partition`.
      fixed_steps: as in `solve_log_partition`.

    Returns:
      The `Solution`, and the last iterate of F, (*batch), which carries no derivative.

    Raises:
      TypeError: `problem` is no `Problem`, or `solver` no `Solver`.
      ValueError: plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> solution, iterate = log_partition.solve_with_last_iterate(problem, fixed_steps=1)
      >>> print(f"{solution.log_partition:.4f} {iterate:.4f}")
      nan 0.6556
      >>> solution, _ = log_partition.solve_with_last_iterate(problem, initial=iterate)
      >>> print(f"{solution.log_partition:.4f}")
      0.6556

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eq. 3.
    """
    check_problem(problem)
    check_solver_options(solver, tolerance, max_steps, fixed_steps)
    initial = None if initial is None else as_real("initial", initial)
    tolerance = None if tolerance is None else as_real("tolerance", tolerance)
    return _solve(
        problem, initial, tolerance, solver=solver, max_steps=max_steps, fixed_steps=fixed_steps
    )


def check_solver_options(solver: Any, tolerance: Any, max_steps: Any, fixed_steps: Any) -> None:
    """Raises where an option is of the wrong kind or, as a plain number, out of its range."""
    check_instance("solver", solver, Solver, "newton()")
    check_loop_options(tolerance, max_steps, fixed_steps)


@functools.partial(jax.jit, static_argnames=("solver", "max_steps", "fixed_steps"))
def _solve(
    problem: Problem, initial, tolerance, *, solver: Solver, max_steps: int, fixed_steps: int | None
) -> tuple[Solution, jax.Array]:
    """The whole solve, jitted for callers outside `jit`.

    Otherwise the `while_loop` would be compiled anew at every call, and every operation around it
    would be compiled on its own.
    """
    fixed = jax.lax.stop_gradient(problem)
    run, is_valid = run_solver(
        fixed, initial, tolerance, solver=solver, max_steps=max_steps, fixed_steps=fixed_steps
    )
    status = find_status(fixed, run, is_valid)
    solved = (status == Status.CONVERGED) | (status == Status.NO_OVERLAP)
    root = implicit_root(run.state.estimate, stop_where(~solved, problem))
    solution = Solution(
        log_partition=jnp.where(solved, root, jnp.nan),
        residual=jnp.where(is_valid, run.state.residual, jnp.nan),
        num_evaluations=jnp.where(is_valid, run.num_evaluations, 0),
        status=status,
    )
    return solution, run.state.estimate
