"""The rule that keeps M = 1, or takes the smallest M that does not overlook mass of the model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._options import check_number
from nce_jax._partial import EqualPartial
from nce_jax._ranges import check_range
from nce_jax._types import Params, Scalars
from nce_jax.magnification._candidates import Candidates, tabulate
from nce_jax.magnification._interface import Choice, EquationAt, Linearize, MagnificationRule

_PER_DECADE = 3
"""The grid of candidates has this many values of M in a decade."""

_SIGNIFICANCE = 3.0
"""Overlooked mass counts if it exceeds this many standard errors."""

_WINDOW_DIVISOR = 2.0
"""Means are over the last steps, the number so far divided by this: mass that an M does not remove
stays, and what passes is not worth a change of M."""

_FULL_STEPS = 256
"""All of the first so many steps are measured; at step t every (t / 256)th is."""


class SufficientState(NamedTuple):
    """State of the rule: arrays, part of the train state.

    Attributes:
      candidate: index of M among the candidates.
      last_measurement: the step of the last measurement.
      overlooked: running mean of the model's mass that each candidate overlooks, in nats.
      overlooked_variance: its variance.
      log_partitions: F of every candidate, from which the next solve starts.
      relative_acceptance: A at M = 1, relative to A at the M that was chosen.
      response: the gradient is multiplied by that to the power of `response` - 1.
    """

    candidate: jax.Array
    last_measurement: jax.Array
    overlooked: jax.Array
    overlooked_variance: jax.Array
    log_partitions: jax.Array
    relative_acceptance: jax.Array
    response: jax.Array


def sufficient_magnification(*, matching: Scalars = 0.5, largest: float = 1e4) -> MagnificationRule:
    r"""Takes M = 1, or the smallest M that sees most of the model's mass, at every training step.

    F depends on M. As :math:`M \to \infty` it tends to :math:`\log E_{noise}[e^s]`, the mass of the
    whole model. An M at which F is lower than at the largest M that the noise samples support
    overlooks mass of the model, and training at that M does not remove it. The rule takes the
    smallest M whose F, in the mean over the last half of the steps, falls short by no more than
    three standard errors, in which the shared samples are accounted for. Where model and noise
    overlap this is M = 1, whose gradient has the least noise.

    It limits the damage and is no free gain: where M = 1 misses nothing it may cost up to 2.5 times
    the error of the best M (docs/choosing.md, "M").

    A measurement takes no pass of the model, only a solve for each of 13 candidates on the log
    ratios of the batch. All of the first 256 steps are measured, and 1 in 40 at step 10,000.

    Args:
      matching: between 0 and 1, traced. The gradient is multiplied by A(1) / A(M) to this power,
        with A the acceptance. At 1 its drift has the size that it would have at M = 1, at 1/2
        its noise, where model and data hardly overlap; at 0 it is left as it is.
      largest: largest M considered, above 1.

    Returns:
      A `MagnificationRule`, for `make_train_step(..., magnification_rule=...)`.

    Raises:
      ValueError: a `matching` outside of 0 to 1, or a `largest` that is not above 1.

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
      ...     magnification_rule=nce_jax.sufficient_magnification(),
      ... )
      >>> state, step = train.init(jnp.full(5, 3.0)), jax.jit(train)  # far beyond the data
      >>> seen = []
      >>> for number in range(500):
      ...     x_data = 1 + jax.random.normal(
      ...         jax.random.fold_in(jax.random.key(0), number), (512, 5)
      ...     )
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      ...     seen.append(float(metrics.magnification))
      >>> print(
      ...     f"largest M {max(seen):.0f}, at last {seen[-1]:.0f}; theta {state.params.mean():.1f}"
      ... )
      largest M 215, at last 1; theta 1.0

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (choosing M).
    """
    check_number("matching", matching, "a number from 0 to 1")
    check_range("matching", matching, "a number from 0 to 1", lambda x: (x >= 0) & (x <= 1))
    check_number("largest", largest, "a finite number above 1", lambda x: 1 < x < np.inf)
    number = max(2, round(_PER_DECADE * np.log10(largest)) + 1)
    grid = np.geomspace(1.0, largest, number)
    init = EqualPartial(_init, number, matching)
    return MagnificationRule(init, EqualPartial(_choose, grid), _follow)


def _init(number: int, matching: Scalars, params: Params, dtype: Any) -> SufficientState:
    zeros = jnp.zeros(number, dtype)
    return SufficientState(
        candidate=jnp.int32(0),
        last_measurement=jnp.int32(-1),
        overlooked=zeros,
        overlooked_variance=zeros,
        log_partitions=zeros + jnp.nan,  # the solver chooses where to begin
        response=jnp.asarray(1 + matching, dtype),
        relative_acceptance=jnp.ones((), dtype),
    )


def _choose(
    grid: np.ndarray,
    state: SufficientState,
    step: jax.Array,
    equation_at: EquationAt,
    linearize: Linearize,
) -> Choice:
    magnifications = jnp.asarray(grid, state.log_partitions.dtype)

    def measure() -> SufficientState:
        table = tabulate(equation_at, magnifications, state.log_partitions)
        return _follow_table(state, table, step)

    is_due = step - state.last_measurement > step // _FULL_STEPS
    state = jax.lax.cond(is_due, measure, lambda: state)
    return Choice(magnifications[state.candidate], state.relative_acceptance, state)


def _follow_table(state: SufficientState, table: Candidates, step: jax.Array) -> SufficientState:
    """The state after a batch; one whose log ratios are not finite changes nothing."""
    dtype = state.overlooked.dtype
    new = table.overlooked, table.overlooked_variance, table.log_partition, table.acceptance
    is_finite = jnp.isfinite(jnp.stack(new)).all()
    passed = (step - state.last_measurement).astype(dtype)
    gain = jnp.minimum(1, _WINDOW_DIVISOR * passed / (step.astype(dtype) + _WINDOW_DIVISOR))
    mean = (1 - gain) * state.overlooked + gain * table.overlooked
    variance = (1 - gain) ** 2 * state.overlooked_variance + gain**2 * table.overlooked_variance
    is_excluded = mean > _SIGNIFICANCE * jnp.sqrt(variance)
    smallest = jnp.max(jnp.where(is_excluded, jnp.arange(mean.size) + 1, 0))
    candidate = jnp.minimum(smallest, table.largest_supported)
    changed = {
        "candidate": candidate,
        "overlooked": mean,
        "overlooked_variance": variance,
        "log_partitions": table.log_partition,
        "relative_acceptance": table.acceptance[0] / table.acceptance[candidate],
    }
    kept = {
        name: jnp.where(is_finite, value, getattr(state, name)).astype(getattr(state, name).dtype)
        for name, value in changed.items()
    }
    return state._replace(**kept, last_measurement=step)


def _follow(choice: Choice, updates: Any, pending: Any, step: jax.Array) -> Any:
    return choice.state
