"""What goes into a solve and what comes out: Problem, State, Solver, Solution, Status."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_pair
from nce_jax._types import Array, Float, Real
from nce_jax.numerics import ignore_unweighted, log_noise_weight, total_weight


class Status(IntEnum):
    """How a solve ended, one per batch entry, as data that survives `jit` and `vmap`.

    CONVERGED: the log partition is within the tolerance of the root. MAX_STEPS: the step limit came
    first; the log partition is NaN. NONFINITE: a log-ratio, weight or noise weight was NaN,
    infinite or out of its range; the log partition is NaN. NO_OVERLAP: solved, but overlap * (n +
    m) < 1: the value is the exact minimizer of the loss and yet no estimate of a log Z, since
    hardly any sample of one set is plausible under the other.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    NO_OVERLAP = 3


class Solution(NamedTuple):
    """The answer of a solve; every field has the batch shape.

    Attributes:
      log_partition: F*, in nats; NaN where the solve failed (MAX_STEPS, NONFINITE).
      residual: of the equation at the last point evaluated, in nats: that point's signed distance
        to the root, to first order, however poor the overlap. The error is between log(1 + |r|) and
        -log(1 - |r|) (docs/design.md).
      num_evaluations: evaluations of the equation used, int32.
      status: a `Status`, int32.
    """

    log_partition: Float[Array, "*batch"]
    residual: Float[Array, "*batch"]
    num_evaluations: Real[Array, "*batch"]
    status: Real[Array, "*batch"]


class Samples(NamedTuple):
    """One sample set: values (*batch, n), unnormalized weights or None, and their sum (*batch)."""

    values: jax.Array
    weights: jax.Array | None
    total: jax.Array


class Pull(NamedTuple):
    """A straight line added to the equation, slope (F - center): what a quadratic penalty on u
    adds. Both (*batch).
    """

    slope: jax.Array
    center: jax.Array


class Problem(NamedTuple):
    """The equation to solve: log-ratios of data and noise, log kappa per batch entry, and a
    regularizer's pull if any.
    """

    data: Samples
    noise: Samples
    log_kappa: jax.Array
    pull: Pull | None = None


class State(NamedTuple):
    """Where an iteration stands; every field has the batch shape.

    `estimate` is the current F and `error` a bound on its distance to the root, in nats (inf when
    nothing is known). `residual` and `log_overlap` belong to the last point evaluated.
    """

    estimate: jax.Array
    lower: jax.Array
    upper: jax.Array
    error: jax.Array
    residual: jax.Array
    log_overlap: jax.Array


class Solver(NamedTuple):
    """A method as two pure functions; the loop, the tolerance and the step limit belong to
    `solve_log_partition`.

    Attributes:
      init: `init(problem, initial) -> State`.
      step: `step(problem, state) -> State`, one evaluation of the equation.
      fused_step: the same without a branch that an accelerator would have to ask the host about;
        None where `step` has none.
    """

    init: Callable[[Problem, jax.Array], State]
    step: Callable[[Problem, State], State]
    fused_step: Callable[[Problem, State], State] | None = None


def make_problem(
    log_ratio_data,
    log_ratio_noise,
    weights_data=None,
    weights_noise=None,
    magnification=1.0,
    noise_ratio=1.0,
) -> Problem:
    """Checks log-ratios and weights and gathers them into the equation of binary NCE.

    The equation of a criterion of your own starts from here: `make_problem` at its kappa, with a
    `Pull` added where it has a quadratic penalty.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples, broadcastable to them; samples of weight zero
        are replaced by one that counts, so that whatever they hold reaches nothing.
      weights_noise: the same for the noise samples.
      magnification: M > 0, a number or one per batch entry, traced.
      noise_ratio: nu > 0, as for `magnification`; kappa = noise_ratio * magnification.

    Returns:
      A `Problem` in the compute dtype, float32 or float64.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> print(f"{log_partition.solve_problem(problem).log_partition:.4f}")
      0.6556
    """
    data, noise, weights_data, weights_noise = as_pair(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    return Problem(
        data=_samples(data, weights_data),
        noise=_samples(noise, weights_noise),
        log_kappa=log_noise_weight(magnification, noise_ratio, data),
    )


def _samples(values: jax.Array, weights: jax.Array | None) -> Samples:
    return Samples(ignore_unweighted(values, weights), weights, total_weight(values, weights))


def bracket(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """An interval that contains F*(kappa) for every kappa: the smallest and the largest log-ratio
    of both sets.
    """
    lower = jnp.minimum(problem.data.values.min(-1), problem.noise.values.min(-1))
    upper = jnp.maximum(problem.data.values.max(-1), problem.noise.values.max(-1))
    return lower, upper


def check_solution(solution: Solution) -> Solution:
    """Raises if any lane of a solve failed; returns the solution otherwise.

    For host code, outside `jit`: it reads values. Inside `jit`, use `solution.status`.

    Args:
      solution: what `solve_log_partition` returned, any batch shape.

    Returns:
      The same solution.

    Raises:
      FloatingPointError: names the failed lanes and why each failed.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> solution = nce_jax.solve_log_partition(jnp.array([0.2, 1.0]), jnp.array([-0.5, 0.1]))
      >>> print(f"{nce_jax.check_solution(solution).log_partition:.4f}")
      0.1966
      >>> bad = nce_jax.solve_log_partition(
      ...     jnp.array([[0.2], [jnp.nan]]), jnp.array([[0.1], [0.1]])
      ... )
      >>> nce_jax.check_solution(bad)
      Traceback (most recent call last):
      ...
      FloatingPointError: log_partition: 1 of 2 solves failed: lane (1,) NONFINITE ...
    """
    status, residual, num_steps = (
        np.atleast_1d(np.asarray(leaf))
        for leaf in (solution.status, solution.residual, solution.num_evaluations)
    )
    failed = np.argwhere(status != Status.CONVERGED)
    if len(failed) == 0:
        return solution
    shown = "; ".join(
        _describe(tuple(int(i) for i in lane), status, residual, num_steps) for lane in failed[:10]
    )
    more = f"; and {len(failed) - 10} more" if len(failed) > 10 else ""
    raise FloatingPointError(
        f"log_partition: {len(failed)} of {status.size} solves failed: {shown}{more}"
    )


def _describe(
    lane: tuple[int, ...], status: np.ndarray, residual: np.ndarray, num_steps: np.ndarray
) -> str:
    return (
        f"lane {lane} {Status(status[lane]).name} (residual {residual[lane]:.3g} after"
        f" {num_steps[lane]} steps)"
    )
