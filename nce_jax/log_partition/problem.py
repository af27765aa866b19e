"""What goes into a solve and what comes out: Problem, State, Solver, Solution, Status."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair, as_scalar_array, check_instance
from nce_jax._numerics import ignore_unweighted, log_noise_weight, total_weight
from nce_jax._partial import compared_by_parts
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.log_partition._support import ends, share


class Status(IntEnum):
    """How a solve ended: one value per batch entry, as data that survives `jit` and `vmap`.

    A solve has *failed* where its log partition is NaN: MAX_STEPS and NONFINITE. The last member
    occurs only in results that have a standard error, not in a `Solution`.

    Attributes:
      CONVERGED: the log partition is within the tolerance of the root.
      MAX_STEPS: failed, because the step limit was reached first.
      NONFINITE: failed, because a log ratio, a weight or the noise weight was NaN, infinite or out
        of its range, which is 1e-31 to 8e37 for the noise weight in float32. Infinite log ratios
        are out of range where the loss is infinite at every F: -inf on a data sample, +inf on a
        noise sample. With the other sign the sample counts, and adds exactly nothing to the
        equation; the solve fails only if no other sample is left.
      NO_OVERLAP: solved, but overlap * (n + m) < 1. The value is the exact minimizer of the loss
        and yet no estimate of a log Z, since hardly any sample of one set is plausible under the
        other.
      LOW_OVERLAP: solved, but fewer than `MIN_EFFECTIVE_SAMPLES` effective samples are behind the
        standard error: the overlap is low, or samples are few. The value is right for these
        samples; intervals of +- 1.96 standard errors contain the truth too rarely.
    """

    CONVERGED = 0
    MAX_STEPS = 1
    NONFINITE = 2
    NO_OVERLAP = 3
    LOW_OVERLAP = 4


class Solution(NamedTuple):
    """The result of a solve; every field has the batch shape.

    Attributes:
      log_partition: F*, in nats; NaN where the solve failed (MAX_STEPS, NONFINITE).
      residual: of the equation at the last point evaluated, in nats: the signed distance of that
        point to the root, to first order, however poor the overlap. The error is between log(1 +
        |r|) and -log(1 - |r|) (docs/design.md).
      num_evaluations: evaluations of the equation on all samples, int32; of large sets in float64
        one may be made in float32.
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


@compared_by_parts
class Solver(NamedTuple):
    """A method for solving for F: two pure functions, without loop, tolerance or step limit.

    `solve_problem` owns those three. It ends an entry once `State.error` is within the tolerance,
    so that a method is responsible for a bound that holds.

    Attributes:
      init: `init(problem, initial) -> State`; `initial` is NaN where the caller gave none.
      step: `step(problem, state) -> State`, one evaluation of the equation.
      fused_step: the same without a data-dependent branch, for `fixed_steps` on an accelerator;
        None where `step` has no branch.
      attempt: `attempt(problem, initial, tolerance, max_steps)`, a short way that serves many
        lanes: a `Run` whose lanes that are done are solved. The others begin with `init`. None
        where there is none.
    """

    init: Callable[[Problem, jax.Array], State]
    step: Callable[[Problem, State], State]
    fused_step: Callable[[Problem, State], State] | None = None
    attempt: Callable[..., Any] | None = None


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


def check_problem(problem: Any) -> None:
    """Raises TypeError unless this is a `Problem`."""
    check_instance("problem", problem, Problem, "make_problem(...) returns")


def as_lanes(name: str, value: Any, problem: Any) -> Any:
    """A number, or one per batch entry of the problem, as it was given; raises otherwise."""
    check_problem(problem)
    return as_scalar_array(name, value, jnp.shape(problem.data.values)[:-1])


def bracket(problem: Problem) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    r"""An interval that contains F*(kappa) for every kappa.

    Its ends are the smallest and the largest log ratio of both sets. Where a fraction 1 - a of the
    data has s = +inf, and a fraction 1 - b of the noise s = -inf, these samples are left out, and
    both ends are shifted by log(b / a). The center of the pull, if any, is in the interval too.

    Args:
      problem: the equation.

    Returns:
      The lower and the upper end, (*batch). They are not finite where a log ratio is NaN, -inf on
      the data or +inf on the noise, or where no sample of a side is left.

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
    check_problem(problem)
    data, noise = ends(problem.data.values, jnp.inf), ends(problem.noise.values, -jnp.inf)
    shift = log_share_ratio(problem)
    lower, upper = jnp.minimum(data[0], noise[0]) + shift, jnp.maximum(data[1], noise[1]) + shift
    if problem.pull is None:
        return lower, upper
    center = problem.pull.center
    return jnp.minimum(lower, center), jnp.maximum(upper, center)


def log_share_ratio(problem: Problem) -> jax.Array:
    """log(b / a), the shift of the root by samples that add nothing; 0 where there are none."""
    return jnp.log(share(*problem.noise, -jnp.inf)) - jnp.log(share(*problem.data, jnp.inf))
