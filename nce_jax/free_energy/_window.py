"""Bennett's equation of two states, solved, with the influence of every work value on the root.

The estimates of this room differ in how they sum the squares of these influences up.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_samples,
    as_scalar,
    as_weights,
    check_positive,
    check_same_batch,
    compute_dtype,
)
from nce_jax._eager import SampleSet
from nce_jax._numerics import (
    expand,
    ignore_unweighted,
    jackknife_correction,
    sample_count,
    scaled_sigmoid,
    stop_where,
    total_weight,
    weighted_mean,
)
from nce_jax._ranges import check_at_least_one, check_largest
from nce_jax._types import Scalars
from nce_jax.log_partition import Solver, Status, newton, solve_log_partition

WORK = (
    SampleSet("work_forward", "weights_forward"),
    SampleSet("work_reverse", "weights_reverse", sign=-1),
)
"""The sets of a function of work values."""


_MAX_SAMPLES_IN_FLIGHT = 1 << 18
"""Many solves run in chunks of at most this many work values, as the replicates of
`bootstrap_log_partition` do."""


class Side(NamedTuple):
    """Work values of one direction, their weights, and how many samples they are worth."""

    work: jax.Array
    weights: jax.Array | None
    num_samples: jax.Array


class Window(NamedTuple):
    """Two states whose equation is solved.

    Attributes:
      forward: the work values from the first state to the second.
      reverse: the work values back.
      delta_f: the root, where the solver has found one.
      status: of the solve.
      influences: of the work values of both sides on `delta_f`; those of each side sum to zero.
    """

    forward: Side
    reverse: Side
    delta_f: jax.Array
    status: jax.Array
    influences: tuple[jax.Array, jax.Array]

    @property
    def is_estimate(self) -> jax.Array:
        return self.status == Status.CONVERGED

    @property
    def noise_ratio(self) -> jax.Array:
        return self.forward.num_samples / self.reverse.num_samples

    @property
    def pair(self) -> dict[str, Any]:
        """The options of functions of the log ratios -work_forward and work_reverse."""
        return _pair(self.forward, self.reverse)

    def is_single(self, block_size: int) -> jax.Array:
        """Whether a side has a single work value, or block of them, which has no variance."""
        sides = self.forward, self.reverse
        is_single = jnp.minimum(*(side.num_samples for side in sides)) < 1.5
        for side in sides if block_size > 1 else ():
            weights = jnp.ones_like(side.work) if side.weights is None else side.weights
            is_single |= jackknife_correction(weights, block_size) == 0
        return is_single

    def given(self, values: jax.Array) -> jax.Array:
        """The values of the windows that have an estimate, and NaN for the others."""
        return jnp.where(self.is_estimate, values, jnp.nan)


def solved_window(
    work_forward: Any,
    work_reverse: Any,
    weights_forward: Any = None,
    weights_reverse: Any = None,
    *,
    solver: Solver = newton(),
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    initial: jax.Array | None = None,
) -> Window:
    """Solves Bennett's equation; `initial` is a delta_f to start from."""
    forward, reverse = _sides(work_forward, work_reverse, weights_forward, weights_reverse)
    solution = solve_log_partition(
        reverse.work,
        -forward.work,
        **_pair(forward, reverse),
        solver=solver,
        tolerance=tolerance,
        max_steps=max_steps,
        initial=None if initial is None else -initial,
    )
    delta_f, status = -solution.log_partition, solution.status
    # A failed entry passes no gradient.
    forward, reverse, delta_f = stop_where(status != Status.CONVERGED, (forward, reverse, delta_f))
    return Window(forward, reverse, delta_f, status, _influences(forward, reverse, delta_f))


def _pair(forward: Side, reverse: Side) -> dict[str, Any]:
    return {
        "noise_ratio": forward.num_samples / reverse.num_samples,
        "weights_data": reverse.weights,
        "weights_noise": forward.weights,
    }


def check_inefficiency(value: Any) -> None:
    """Raises unless a g whose values are known is a finite number of at least one."""
    name = "statistical_inefficiency"
    check_positive(name, value)
    check_at_least_one(name, value)
    check_largest(name, value, jnp.result_type(float))


def as_inefficiency(name: str, value: Any, window: Window) -> jax.Array:
    """g >= 1 of every window; NaN where a traced one is below one."""
    inefficiency = as_scalar(name, value, window.forward.work)
    return jnp.where(inefficiency >= 1, inefficiency, jnp.nan)


def _sides(
    work_forward: Any, work_reverse: Any, weights_forward: Any, weights_reverse: Any
) -> tuple[Side, Side]:
    forward = as_samples("work_forward", work_forward)
    reverse = as_samples("work_reverse", work_reverse)
    check_same_batch(("work_forward", "work_reverse"), forward, reverse)
    dtype = compute_dtype(forward, reverse)
    return (
        _side("weights_forward", forward.astype(dtype), weights_forward),
        _side("weights_reverse", reverse.astype(dtype), weights_reverse),
    )


def _side(name: str, work: jax.Array, weights: Any) -> Side:
    weights = as_weights(name, weights, work)
    return Side(ignore_unweighted(work, weights), weights, sample_count(work, weights))


def _influences(forward: Side, reverse: Side, delta_f: jax.Array) -> tuple[jax.Array, jax.Array]:
    """delta_f is a constant plus the log of the reverse mean acceptance less that of the forward.

    The constant has no influence at the root, to first order.
    """
    offset = expand(delta_f - jnp.log(forward.num_samples / reverse.num_samples))
    return (
        -_relative_deviations(offset - forward.work, forward),
        _relative_deviations(-offset - reverse.work, reverse),
    )


def _relative_deviations(logits: jax.Array, side: Side) -> jax.Array:
    """Deviations of the acceptance from its mean, over the mean, times the samples' shares.

    1 / ESS - 1 / n would lose its digits where the values hardly vary.
    """
    acceptance = scaled_sigmoid(logits)[0]
    relative = acceptance / expand(weighted_mean(acceptance, side.weights)) - 1
    shares = 1 if side.weights is None else side.weights
    return shares * relative / expand(total_weight(relative, side.weights))


def map_in_chunks(function: Callable[[Any], Any], inputs: Any, num_samples: int) -> Any:
    """A function of every entry of `inputs`, vmapped in chunks of equal size that bound the memory.

    Args:
      function: of one entry.
      inputs: a pytree with the entries on the first axis.
      num_samples: number of work values of one call.
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    num_chunks = math.ceil(count / max(1, _MAX_SAMPLES_IN_FLIGHT // num_samples))
    size = math.ceil(count / num_chunks)
    # A shorter chunk at the end would be compiled a second time; the last entry fills it up.
    index = np.minimum(np.arange(num_chunks * size), count - 1)
    filled = jax.tree.map(lambda leaf: leaf[index], inputs)
    results = jax.lax.map(function, filled, batch_size=size)
    return jax.tree.map(lambda leaf: leaf[:count], results)
