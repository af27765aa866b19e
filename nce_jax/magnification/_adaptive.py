"""An M for every training step: the one whose next update lowers the loss most, drift against
noise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params
from nce_jax.log_partition import Problem
from nce_jax.magnification._candidates import Candidates, examine, share
from nce_jax.magnification._windows import (
    FRACTION,
    Measured,
    Motion,
    Windows,
    advance,
    combine,
    solve_motion,
    still,
)
from nce_jax.numerics import weighted_mean

_PER_DECADE = 3
_SIGNIFICANCE = 3.0
"""Standard errors by which the mass that an M overlooks has to stand out before that M is
excluded."""

_LOOKS = 32
"""Looks at the training within a window, an eighth of the steps so far: every step at first, then
ever fewer of them."""

_ANSWERS = 0.5
"""Power of the gradient's scale in the updates from which on a smaller M is taken to make smaller
steps."""

EquationAt = Callable[[jax.Array], Problem]
Push = Callable[[Params], tuple[jax.Array, jax.Array]]
"""A direction in the parameters to the change of the log ratios along it, of data and of noise."""
Look = Callable[[Params], tuple[EquationAt, Push]]
"""An offset of the parameters to what the batch shows there."""


class MagnificationState(NamedTuple):
    """What the choice of M remembers; arrays, part of the train state.

    Attributes:
      place: of M among the candidates.
      at: acceptance and variance at M, and the acceptance at the largest supported M, at the last
        look.
      last: the step of the last look.
      pending: how much further the parameters will move on what the optimizer remembers.
      windows: how far they moved, what is pending included, and by what M.
      measured: running means of the batches' measurements.
      unseen: running mean of the model's mass that every candidate overlooks, in nats, and its
        variance.
      log_partitions: F of every candidate, where the next solve starts.
      response: how updates scale with the gradient: 1 for plain descent, 0 for Adam; tried at the
        first step, NaN before.
    """

    place: jax.Array
    at: tuple[jax.Array, jax.Array, jax.Array]
    last: jax.Array
    pending: Params
    windows: Windows
    measured: Measured
    unseen: tuple[jax.Array, jax.Array]
    log_partitions: jax.Array
    response: jax.Array


class Choice(NamedTuple):
    """M of a step, the acceptance at the largest supported M, and what is remembered."""

    magnification: jax.Array
    target_acceptance: jax.Array
    state: MagnificationState


class MagnificationRule(NamedTuple):
    """The rule, as pure functions for a train step.

    Attributes:
      init: `init(params, dtype) -> MagnificationState`.
      choose: `choose(state, step, equation_at, look) -> Choice`, before the gradient is taken.
      follow: `follow(choice, updates, pending, step) -> MagnificationState`, after the update is
        known.
    """

    init: Callable[[Params, Any], MagnificationState]
    choose: Callable[[MagnificationState, jax.Array, EquationAt, Look], Choice]
    follow: Callable[[Choice, Any, Any, jax.Array], MagnificationState]


def adaptive_magnification(smallest: float = 0.1, largest: float = 1e4) -> MagnificationRule:
    """M chosen anew at every training step, for `make_train_step(..., magnification_rule=...)`.

    The rule takes the M that lowers the loss most in the next step, -s A(M) + (c A(M)^2 + n_0
    nu(M)) / 2: its drift grows with the acceptance A(M), its noise with nu(M), both read off the
    batch's log ratios for every candidate; s, c and n_0 are measured on the training itself
    (docs/magnification.md derives it). Two bounds go with it. From above, the noise samples must
    support M: ten effective ones. From below, M must not overlook the model's mass: F at a larger M
    then exceeds its own, in the mean over the last eighth of the steps and by three standard
    errors. The constants are the same for every problem. A look costs three more passes of the
    model forwards (all of the first 256 steps look, 11 in 100 of the first 10,000), every step
    three more updates of the optimizer.

    What momentum still holds counts as done: displacement, slope and curvature are those of the
    parameters where they would come to rest if no gradient followed. Optimizers that ignore the
    gradient's scale (Adam) remember it for a thousand steps, so that a change of M would change
    their rate: for them the gradient is divided by the acceptance at the largest supported M, and
    no M is taken below the one whose gradient is clearest, A^2 / nu. Plain descent sees the loss as
    it is. Gradient clipping counts as ignoring the scale if it acts at the first step, and sees the
    gradient after the division. `optax.MultiSteps`, and optimizers whose updates are zero for more
    than a step, are not understood.

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
    if not 0 < smallest < largest < np.inf:
        raise ValueError(
            f"smallest, largest: expected 0 < smallest < largest, got {smallest} and {largest}"
        )
    number = max(2, round(_PER_DECADE * np.log10(largest / smallest)) + 1)
    grid = np.geomspace(smallest, largest, number)

    def init(params: Params, dtype: Any) -> MagnificationState:
        zero, zeros = jnp.zeros((), dtype), jnp.zeros(number, dtype)
        measured = Measured(*(zero,) * len(Measured._fields))
        start = zeros + jnp.nan  # the solver chooses where to begin
        return MagnificationState(
            place=jnp.int32(number - 1),
            at=(zero + 1, zero + 1, zero + 1),
            last=jnp.int32(-1),
            pending=jax.tree.map(jnp.zeros_like, params),
            windows=still(params, dtype),
            measured=measured,
            unseen=(zeros, zeros),
            log_partitions=start,
            response=zero + jnp.nan,
        )

    def choose(
        state: MagnificationState, step: jax.Array, equation_at: EquationAt, look: Look
    ) -> Choice:
        magnifications = jnp.asarray(grid, state.log_partitions.dtype)
        is_due = step - state.last > step // int(_LOOKS * FRACTION)
        state = jax.lax.cond(
            is_due, lambda: _look(state, step, magnifications, equation_at, look), lambda: state
        )
        return Choice(magnifications[state.place], state.at[2], state)

    def follow(choice: Choice, updates: Any, pending: Any, step: jax.Array) -> MagnificationState:
        moved = jax.tree.map(
            lambda update, new, old: update + new - old, updates, pending, choice.state.pending
        )
        windows = advance(choice.state.windows, moved, *choice.state.at[:2], step)
        return choice.state._replace(windows=windows, pending=pending)

    return MagnificationRule(init, choose, follow)


def _look(
    state: MagnificationState, step: jax.Array, magnifications, equation_at, look: Look
) -> MagnificationState:
    """The batch's table and the training's motion, and the M that follows from them."""
    table = examine(equation_at, magnifications, state.log_partitions)
    measured = _measure(state, magnifications[state.place], table.log_partition[state.place], look)
    state = _remember(state, table, measured, step)
    place = _best(table, solve_motion(state.measured), state)
    # No step was taken yet: it is the first, or the parameters wait for F.
    is_first = state.windows.drift == 0
    # Nothing has moved yet: nearest to maximum likelihood is best.
    place = jnp.where(is_first, table.largest, place)
    # Up by one: an estimate errs, and M overshoots.
    place = jnp.minimum(place, jnp.where(is_first, place, state.place + 1))
    found = table.acceptance[place], table.variance[place], table.acceptance[table.largest]
    is_finite = jnp.isfinite(jnp.stack(found)).all()

    def keep(new: jax.Array, old: jax.Array) -> jax.Array:
        # Log ratios may be wider than the parameters.
        return jnp.where(is_finite, new, old).astype(old.dtype)

    place, at = jax.tree.map(keep, (place, found), (state.place, state.at))
    return state._replace(place=place, at=at, last=step)


def _measure(
    state: MagnificationState, magnification: jax.Array, initial: jax.Array, look: Look
) -> Measured:
    """Slope and curvatures of the loss at the last step's M along the two displacements, at the
    parameters to come.
    """
    equation_at, push = look(state.pending)
    problem = equation_at(magnification)
    _, _, shares = share(problem, initial)
    sides = (
        (problem.data.weights, shares.curvature_data),
        (problem.noise.weights, shares.curvature_noise),
    )

    def mean(data: jax.Array, noise: jax.Array) -> jax.Array:
        parts = [
            weighted_mean(curve * x, weights)
            for (weights, curve), x in zip(sides, (data, noise), strict=True)
        ]
        return parts[0] + parts[1]

    def centered(direction: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # F follows the parameters: the profiled loss sees only what differs from the weighted mean.
        shift = mean(*direction) / mean(*(jnp.ones_like(x) for x in direction))
        return direction[0] - shift, direction[1] - shift

    short, long = (push(direction) for direction in (state.windows.short, state.windows.long))
    slope = weighted_mean(shares.pull_noise * short[1], problem.noise.weights)
    slope -= weighted_mean(shares.pull_data * short[0], problem.data.weights)
    short, long = centered(short), centered(long)
    curvature, cross = (mean(short[0] * other[0], short[1] * other[1]) for other in (short, long))
    return combine(
        state.windows,
        slope,
        curvature,
        cross,
        weighted_mean(shares.pull_data, problem.data.weights),
    )


def _remember(
    state: MagnificationState, table: Candidates, measured: Measured, step: jax.Array
) -> MagnificationState:
    """Running means over the last eighth of the steps. What is not finite leaves no trace."""

    def blend(old: Any, new: Any, keep: jax.Array, gain: jax.Array) -> Any:
        is_finite = jnp.all(
            jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(new)])
        )
        return jax.tree.map(
            lambda a, b: jnp.where(is_finite, keep * a + gain * b, a).astype(a.dtype), old, new
        )

    passed = (step - state.last).astype(jnp.float32)
    gain = jnp.minimum(1, FRACTION * passed / (step + FRACTION))
    mean, variance = state.unseen
    unseen = (
        blend(mean, table.unseen, 1 - gain, gain),
        blend(variance, table.unseen_variance, (1 - gain) ** 2, gain**2),
    )
    # The first step has no displacement.
    gain = jnp.minimum(1, FRACTION * passed / (jnp.maximum(step, 1) - 1 + FRACTION))
    moved = blend(state.measured, measured, 1 - gain, gain)
    roots = blend(state.log_partitions, table.log_partition, jnp.float32(0), jnp.float32(1))
    return state._replace(measured=moved, unseen=unseen, log_partitions=roots)


def _best(table: Candidates, motion: Motion, state: MagnificationState) -> jax.Array:
    """The index of the candidate to take."""
    places = jnp.arange(table.acceptance.size)
    change = -motion.signal * table.acceptance
    change += (motion.curvature * table.acceptance**2 + motion.noise * table.variance) / 2
    greedy = jnp.argmin(
        jnp.where((places <= table.largest) & jnp.isfinite(change), change, jnp.inf)
    )
    # A smaller M brakes plain descent; where the optimizer takes the scale out again, it only blurs
    # the gradient.
    greedy = jnp.where(state.response < _ANSWERS, jnp.maximum(greedy, table.clearest), greedy)
    mean, variance = state.unseen
    overlooks = mean > _SIGNIFICANCE * jnp.sqrt(variance)
    least = jnp.minimum(jnp.max(jnp.where(overlooks, places + 1, 0)), table.largest)
    return jnp.maximum(greedy, least)
