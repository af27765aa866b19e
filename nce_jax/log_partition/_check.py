"""Solutions that are read on the host: which solves failed, and why."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_instance
from nce_jax._options import check_flag
from nce_jax.log_partition.evaluation import log_kappa_range
from nce_jax.log_partition.problem import Problem, Samples, Solution, Status, check_problem

_NO_ESTIMATE = "failed or have no overlap"


def check_solution(
    solution: Solution, *, allow_no_overlap: bool = True, problem: Problem | None = None
) -> None:
    """Raises if any solve failed.

    A solve failed where its result is NaN: MAX_STEPS and NONFINITE, and for a free energy, a
    model's log Z and a held-out likelihood NO_OVERLAP as well. For `solve_log_partition` NO_OVERLAP
    is no failure: F is then the exact minimizer of the loss, which training can use, and the train
    step does not count it as a failed solve either. It is no estimate of a log Z; where you need
    one, pass `allow_no_overlap=False`, which refuses LOW_OVERLAP as well.

    For host code, outside `jit`, because it reads values. Inside `jit`, use `solution.status`.

    Args:
      solution: what `solve_log_partition` returned, any batch shape; or another result with a
        status, such as that of `bar`, `bar_chain` or `mbar`.
      allow_no_overlap: whether NO_OVERLAP, where the result is not NaN, and LOW_OVERLAP are
        accepted.
      problem: the equation that was solved, as `make_problem` returns it for the same arguments.
        With it the message says why an entry is NONFINITE: which samples of which side, or which
        weights. For `bar` it is that of work_reverse and -work_forward.

    Raises:
      FloatingPointError: names the entries of the batch and their status.
      TypeError: `solution` has no status, or holds traced values.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> solution = nce_jax.solve_log_partition(jnp.array([0.2, 1.0]), jnp.array([-0.5, 0.1]))
      >>> nce_jax.check_solution(solution)
      >>> bad = nce_jax.solve_log_partition(
      ...     jnp.array([[0.2], [jnp.nan]]), jnp.array([[0.1], [0.1]])
      ... )
      >>> nce_jax.check_solution(bad)
      Traceback (most recent call last):
      ...
      FloatingPointError: log_partition: 1 of 2 solves failed: lane (1,) NONFINITE ...
      >>> s_data, s_noise = jnp.array([0.2, 1.0]), jnp.array([jnp.inf, 0.1])
      >>> bad = nce_jax.solve_log_partition(s_data, s_noise)
      >>> problem = nce_jax.log_partition.make_problem(s_data, s_noise)
      >>> nce_jax.check_solution(bad, problem=problem)
      Traceback (most recent call last):
      ...
      FloatingPointError: log_partition: 1 of 1 ...: log_ratio_noise is +inf at 1 of 2 samples ...
    """
    check_flag("allow_no_overlap", allow_no_overlap)
    if problem is not None:
        check_problem(problem)
    if not hasattr(solution, "status"):
        check_instance("solution", solution, Solution, "solve_log_partition(...) returns")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in solution):
        raise TypeError(
            "solution: expected values, got traced arrays; inside jit read solution.status"
        )
    status = np.atleast_1d(np.asarray(solution.status))
    without_estimate = (Status.NO_OVERLAP, Status.LOW_OVERLAP) if allow_no_overlap else ()
    accepted = (Status.CONVERGED, *without_estimate)
    refused = np.argwhere(~np.isin(status, accepted) | _is_missing(solution[0], status.shape))
    if len(refused) == 0:
        return
    lanes = "; ".join(
        _describe_lane(tuple(int(i) for i in lane), solution, problem) for lane in refused[:10]
    )
    more = f"; and {len(refused) - 10} more" if len(refused) > 10 else ""
    verdict = "failed" if isinstance(solution, Solution) and allow_no_overlap else _NO_ESTIMATE
    raise FloatingPointError(
        f"{_name(solution)}: {len(refused)} of {status.size} solves {verdict}: {lanes}{more}"
    )


def _is_missing(estimate: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Where the first field of a result, of the same shape as its status, is NaN."""
    if isinstance(estimate, float):  # of `held_out_log_likelihood`
        estimate = np.float64(estimate)
    if not isinstance(estimate, jax.Array | np.ndarray | np.floating):
        return np.zeros(shape, bool)
    is_number = jnp.issubdtype(estimate.dtype, jnp.floating)
    is_alike = is_number and np.atleast_1d(estimate).shape == shape
    return np.isnan(np.atleast_1d(estimate)) if is_alike else np.zeros(shape, bool)


def _name(solution: Any) -> str:
    """What was solved for, the first field of a result."""
    return "log_partition" if isinstance(solution, Solution) else str(type(solution)._fields[0])


def _describe_lane(lane: tuple[int, ...], solution: Any, problem: Problem | None) -> str:
    def at_lane(leaf: Any) -> Any:
        return np.atleast_1d(np.asarray(leaf))[lane]

    status = Status(at_lane(solution.status))
    text = f"lane {lane} {status.name}"
    if isinstance(solution, Solution):
        residual, count = at_lane(solution.residual), at_lane(solution.num_evaluations)
        text += f" (residual {residual:.3g} after {count} evaluations)"
    if problem is None and status == Status.NONFINITE and not isinstance(solution, Solution):
        return f"{text}: NaN, or an infinity on the wrong side, among its samples"
    if problem is None or status != Status.NONFINITE:
        return text
    return f"{text}: {_explain(problem, lane if problem.log_kappa.ndim else ())}"


def _explain(problem: Problem, lane: tuple[int, ...]) -> str:
    """Why an equation has no solution, in words."""
    sides = ("data", problem.data, np.inf), ("noise", problem.noise, -np.inf)
    causes = [cause for side in sides for cause in _causes(*side, lane)]
    log_kappa = np.asarray(problem.log_kappa, np.float64)[lane]
    least, largest = log_kappa_range(problem.log_kappa.dtype)
    if not causes and not least <= log_kappa <= largest:
        causes.append(
            f"noise_ratio * magnification is {np.exp(log_kappa):.3g}, beyond the range"
            f" {np.exp(least):.1g} to {np.exp(largest):.1g} of {problem.log_kappa.dtype.name}"
        )
    return ", ".join(causes) or "a quadratic penalty is infinite there"


def _causes(name: str, samples: Samples, vanishing: float, lane: tuple[int, ...]) -> Iterator[str]:
    values = np.asarray(samples.values)[lane]
    weights = np.ones_like(values)
    if samples.weights is not None:
        weights = np.asarray(samples.weights)[lane]
        bad = ~((weights >= 0) & (weights < np.inf))
        if bad.any():
            yield f"weights_{name} are negative, infinite or NaN at {_rows(bad)}"
        elif not weights.any():
            yield f"weights_{name} are all zero"
    counted = weights != 0
    for kind, mask in (("NaN", np.isnan(values)), (f"{-vanishing:+}", values == -vanishing)):
        if (mask & counted).any():
            yield f"log_ratio_{name} is {kind} at {_rows(mask & counted)}"
    if counted.any() and (values[counted] == vanishing).all():
        covers = "the noise covers none" if name == "data" else "the model has no mass at any"
        yield f"{covers} of the {counted.sum()} {name} samples"


def _rows(mask: np.ndarray) -> str:
    rows = np.flatnonzero(mask)
    more = ", ..." if len(rows) > 5 else ""
    return f"{len(rows)} of {mask.size} samples (rows {', '.join(map(str, rows[:5]))}{more})"
