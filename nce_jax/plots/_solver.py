"""The iterates of a solver for F."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nce_jax._checks import as_scalar_array
from nce_jax._types import Scalars
from nce_jax.log_partition import Problem, Solver, State, Status, newton, solve_problem
from nce_jax.plots._axes import (
    PALETTE,
    add_legend,
    add_note,
    as_axes,
    as_float64,
    check_result,
    check_single,
)


def solver_iterates(
    problem: Problem,
    *,
    solver: Solver = newton(),
    initial: Scalars | None = None,
    max_steps: int = 200,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws the distance of a solver's iterates to the root, and the error that it certifies.

    The root is Newton's. The thin dashed line is `State.error`, the solver's own bound on the
    distance: it is drawn from where it is finite, and should lie above. Distances below the spacing
    of floating-point numbers at F are drawn at that spacing. Several solvers go into the same Axes
    by one call each, with a `label`.

    Args:
      problem: the equation of one problem, as `log_partition.make_problem` returns it.
      solver: as in `solve_log_partition`.
      initial: F to start from; None lets the solver choose.
      max_steps: evaluations allowed. Where they run out, the last point is hollow, and a note says
        so.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.plot`, such as `color` or `label`.

    Returns:
      The Axes.

    Raises:
      TypeError: `problem`, `solver` or `ax` of another type.
      ValueError: a batch of problems, or numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition, plots
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> ax = plots.solver_iterates(problem, solver=log_partition.bisection(), label="bisection")
      >>> print(ax.get_ylabel())
      distance to F* (nats)
    """
    check_result("problem", problem, (Problem,), "make_problem(...)")
    check_single("problem", problem.data.values, 1, "one problem")
    solution = solve_problem(problem, solver=solver, initial=initial, max_steps=max_steps)
    status = Status(int(solution.status))
    ax = as_axes(ax)
    ax.set(xlabel="evaluations of the equation", ylabel="distance to F* (nats)", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    root = solve_problem(problem).log_partition
    if status == Status.NONFINITE or not np.isfinite(root):
        add_note(ax, f"{status.name}: the problem has no solution")
        return ax
    states = _states(problem, solver, initial, int(solution.num_evaluations))
    _draw(ax, states, root, status, options)
    add_legend(ax)
    return ax


_LINE = "nce_jax.plots iterates"


def _states(problem: Problem, solver: Solver, initial: Any, num_steps: int) -> State:
    """All states of a solve, with a leading axis: the first one is the start."""
    dtype = problem.data.values.dtype
    given = jnp.nan if initial is None else as_scalar_array("initial", initial, ())
    start = solver.init(problem, jnp.asarray(given, dtype))

    def step(state: State, _: None) -> tuple[State, State]:
        state = solver.step(problem, state)
        return state, state

    _, later = jax.lax.scan(step, start, None, length=num_steps)
    return jax.tree.map(lambda first, rest: jnp.append(first[None], rest), start, later)


def _draw(ax: Axes, states: State, root: Any, status: Status, options: dict[str, Any]) -> None:
    # A root of zero has no digit of its own; the log ratios beside it have.
    root = np.asarray(root)
    spacing = float(np.finfo(root.dtype).eps * np.maximum(np.abs(root), 1))
    distance = np.maximum(np.abs(as_float64(states.estimate) - float(root)), spacing)
    steps = np.arange(len(distance))
    row = sum(line.get_gid() == _LINE for line in ax.lines)
    style: dict[str, Any] = {
        "marker": "o",
        "markersize": 4,
        "color": PALETTE[row % len(PALETTE)],
        "gid": _LINE,
    }
    (line,) = ax.plot(steps, distance, **{**style, **options})
    bound = as_float64(states.error)
    shown = np.where(np.isfinite(bound), np.maximum(bound, spacing), np.nan)
    label = None if row else "certified bound"
    ax.plot(steps, shown, color=line.get_color(), linestyle="--", linewidth=0.8, label=label)
    if status == Status.MAX_STEPS:
        hollow: dict[str, Any] = {
            "marker": "o",
            "markersize": 9,
            "markerfacecolor": "white",
            "linestyle": "none",
        }
        ax.plot(steps[-1:], distance[-1:], color=line.get_color(), **hollow)
    if status != Status.CONVERGED:
        add_note(ax, _NOTES[status])


_NOTES = {
    Status.MAX_STEPS: "MAX_STEPS: not converged, no solution",
    Status.NO_OVERLAP: "NO_OVERLAP: F* is no estimate of a log Z",
}
