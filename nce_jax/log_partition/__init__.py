"""Solving for the profiled normalizer F*(kappa): solvers, and the parts to write your own.

`solve_log_partition` takes log ratios and returns a `Solution`. An extension builds on its public
modules: `problem` holds the types (the equation of your own criterion is a `Problem`, your own
method a `Solver` that steps a `State`), `equation` and `evaluation` the equation with its overlap
and error bounds, `implicit` the derivative of a root, `interval` the rule of LOW_OVERLAP.
docs/extending.md has examples. The loop is in `_loop`, its tolerance in `_tolerance`, and what
makes a solve fail in `_status`.
"""

from nce_jax.log_partition._bisection import bisection
from nce_jax.log_partition._bracket import initial_state, narrow_bracket
from nce_jax.log_partition._check import check_solution
from nce_jax.log_partition._fixed_point import fixed_point
from nce_jax.log_partition._loop import Run, iterate, start_run
from nce_jax.log_partition._newton import newton
from nce_jax.log_partition.equation import (
    acceptance_logits,
    bennett_residual,
    lacks_overlap,
    log_overlap,
    log_overlap_bound,
)
from nce_jax.log_partition.evaluation import (
    Evaluation,
    error_bound,
    evaluate_equation,
    newton_error_bound,
)
from nce_jax.log_partition.implicit import implicit_root
from nce_jax.log_partition.interval import MIN_EFFECTIVE_SAMPLES, interval_status
from nce_jax.log_partition.problem import (
    Problem,
    Pull,
    Samples,
    Solution,
    Solver,
    State,
    Status,
    bracket,
    make_problem,
)
from nce_jax.log_partition.solve import (
    solve_log_partition,
    solve_problem,
    solve_unless_given,
    solve_with_last_iterate,
)

__all__ = [
    "MIN_EFFECTIVE_SAMPLES",
    "Evaluation",
    "Problem",
    "Pull",
    "Run",
    "Samples",
    "Solution",
    "Solver",
    "State",
    "Status",
    "acceptance_logits",
    "bennett_residual",
    "bisection",
    "bracket",
    "check_solution",
    "error_bound",
    "evaluate_equation",
    "fixed_point",
    "implicit_root",
    "initial_state",
    "interval_status",
    "iterate",
    "lacks_overlap",
    "log_overlap",
    "log_overlap_bound",
    "make_problem",
    "narrow_bracket",
    "newton",
    "newton_error_bound",
    "solve_log_partition",
    "solve_problem",
    "solve_unless_given",
    "solve_with_last_iterate",
    "start_run",
]
