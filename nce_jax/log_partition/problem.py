"""What goes into a solve and what comes out: Problem, State, Solver, Solution, Status."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_pair, check_instance
from nce_jax._numerics import ignore_unweighted, log_noise_weight, total_weight
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights


class Status(IntEnum):
    """How a solve ended: one value per batch entry, as data that survives `jit` and `vmap`.

    A solve has *failed* where its log partition is NaN: MAX_STEPS and NONFINITE.

    Attributes:
      CONVERGED: the log partition is within the tolerance of the root.
      MAX_STEPS: failed, because the step limit was reached first.
      NONFINITE: failed, because a log ratio, a weight or the noise weight was NaN, infinite or out
        of its range.
      NO_OVERLAP: solved, but overlap * (n + m) < 1. The value is the exact minimizer of the loss
        and yet no estimate of a log Z, since hardly any sample of one set is plausible under the
        other.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    NO_OVERLAP = 3


class Solution(NamedTuple):
    """The result of a solve; every field has the batch shape.

    Attributes:
      log_partition: F*, in nats; NaN where the solve failed (MAX_STEPS, NONFINITE).
      residual: of the equation at the last point evaluated, in nats: the signed distance of that
        point to the root, to first order, however poor the overlap. The error is between log(1 +
        |r|) and -log(1 - |r|) (docs/design.md).
      num_evaluations: evaluations of the equation used, int32.
      status: a `Status`, int32.
    """

    log_partition: Float[Array, "*batch"]
    residual: Float[Array, "*batch"]
    num_evaluations: Real[Array, "*batch"]
    status: Real[Array, "*batch"]


class Samples(NamedTuple):
    """One sample set of a `Problem`.

    Attributes:
      values: log ratios, (*batch, n).
      weights: unnormalized weights, (*batch, n), or None. `make_problem` divides those that it is
        given by their largest, so that no sum underflows.
      total: the sum of the weights, or the number of samples, (*batch).
    """

    values: jax.Array
    weights: jax.Array | None
    total: jax.Array


class Pull(NamedTuple):
    """A straight line slope * (F - center) added to the equation, the effect of a penalty u^2.

    Attributes:
      slope: at least zero, (*batch).
      center: the F at which the line is zero, (*batch).
    """

    slope: jax.Array
    center: jax.Array


class Problem(NamedTuple):
    """The equation for F: mean P = kappa mean Q over data and noise, plus a `Pull` if any.

    Attributes:
      data: log ratios of the data.
      noise: log ratios of the noise.
      log_kappa: log of the noise weight, (*batch).
      pull: the contribution of a regularizer, or None.
    """

    data: Samples
    noise: Samples
    log_kappa: jax.Array
    pull: Pull | None = None


class State(NamedTuple):
    """The state of an iteration; every field has the batch shape.

    Attributes:
      estimate: the current F.
      lower: lower end of an interval that contains the root.
      upper: its upper end.
      error: a bound on the distance of `estimate` to the root, in nats; inf where nothing is known.
      residual: of the last point evaluated.
      log_overlap: log of the overlap, from the last point evaluated.
    """

    estimate: jax.Array
    lower: jax.Array
    upper: jax.Array
    error: jax.Array
    residual: jax.Array
    log_overlap: jax.Array


class Solver(NamedTuple):
    """A method for solving for F: two pure functions, without loop, tolerance or step limit.

    `solve_problem` owns those three. It ends an entry once `State.error` is within the tolerance,
    so that a method is responsible for a bound that holds.

    Attributes:
      init: `init(problem, initial) -> State`; `initial` is NaN where the caller gave none.
      step: `step(problem, state) -> State`, one evaluation of the equation.
      fused_step: the same without a data-dependent branch, for `fixed_steps` on an accelerator;
        None where `step` has no branch.
    """

    init: Callable[[Problem, jax.Array], State]
    step: Callable[[Problem, State], State]
    fused_step: Callable[[Problem, State], State] | None = None


def make_problem(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
) -> Problem:
    """Checks log ratios and weights and gathers them into the equation of binary NCE.

    The equation of your own criterion starts from here: `make_problem` at the kappa of its loss,
    with a `Pull` added if it has a quadratic penalty.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples, broadcastable to them; a sample of
        weight zero is replaced by one of positive weight, so that its value has no effect.
      weights_noise: the same for the noise samples.
      magnification: M > 0, a number or one per batch entry, traced.
      noise_ratio: nu > 0, as for `magnification`; kappa = noise_ratio * magnification.

    Returns:
      A `Problem` in the compute dtype, float32 or float64.

    Raises:
      TypeError: log ratios or weights that are not floating.
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


def bracket(problem: Problem) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """An interval that contains F*(kappa) for every kappa.

    Its ends are the smallest and the largest log ratio of both sets, or the center of the pull
    where that lies outside.

    Args:
      problem: the equation.

    Returns:
      The lower and the upper end, (*batch); NaN where a log ratio is NaN.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> lower, upper = log_partition.bracket(problem)
      >>> print(lower, upper)
      -1.0 2.0

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, lemma 3.2.
    """
    lower = jnp.minimum(problem.data.values.min(-1), problem.noise.values.min(-1))
    upper = jnp.maximum(problem.data.values.max(-1), problem.noise.values.max(-1))
    if problem.pull is None:
        return lower, upper
    center = problem.pull.center
    return jnp.minimum(lower, center), jnp.maximum(upper, center)


def check_solution(solution: Solution, *, allow_no_overlap: bool = True) -> None:
    """Raises if any solve failed.

    A solve failed where its log partition is NaN (MAX_STEPS, NONFINITE). NO_OVERLAP is no failure:
    F is then the exact minimizer of the loss, which training can use, and the train step does not
    count it as a failed solve either. It is no estimate of a log Z; where you need one, pass
    `allow_no_overlap=False`.

    For host code, outside `jit`, because it reads values. Inside `jit`, use `solution.status`.

    Args:
      solution: what `solve_log_partition` returned, any batch shape.
      allow_no_overlap: whether NO_OVERLAP is accepted.

    Raises:
      FloatingPointError: names the entries of the batch and their status.
      TypeError: `solution` is no `Solution`, or holds traced values.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> solution = nce_jax.solve_log_partition(jnp.array([0.2, 1.0]), jnp.array([-0.5, 0.1]))
      >>> nce_jax.check_solution(solution)
      >>> bad = nce_jax.solve_log_partition(
      ...     jnp.array([[0.2], [jnp.nan]]), jnp.array([[0.1], [0.1]])
      ... )
      >>> nce_jax.check_solution(bad)
      Traceback (most recent call last):
      ...
      FloatingPointError: log_partition: 1 of 2 solves failed: lane (1,) NONFINITE ...
    """
    check_instance("solution", solution, Solution, "solve_log_partition(...) returns")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in solution):
        raise TypeError(
            "solution: expected values, got traced arrays; inside jit read solution.status"
        )
    status, residual, num_evaluations = (
        np.atleast_1d(np.asarray(leaf))
        for leaf in (solution.status, solution.residual, solution.num_evaluations)
    )
    accepted = (Status.CONVERGED, *((Status.NO_OVERLAP,) if allow_no_overlap else ()))
    refused = np.argwhere(~np.isin(status, accepted))
    if len(refused) == 0:
        return
    lanes = "; ".join(
        _describe_lane(tuple(int(i) for i in lane), status, residual, num_evaluations)
        for lane in refused[:10]
    )
    more = f"; and {len(refused) - 10} more" if len(refused) > 10 else ""
    verdict = "failed" if allow_no_overlap else "failed or have no overlap"
    raise FloatingPointError(
        f"log_partition: {len(refused)} of {status.size} solves {verdict}: {lanes}{more}"
    )


def _describe_lane(
    lane: tuple[int, ...], status: np.ndarray, residual: np.ndarray, num_evaluations: np.ndarray
) -> str:
    return (
        f"lane {lane} {Status(status[lane]).name} (residual {residual[lane]:.3g} after"
        f" {num_evaluations[lane]} evaluations)"
    )
