"""Solvers for the profiled normaliser F*(kappa): one loop, and one short file per method."""

from nce_jax.log_partition._bisection import bisection as bisection
from nce_jax.log_partition._fixed_point import fixed_point as fixed_point
from nce_jax.log_partition._newton import newton as newton
from nce_jax.log_partition._solve import solve_log_partition as solve_log_partition
from nce_jax.log_partition._types import Solution as Solution
from nce_jax.log_partition._types import Solver as Solver
from nce_jax.log_partition._types import Status as Status
from nce_jax.log_partition._types import check_solution as check_solution

__all__ = [
    "Solution",
    "Solver",
    "Status",
    "bisection",
    "check_solution",
    "fixed_point",
    "newton",
    "solve_log_partition",
]
