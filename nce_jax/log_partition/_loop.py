"""The one loop of all solvers, with its step limit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_positive, check_positive_int
from nce_jax._describe import describe
from nce_jax._options import check_function
from nce_jax._types import Array, Bool, Int, Scalars
from nce_jax.log_partition._tolerance import admissible_error

_MAX_UNROLLED = 8
"""Loops of at most this many steps are unrolled, so that XLA can fuse the steps."""


class Run(NamedTuple):
    """All lanes of a solve.

    Attributes:
      state: a `State`, or any NamedTuple with fields `estimate` and `error`.
      num_evaluations: evaluations so far, (*batch), int32.
      is_done: which lanes have ended, (*batch).
    """

    state: Any
    num_evaluations: Int[Array, "*batch"]
    is_done: Bool[Array, "*batch"]


def start_run(state: Any, is_valid: Bool[Array, "*batch"]) -> Run:
    """Returns the run before its first evaluation.

    Args:
      state: a `State`, or any NamedTuple with fields `estimate` and `error`.
      is_valid: which lanes can be solved, (*batch). The others have ended already.

    Returns:
      The `Run` to pass to `iterate`.

    Raises:
      TypeError: `state` has no such fields, or `is_valid` is no array of truth values.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> state = log_partition.initial_state(problem, jnp.array(0.0))
      >>> print(log_partition.start_run(state, jnp.array(True)).is_done)
      False

    References:
      Bradbury et al., JAX: composable transformations of Python+NumPy programs, 2018 (while_loop).
    """
    if not (hasattr(state, "estimate") and hasattr(state, "error")):
        raise TypeError(
            "state: expected a State, or a NamedTuple with fields estimate and error, got"
            f" {describe(state)}"
        )
    if not jnp.issubdtype(getattr(is_valid, "dtype", jnp.float32), jnp.bool_):
        raise TypeError(f"is_valid: expected an array of truth values, got {describe(is_valid)}")
    return Run(state, jnp.zeros(is_valid.shape, jnp.int32), ~jnp.asarray(is_valid))


def iterate(
    move: Callable[[Any], Any],
    run: Run,
    *,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
) -> Run:
    """Steps all lanes until each is certified within the tolerance, or a fixed number of times.

    It is the loop of all solvers here, and serves others whose state says how far it is from the
    root: F of one equation, or the free energies of a network.

    Args:
      move: one evaluation and step, from state to state.
      run: where to start, from `start_run` or from an earlier call.
      tolerance: admissible `error` in nats, a number or one per lane; None takes eps^(3/4) of the
        dtype. It is never taken smaller than the rounding error of `estimate`.
      max_steps: evaluations allowed, with those of an earlier call.
      fixed_steps: makes exactly this many evaluations, without a data-dependent stop.

    Returns:
      The `Run` at the end; a lane that has not ended has used up its evaluations.

    Raises:
      TypeError: `run` is no `Run`, `move` no function, or one that changes the structure, shapes or
        dtypes of the state.
      ValueError: plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> solver = log_partition.newton()
      >>> state = solver.init(problem, jnp.array(0.0))
      >>> run = log_partition.start_run(state, jnp.array(True))
      >>> run = log_partition.iterate(lambda state: solver.step(problem, state), run)
      >>> print(f"{run.state.estimate:.4f}", run.is_done)
      0.6556 True

    References:
      Bradbury et al., JAX: composable transformations of Python+NumPy programs, 2018 (while_loop).
    """

    check_instance("run", run, Run, "start_run(...) returns")
    check_function("move", move, "the state")
    check_loop_options(tolerance, max_steps, fixed_steps)
    old, new = (jax.eval_shape(function, run.state) for function in (lambda x: x, move))
    if not jax.tree.structure(old) == jax.tree.structure(new):  # type: ignore[operator]
        raise TypeError(
            f"move: expected a function that returns a {type(old).__name__}, as it was given, got"
            f" {describe(new)}"
        )

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


def check_loop_options(tolerance: Any, max_steps: Any, fixed_steps: Any) -> None:
    """Raises where an option is of the wrong kind or, as a plain number, out of its range."""
    if tolerance is not None:
        check_positive("tolerance", tolerance)
    check_positive_int("max_steps", max_steps)
    if fixed_steps is not None:
        check_positive_int("fixed_steps", fixed_steps)


def _step(run: Run, move: Callable[[Any], Any], tolerance: Scalars | None) -> Run:
    """One evaluation for every lane; the state of a finished lane no longer changes."""
    state = jax.tree.map(
        lambda old, new: jnp.where(run.is_done, old, new), run.state, move(run.state)
    )
    return Run(
        state,
        run.num_evaluations + (~run.is_done).astype(jnp.int32),
        run.is_done | (state.error <= admissible_error(tolerance, state.estimate)),
    )
