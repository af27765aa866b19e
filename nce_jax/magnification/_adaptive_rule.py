"""The rule that chooses M at every training step, as the best next step for its drift and noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._numerics import weighted_mean
from nce_jax._options import check_number
from nce_jax._partial import EqualPartial
from nce_jax._types import Params
from nce_jax.magnification._candidates import Candidates, sample_derivatives, tabulate
from nce_jax.magnification._interface import (
    Choice,
    EquationAt,
    Linearize,
    MagnificationRule,
    MagnificationState,
)
from nce_jax.magnification._windows import (
    WINDOW_DIVISOR,
    Measurements,
    Motion,
    advance,
    combine,
    initial_windows,
    solve_motion,
)

_PER_DECADE = 3
"""The grid of candidates has this many values of M in a decade."""

_SIGNIFICANCE = 3.0
"""An M is excluded if the mass that it overlooks exceeds this many standard errors."""

_MEASUREMENTS_PER_WINDOW = 32
"""The training is measured this often within a window: at every step at first, then ever more
rarely."""

_MIN_RESPONSE = 0.5
"""Above this exponent of update size against gradient scale, a smaller M is assumed to shorten the
steps."""


def adaptive_magnification(*, smallest: float = 0.1, largest: float = 1e4) -> MagnificationRule:
    r"""Chooses M at every training step, for `make_train_step(..., magnification_rule=...)`.

    The rule takes the M that lowers the loss most in the next step,

    .. math::
       -s A(M) + \tfrac12 \big(c A(M)^2 + n_0 \nu(M)\big).

    The drift grows with the acceptance A(M) and the noise with nu(M). Both are computed for every
    candidate from the log ratios of the batch; s, c and n_0 are measured on the training itself
    (docs/magnification.md has the derivation). Two bounds restrict M. From above, the noise samples
    must support M: at least ten effective ones. From below, M must not overlook mass of the model:
    it is excluded if F at the largest supported M exceeds F at this M, in the mean over the last
    eighth of the steps, by three standard errors. The constants are the same for every problem. A
    measurement costs three more forward passes of the model. All of the first 256 steps are
    measured, and 11 in 100 of the first 10,000. Every step costs three more updates of the
    optimizer.

    Updates that momentum will still make count as made: displacement, slope and curvature are
    those at the parameters where the optimizer would come to rest if all gradients to come were
    zero. Optimizers that ignore the gradient's scale (Adam) remember it for a thousand steps, so
    that a change of M would change their rate. For them the gradient is divided by the acceptance
    at the largest supported M, and no M is taken below the one with the largest A^2 / nu. Plain
    descent takes the gradient as it is. Gradient clipping counts as ignoring the scale if it acts
    at the first step, and is applied after the division. `optax.MultiSteps`, and optimizers whose
    updates are zero for more than a step, are not supported.

    Args:
      smallest: smallest M considered, above zero.
      largest: largest M considered.

    Returns:
      A `MagnificationRule`.

    Raises:
      ValueError: unless 0 < `smallest` < `largest`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import nce_jax
      >>> from nce_jax import noise, training
      >>> train = training.make_train_step(
      ...     noise=noise.standard_normal(5),
      ...     optimizer=optax.sgd(0.3),
      ...     log_ratio_fn=lambda theta, x: x @ theta,
      ...     magnification_rule=nce_jax.adaptive_magnification(),
      ... )
      >>> state, step = train.init(jnp.zeros(5)), jax.jit(train)
      >>> seen = []
      >>> for number in range(200):
      ...     x_data = 1 + jax.random.normal(
      ...         jax.random.fold_in(jax.random.key(0), number), (512, 5)
      ...     )
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      ...     seen.append(float(metrics.magnification))
      >>> print(
      ...     f"M at first {seen[0]:.0f}, at last below 3: {seen[-1] < 3}; "
      ...     f"theta {state.params.mean():.1f}"
      ... )
      M at first 10000, at last below 3: True; theta 1.0

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (choosing M).
      Ionides, Truncated importance sampling, 2008.
    """
    for name, value in (("smallest", smallest), ("largest", largest)):
        check_number(name, value, "a positive number")
    if not 0 < smallest < largest < np.inf:
        raise ValueError(
            f"smallest, largest: expected 0 < smallest < largest, got {smallest} and {largest}"
        )
    number = max(2, round(_PER_DECADE * np.log10(largest / smallest)) + 1)
    grid = np.geomspace(smallest, largest, number)
    return MagnificationRule(EqualPartial(_init, number), EqualPartial(_choose, grid), _follow)


def _init(number: int, params: Params, dtype: Any) -> MagnificationState:
    zero, zeros = jnp.zeros((), dtype), jnp.zeros(number, dtype)
    return MagnificationState(
        candidate=jnp.int32(number - 1),
        acceptance=zero + 1,
        variance=zero + 1,
        target_acceptance=zero + 1,
        last_measurement=jnp.int32(-1),
        pending=jax.tree.map(jnp.zeros_like, params),
        windows=initial_windows(params, dtype),
        measurements=Measurements(*(zero,) * len(Measurements._fields)),
        overlooked=zeros,
        overlooked_variance=zeros,
        log_partitions=zeros + jnp.nan,  # the solver chooses where to begin
        response=zero + jnp.nan,
    )


def _choose(
    grid: np.ndarray,
    state: MagnificationState,
    step: jax.Array,
    equation_at: EquationAt,
    linearize: Linearize,
) -> Choice:
    magnifications = jnp.asarray(grid, state.log_partitions.dtype)
    interval = step // int(_MEASUREMENTS_PER_WINDOW * WINDOW_DIVISOR)
    state = jax.lax.cond(
        step - state.last_measurement > interval,
        lambda: _measure_and_choose(state, step, magnifications, equation_at, linearize),
        lambda: state,
    )
    return Choice(magnifications[state.candidate], state.target_acceptance, state)


def _follow(choice: Choice, updates: Any, pending: Any, step: jax.Array) -> MagnificationState:
    state = choice.state
    # Updates of the point at which the optimizer would come to rest.
    moved = jax.tree.map(
        lambda update, new, old: update + new - old, updates, pending, state.pending
    )
    windows = advance(state.windows, moved, state.acceptance, state.variance, step)
    return state._replace(windows=windows, pending=pending)


def _measure_and_choose(
    state: MagnificationState, step: jax.Array, magnifications, equation_at, linearize: Linearize
) -> MagnificationState:
    """Tabulates the batch, measures the training, and takes the M that follows from both."""
    table = tabulate(equation_at, magnifications, state.log_partitions)
    initial = table.log_partition[state.candidate]
    measurements = _measure(state, magnifications[state.candidate], initial, linearize)
    state = _update_means(state, table, measurements, step)
    candidate = _best_candidate(table, solve_motion(state.measurements), state)
    # The parameters have not moved: this is the first step, or they wait for F.
    is_first = state.windows.drift == 0
    # Without a measurement, nearest to maximum likelihood is best.
    candidate = jnp.where(is_first, table.largest_supported, candidate)
    # M rises by one candidate at most: one estimate that errs upwards would undo many steps.
    candidate = jnp.minimum(candidate, jnp.where(is_first, candidate, state.candidate + 1))
    old = state.candidate, state.acceptance, state.variance, state.target_acceptance
    new = (
        candidate,
        table.acceptance[candidate],
        table.variance[candidate],
        table.acceptance[table.largest_supported],
    )
    is_finite = jnp.isfinite(jnp.stack(new[1:])).all()
    # Log ratios may be wider than the parameters.
    candidate, acceptance, variance, target_acceptance = (
        jnp.where(is_finite, after, before).astype(before.dtype)
        for after, before in zip(new, old, strict=True)
    )
    return state._replace(
        candidate=candidate,
        acceptance=acceptance,
        variance=variance,
        target_acceptance=target_acceptance,
        last_measurement=step,
    )


def _measure(
    state: MagnificationState, magnification: jax.Array, initial: jax.Array, linearize: Linearize
) -> Measurements:
    r"""Measures slope and curvatures of the loss along both displacements, at the last step's M.

    The derivatives are taken at the parameters where the optimizer would come to rest. The
    measurements are the left sides of the two equations from which s, c and :math:`n_0` follow
    (docs/magnification.md):

    .. math::
       U'HU &= c \Big(\sum_j r^j A_j\Big)^2 + n_0 \sum_j r^{2j} \nu_j, \\
       \langle \nabla L, U \rangle &= -s \sum_j r^j A_j + n_0 \sum_j r^j \nu_j.

    The first one holds for :math:`U'HW` as well, with the sums of both windows.
    """
    # The log ratios of the batch where the optimizer would come to rest, and their derivative.
    equation_at, push = linearize(state.pending)
    problem = equation_at(magnification)
    # First and second derivatives of the loss with respect to each log ratio, at the solved F.
    _, _, derivatives = sample_derivatives(problem, initial)
    sides = (
        (problem.data.weights, derivatives.second_data),
        (problem.noise.weights, derivatives.second_noise),
    )

    # The mean of each side, weighted by the second derivatives as well, and their sum.
    def mean(data: jax.Array, noise: jax.Array) -> jax.Array:
        parts = [
            weighted_mean(second * x, weights)
            for (weights, second), x in zip(sides, (data, noise), strict=True)
        ]
        return parts[0] + parts[1]

    def centered(direction: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # F follows the parameters: the profiled loss depends only on deviations from the weighted
        # mean.
        shift = mean(*direction) / mean(*(jnp.ones_like(x) for x in direction))
        return direction[0] - shift, direction[1] - shift

    # Changes of the log ratios along U and W.
    short, long = (push(direction) for direction in (state.windows.short, state.windows.long))
    # <grad L, U>: noise raises the loss where its log ratios grow, data lower it.
    slope = weighted_mean(derivatives.first_noise * short[1], problem.noise.weights)
    slope -= weighted_mean(derivatives.first_data * short[0], problem.data.weights)
    # U'HU and U'HW of the profiled loss.
    short, long = centered(short), centered(long)
    curvature, cross = (mean(short[0] * other[0], short[1] * other[1]) for other in (short, long))
    # H and grad L stand for the derivatives at this M, divided by its acceptance A.
    acceptance = weighted_mean(derivatives.first_data, problem.data.weights)
    return combine(state.windows, slope, curvature, cross, acceptance)


def _update_means(
    state: MagnificationState, table: Candidates, measurements: Measurements, step: jax.Array
) -> MagnificationState:
    """Updates the running means over the last eighth of the steps.

    Values that are not finite are left out.
    """

    def blend(old: Any, new: Any, decay: jax.Array, gain: jax.Array) -> Any:
        is_finite = jnp.all(
            jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(new)])
        )
        return jax.tree.map(
            lambda a, b: jnp.where(is_finite, decay * a + gain * b, a).astype(a.dtype), old, new
        )

    dtype = state.acceptance.dtype
    passed = (step - state.last_measurement).astype(dtype)
    gain = jnp.minimum(1, WINDOW_DIVISOR * passed / (step.astype(dtype) + WINDOW_DIVISOR))
    overlooked = blend(state.overlooked, table.overlooked, 1 - gain, gain)
    overlooked_variance = blend(
        state.overlooked_variance, table.overlooked_variance, (1 - gain) ** 2, gain**2
    )
    # The first step has no displacement.
    num_moves = (jnp.maximum(step, 1) - 1).astype(dtype)
    gain = jnp.minimum(1, WINDOW_DIVISOR * passed / (num_moves + WINDOW_DIVISOR))
    zero, one = jnp.float32(0), jnp.float32(1)
    return state._replace(
        measurements=blend(state.measurements, measurements, 1 - gain, gain),
        overlooked=overlooked,
        overlooked_variance=overlooked_variance,
        log_partitions=blend(state.log_partitions, table.log_partition, zero, one),
    )


def _best_candidate(table: Candidates, motion: Motion, state: MagnificationState) -> jax.Array:
    """The index of the M whose step lowers the loss most, within both bounds."""
    indices = jnp.arange(table.acceptance.size)
    change = -motion.signal * table.acceptance
    change += (motion.curvature * table.acceptance**2 + motion.noise * table.variance) / 2
    is_allowed = (indices <= table.largest_supported) & jnp.isfinite(change)
    greedy = jnp.argmin(jnp.where(is_allowed, change, jnp.inf))
    # A smaller M shortens the steps of plain descent. Where the optimizer removes the gradient's
    # scale, a smaller M only makes the gradient noisier.
    greedy = jnp.where(state.response < _MIN_RESPONSE, jnp.maximum(greedy, table.clearest), greedy)
    is_excluded = state.overlooked > _SIGNIFICANCE * jnp.sqrt(state.overlooked_variance)
    smallest_allowed = jnp.max(jnp.where(is_excluded, indices + 1, 0))
    return jnp.maximum(greedy, jnp.minimum(smallest_allowed, table.largest_supported))
