"""The one loop of all solvers, with its step limit."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._types import Scalars
from nce_jax.log_partition._tolerance import admissible_error
from nce_jax.log_partition.problem import State

_MAX_UNROLLED = 8
"""Loops of at most this many steps are unrolled, so that XLA can fuse the steps."""


class Run(NamedTuple):
    """All lanes of a solve: their states, evaluations so far, and which have ended."""

    state: State
    num_evaluations: jax.Array
    is_done: jax.Array


def start_run(state: State, is_valid: jax.Array) -> Run:
    """The run before its first evaluation; lanes that cannot be solved have ended already."""
    return Run(state, jnp.zeros(is_valid.shape, jnp.int32), ~is_valid)


def iterate(
    move: Callable[[State], State],
    run: Run,
    *,
    tolerance: Scalars | None,
    max_steps: int,
    fixed_steps: int | None,
) -> Run:
    """Steps all lanes until each is certified within the tolerance, or a fixed number of times."""

    def step(run: Run) -> Run:
        return _step(run, move, tolerance)

    def is_running(run: Run) -> jax.Array:
        return jnp.any(~run.is_done & (run.num_evaluations < max_steps))

    if fixed_steps is None:
        return jax.lax.while_loop(is_running, step, run)
    # Short loops are unrolled so that XLA can fuse them; a loop of known length needs no round trip
    # to the host either.
    return jax.lax.fori_loop(
        0, fixed_steps, lambda _, run: step(run), run, unroll=fixed_steps <= _MAX_UNROLLED
    )


def _step(run: Run, move: Callable[[State], State], tolerance: Scalars | None) -> Run:
    """One evaluation for every lane; the state of a finished lane no longer changes."""
    state = jax.tree.map(
        lambda old, new: jnp.where(run.is_done, old, new), run.state, move(run.state)
    )
    return Run(
        state,
        run.num_evaluations + (~run.is_done).astype(jnp.int32),
        run.is_done | (state.error <= admissible_error(tolerance, state.estimate)),
    )
