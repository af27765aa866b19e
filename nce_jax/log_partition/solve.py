"""`solve_log_partition`: the one function that owns the loop, the tolerance and the step limit."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar, check_positive, check_positive_int
from nce_jax._types import LogRatio, Scalars, Weights
from nce_jax.log_partition._newton import newton
from nce_jax.log_partition.equation import lacks_overlap
from nce_jax.log_partition.implicit import implicit_root
from nce_jax.log_partition.problem import (
    Problem,
    Solution,
    Solver,
    State,
    Status,
    bracket,
    make_problem,
)

_NEWTON = newton()
_WRITTEN_OUT = 8


def solve_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    solver: Solver = _NEWTON,
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> Solution:
    """Solves for the profiled normalizer F*(kappa), the minimizer of the NCE loss in the log
    partition.

    F* is the root of E_data[sigma(log kappa - u)] = kappa E_noise[sigma(u - log kappa)], u = s - F,
    with s given by `log_ratio_data` and `log_ratio_noise` and kappa = `noise_ratio` *
    `magnification`. It is what training needs; it equals the model's log Z only if the data follow
    the model, or as kappa -> infinity.

    The answer is differentiable to any order in every array argument, by the implicit function
    theorem, and the solver runs under `jit`, `vmap` and `grad`. A failed solve is data: look at
    `status`, or call `check_solution` outside `jit`.

    Args:
      log_ratio_data: s of the data samples, (*batch, n).
      log_ratio_noise: s of the noise samples, (*batch, m).
      magnification: M > 0, virtual copies of the noise; a number or one per batch entry, traced.
      noise_ratio: nu > 0, prior odds noise : data; likewise.
      weights_data: weights >= 0 of the data samples, broadcastable to them; need not be normalized.
      weights_noise: the same for the noise samples.
      solver: `newton()`, `bisection()` or `fixed_point()`.
      initial: where to start; None, or (but for `fixed_point`) a value outside the range of the
        log-ratios, starts halfway between the two sample means. A warm start saves steps.
      tolerance: admissible error of F in nats; None takes eps^(3/4) of the dtype (6e-6, or 2e-12 in
        float64). It is never taken smaller than F's own rounding.
      max_steps: evaluations allowed.
      fixed_steps: makes exactly that many evaluations, with nothing to decide in between: an
        accelerator then never waits to be told by the host whether to go on. What is not within the
        tolerance by then is MAX_STEPS.

    Returns:
      A `Solution` of arrays with the batch shape. Inputs in bfloat16 or float16 are solved in
      float32.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 2 + jax.random.normal(key_data, (500,))
      >>> x_noise = jax.random.normal(key_noise, (500,))
      >>> log_ratio = lambda x: (
      ...     2 * x
      ... )  # the model is N(2, 1), of log partition 2, against noise N(0, 1)
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
    solver: Solver = _NEWTON,
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> Solution:
    """Solves an equation that is gathered already: what a criterion of your own hands over.

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
      TypeError: `solver` is no solver.
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
    limits: dict[str, Any] = {"max_steps": max_steps, "fixed_steps": fixed_steps}
    return attempt(problem, solver=solver, initial=initial, tolerance=tolerance, **limits)[0]


def root_of(problem: Problem, log_partition: Scalars | None) -> jax.Array:
    """The root that the caller brought, or that of `problem` where there is none."""
    if log_partition is not None:
        return as_scalar("log_partition", log_partition, problem.data.values)
    return solve_problem(problem).log_partition


def attempt(
    problem: Problem,
    *,
    solver: Solver = _NEWTON,
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> tuple[Solution, jax.Array]:
    """The solution, and the point that was reached: where to go on from if the steps ran out."""
    if not isinstance(solver, Solver):
        raise TypeError(f"solver: expected a Solver such as newton(), got {solver!r}")
    check_positive("tolerance", tolerance)
    check_positive_int("max_steps", max_steps)
    if fixed_steps is not None:
        check_positive_int("fixed_steps", fixed_steps)
    limits = {"max_steps": max_steps, "fixed_steps": fixed_steps}
    return _attempt(problem, initial, tolerance, solver=solver, **limits)


@functools.partial(jax.jit, static_argnames=("solver", "max_steps", "fixed_steps"))
def _attempt(
    problem: Problem, initial, tolerance, *, solver: Solver, max_steps: int, fixed_steps: int | None
) -> tuple[Solution, jax.Array]:
    """Jitted for those who call the solver outside `jit`: a bare `while_loop` would be compiled
    anew at every call, and every operation around it once, which takes a third of the first call's
    time.
    """
    fixed = jax.lax.stop_gradient(problem)
    is_valid = _is_valid(fixed)
    move = solver.step if fixed_steps is None else solver.fused_step or solver.step
    start = _Run(
        solver.init(fixed, _initial(fixed, initial)),
        jnp.zeros(is_valid.shape, jnp.int32),
        ~is_valid,
    )
    run = _iterate(
        functools.partial(_step, problem=fixed, tolerance=tolerance, move=move),
        start,
        max_steps,
        fixed_steps,
    )
    root = implicit_root(run.state.estimate, problem)
    status = _status(fixed, run, is_valid)
    solved = (status == Status.CONVERGED) | (status == Status.NO_OVERLAP)
    solution = Solution(
        log_partition=jnp.where(solved, root, jnp.nan),
        residual=jnp.where(is_valid, run.state.residual, jnp.nan),
        num_evaluations=run.num_evaluations,
        status=status,
    )
    return solution, run.state.estimate


class _Run(NamedTuple):
    state: State
    num_evaluations: jax.Array
    is_done: jax.Array


def _iterate(
    step: Callable[[_Run], _Run], run: _Run, max_steps: int, fixed_steps: int | None
) -> _Run:
    """Steps all lanes until each is certified within the tolerance, or a fixed number of times."""

    def is_running(run: _Run) -> jax.Array:
        return jnp.any(~run.is_done & (run.num_evaluations < max_steps))

    if fixed_steps is None:
        return jax.lax.while_loop(is_running, step, run)
    # A few are written out, for the compiler to fuse; a loop of known length asks nobody either.
    return jax.lax.fori_loop(
        0, fixed_steps, lambda _, run: step(run), run, unroll=fixed_steps <= _WRITTEN_OUT
    )


def _step(
    run: _Run, problem: Problem, tolerance: Scalars | None, move: Callable[[Problem, State], State]
) -> _Run:
    """One evaluation for every lane; finished lanes stand still."""
    state = jax.tree.map(
        lambda old, new: jnp.where(run.is_done, old, new), run.state, move(problem, run.state)
    )
    return _Run(
        state,
        run.num_evaluations + ~run.is_done,
        run.is_done | (state.error <= _tolerance(tolerance, state)),
    )


def _tolerance(tolerance: Scalars | None, state: State) -> jax.Array:
    # eps^(3/4) lies above the rounding of the sums for up to millions of samples, in float32 as in
    # float64.
    eps = jnp.finfo(state.estimate.dtype).eps
    wanted = jnp.asarray(eps**0.75 if tolerance is None else tolerance, state.estimate.dtype)
    return jnp.maximum(wanted, 2 * eps * jnp.abs(state.estimate))


def _initial(problem: Problem, initial: Scalars | None) -> jax.Array:
    """The caller's starting point; NaN, where there is none, lets the solver choose."""
    return as_scalar(
        "initial",
        jnp.nan if initial is None else jax.lax.stop_gradient(initial),
        problem.data.values,
    )


def _is_valid(problem: Problem) -> jax.Array:
    """True where a lane can be solved: finite log-ratios, weights >= 0 that sum to something, kappa
    in range.
    """
    lower, upper = bracket(problem)  # a NaN anywhere is the minimum and the maximum
    # The square root of the dtype's range, 1e-19 to 1e19 in float32, keeps kappa times a mean from
    # under- or overflow.
    largest = 0.5 * math.log(jnp.finfo(lower.dtype).max)
    is_valid = jnp.isfinite(upper - lower) & (jnp.abs(problem.log_kappa) <= largest)
    for side in (problem.data, problem.noise):
        is_valid &= jnp.isfinite(side.total) & (side.total > 0)
        if side.weights is not None:
            is_valid &= jnp.all(side.weights >= 0, axis=-1)
    return is_valid


def _status(problem: Problem, run: _Run, is_valid: jax.Array) -> jax.Array:
    solved = jnp.where(
        lacks_overlap(problem, run.state.log_overlap), Status.NO_OVERLAP, Status.CONVERGED
    )
    return jnp.select(
        [~is_valid, ~run.is_done], [Status.NONFINITE, Status.MAX_STEPS], solved
    ).astype(jnp.int32)
