"""Solvers for the profiled normalizer F*(kappa): one loop, and one short file per method.

`problem`, `equation` and `solve` are what an extension builds on: the equation of a criterion of
your own is a `Problem`, a method of your own a `Solver` that steps a `State`.
"""

from nce_jax.log_partition._bisection import bisection
from nce_jax.log_partition._fixed_point import fixed_point
from nce_jax.log_partition._newton import newton
from nce_jax.log_partition.problem import (
    Problem,
    Pull,
    Samples,
    Solution,
    Solver,
    State,
    Status,
    check_solution,
    make_problem,
)
from nce_jax.log_partition.solve import solve_log_partition, solve_problem

__all__ = [
    "Problem",
    "Pull",
    "Samples",
    "Solution",
    "Solver",
    "State",
    "Status",
    "bisection",
    "check_solution",
    "fixed_point",
    "make_problem",
    "newton",
    "solve_log_partition",
    "solve_problem",
]
