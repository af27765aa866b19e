"""A solver run on all lanes: its short way first, if it has one, then the loop for what is left."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar
from nce_jax._types import Scalars
from nce_jax.log_partition._loop import Run, iterate, start_run
from nce_jax.log_partition._status import find_valid
from nce_jax.log_partition.problem import Problem, Solver


def run_solver(
    problem: Problem,
    initial: Scalars | None,
    tolerance: Scalars | None,
    *,
    solver: Solver,
    max_steps: int,
    fixed_steps: int | None,
) -> tuple[Run, jax.Array]:
    """The run of all lanes at its end, and which of them are valid equations."""
    options: dict[str, Any] = {"max_steps": max_steps, "fixed_steps": fixed_steps}
    if tolerance is not None:
        tolerance = as_scalar("tolerance", tolerance, problem.data.values)
    if solver.attempt is None or fixed_steps is not None:
        return _iterate(problem, _initial(problem, initial), tolerance, solver, **options)
    given = None if initial is None else _initial(problem, initial)
    attempted = solver.attempt(problem, given, tolerance, max_steps)
    return _complete(problem, given, tolerance, attempted, solver, **options)


def _iterate(
    problem: Problem,
    initial: jax.Array,
    tolerance: Scalars | None,
    solver: Solver,
    *,
    max_steps: int,
    fixed_steps: int | None,
    attempted: Run | None = None,
) -> tuple[Run, jax.Array]:
    """The bracketed iteration of the lanes that were not solved yet, and which lanes are valid."""
    is_valid = find_valid(problem)
    move = solver.step if fixed_steps is None else solver.fused_step or solver.step
    run = start_run(solver.init(problem, initial), is_valid)
    if attempted is not None:
        run = _resume(attempted, run)
    run = iterate(
        lambda state: move(problem, state),
        run,
        tolerance=tolerance,
        max_steps=max_steps,
        fixed_steps=fixed_steps,
    )
    return run, is_valid


def _resume(attempted: Run, run: Run) -> Run:
    state = jax.tree.map(
        lambda old, new: jnp.where(attempted.is_done, old, new), attempted.state, run.state
    )
    return Run(state, attempted.num_evaluations, attempted.is_done | run.is_done)


def _complete(
    problem: Problem,
    initial: jax.Array | None,
    tolerance: Scalars | None,
    attempted: Run,
    solver: Solver,
    **options: Any,
) -> tuple[Run, jax.Array]:
    """Iterates the lanes that the attempt has left, in a branch that is skipped if there are none.

    Under `vmap` a `cond` would always compute both branches; the rule below therefore turns the
    mapped axis into a leading batch axis.
    """

    @jax.custom_batching.custom_vmap
    def complete(problem, initial, tolerance, attempted):
        def go_on():
            # Where the attempt ended is a better start, if it is near the root.
            is_near = jnp.abs(attempted.state.residual) <= 1
            start = _initial(problem, initial)
            start = jnp.where(is_near, attempted.state.estimate, start)
            return _iterate(problem, start, tolerance, solver, attempted=attempted, **options)

        is_done = attempted.is_done
        return jax.lax.cond(jnp.all(is_done), lambda: (attempted, jnp.ones_like(is_done)), go_on)

    @complete.def_vmap
    def _complete_vmap(axis_size, in_batched, *args):
        def add_batch(leaf, is_batched):
            return leaf if is_batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        result = complete(*jax.tree.map(add_batch, args, tuple(in_batched)))
        return result, jax.tree.map(lambda _: True, result)

    return complete(problem, initial, tolerance, attempted)


def _initial(problem: Problem, initial: Scalars | None) -> jax.Array:
    """The caller's starting point; NaN, where there is none, lets the solver choose."""
    return as_scalar(
        "initial",
        jnp.nan if initial is None else jax.lax.stop_gradient(initial),
        problem.data.values,
    )
