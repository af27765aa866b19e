"""The type of a rule that chooses M at every training step, and what it is given and returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from nce_jax._partial import compared_by_parts
from nce_jax._types import Params
from nce_jax.log_partition import Problem
from nce_jax.magnification._windows import Measurements, Windows

EquationAt = Callable[[jax.Array], Problem]
"""`equation_at(M)`: the equation for F of the batch at that M."""

Push = Callable[[Params], tuple[jax.Array, jax.Array]]
"""`push(direction)`: the derivative of the batch's log ratios, of data and of noise, along a
direction in the parameters."""

Linearize = Callable[[Params], tuple[EquationAt, Push]]
"""`linearize(offset)`: the equation and the derivative of the batch's log ratios at the parameters
plus `offset`."""


class MagnificationState(NamedTuple):
    """State of the rule: arrays, part of the train state.

    Attributes:
      candidate: index of M among the candidates.
      acceptance: A at M, as last measured.
      variance: nu at M, as last measured.
      target_acceptance: A at the largest supported M, as last measured.
      last_measurement: the step of the last measurement.
      pending: how much further the parameters will move by what the optimizer remembers.
      windows: displacements of the parameters, `pending` included, and the M at which they were
        made.
      measurements: running means of the measurements of batches.
      overlooked: running mean of the model's mass that each candidate overlooks, in nats.
      overlooked_variance: its variance.
      log_partitions: F of every candidate, from which the next solve starts.
      response: exponent with which updates scale with the gradient, 1 for plain descent and 0 for
        Adam; NaN before the first step, in which it is tried out.
    """

    candidate: jax.Array
    acceptance: jax.Array
    variance: jax.Array
    target_acceptance: jax.Array
    last_measurement: jax.Array
    pending: Params
    windows: Windows
    measurements: Measurements
    overlooked: jax.Array
    overlooked_variance: jax.Array
    log_partitions: jax.Array
    response: jax.Array


class Choice(NamedTuple):
    """The result of `MagnificationRule.choose`.

    Attributes:
      magnification: M of the step.
      target_acceptance: the gradient is multiplied by it to the power of `state.response` - 1.
        `adaptive_magnification` takes A at the largest supported M.
      state: the state of the rule.
    """

    magnification: jax.Array
    target_acceptance: jax.Array
    state: Any


@compared_by_parts
class MagnificationRule(NamedTuple):
    """A rule for M, as three pure functions that the train step calls.

    The state of a rule is a NamedTuple of arrays, part of the train state. It has a field
    `response`; where that is NaN, the train step measures the exponent with which updates scale
    with the gradient, 1 for plain descent and 0 for Adam, and puts it in its place.

    Attributes:
      init: `init(params, dtype)`, the first state.
      choose: `choose(state, step, equation_at, linearize) -> Choice`, before the gradient is taken.
        `equation_at(M)` is the batch's equation for F at that M. `linearize(offset)` returns, at
        the parameters plus `offset`, the same function and `push`, where `push(direction)` is the
        derivative of the batch's log ratios, (n,) and (m,), along a direction in the parameters.
      follow: `follow(choice, updates, pending, step)`, the next state, after the update is known:
        `updates` is what was added to the parameters, `pending` what the optimizer will add
        if all gradients to come are zero.
    """

    init: Callable[[Params, Any], Any]
    choose: Callable[[Any, jax.Array, EquationAt, Linearize], Choice]
    follow: Callable[[Choice, Any, Any, jax.Array], Any]
