"""A criterion: a loss together with its way to profile the normalizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._types import LogRatio, Scalars, Weights
from nce_jax.log_partition import (
    Problem,
    Solution,
    Solver,
    Status,
    lacks_overlap,
    log_overlap_bound,
    make_problem,
    newton,
    solve_problem,
)


class Criterion(NamedTuple):
    """A loss of log-ratio arrays together with its way to profile the normalizer.

    Attributes:
      name: what error messages call it.
      loss: `loss(log_ratio_data, log_ratio_noise, *, log_partition, weights_data, weights_noise)`.
      equation: for a normalizer that is the root of an equation: a function of the same log-ratios
        and weights that returns the equation at the loss's own kappa, for any `Solver`.
      closed_form: for a normalizer with a closed form: a function of the same that returns it.
      has_bennett_step: whether Bennett's fixed point applies to the equation.
      at_magnification: the same criterion at another M, for those whose M a rule may adapt: binary
        NCE.
    """

    name: str
    loss: Callable[..., jax.Array]
    equation: Callable[..., Problem] | None = None
    closed_form: Callable[..., jax.Array] | None = None
    has_bennett_step: bool = True
    at_magnification: Callable[[Scalars], "Criterion"] | None = None

    def profile(
        self,
        log_ratio_data: LogRatio,
        log_ratio_noise: LogRatio,
        *,
        weights_data: Weights | None = None,
        weights_noise: Weights | None = None,
        solver: Solver = newton(),
        initial: Scalars | None = None,
        tolerance: Scalars | None = None,
        max_steps: int = 200,
        fixed_steps: int | None = None,
    ) -> Solution:
        """The minimizer of the loss in the log partition.

        `solver`, `initial`, `tolerance` and the steps are those of `solve_log_partition`; a closed
        form takes no steps and ignores all of them, so that one caller serves every criterion. Its
        status is NO_OVERLAP where min(E_data[sigma(-u)], E_noise[sigma(u)]) < 1 / (2 (n + m)) at
        its own F: hardly any sample of one set is then plausible under the other.
        """
        sides = log_ratio_data, log_ratio_noise
        weights: dict[str, Any] = {"weights_data": weights_data, "weights_noise": weights_noise}
        if self.equation is not None:
            options: dict[str, Any] = {"solver": solver, "initial": initial, "tolerance": tolerance}
            limits: dict[str, Any] = {"max_steps": max_steps, "fixed_steps": fixed_steps}
            return solve_problem(self.equation(*sides, **weights), **options, **limits)
        if self.closed_form is not None:
            return _exact(self.closed_form(*sides, **weights), make_problem(*sides, **weights))
        raise ValueError(f"criterion {self.name}: has no normalizer to solve for")


def _exact(log_partition: jax.Array, problem: Problem) -> Solution:
    """A closed form as a solution: converged in no step, not finite, or without overlap at
    `problem`'s kappa = 1.
    """
    is_finite = jnp.isfinite(log_partition)
    fixed = jax.lax.stop_gradient((problem, log_partition))
    # F is no root of that equation: the bound is the smaller side, and the root could only have
    # more of it.
    solved = jnp.where(
        lacks_overlap(problem, log_overlap_bound(*fixed)), Status.NO_OVERLAP, Status.CONVERGED
    )
    return Solution(
        log_partition=jnp.where(is_finite, log_partition, jnp.nan),
        residual=jnp.where(is_finite, 0, jnp.nan).astype(log_partition.dtype),
        num_evaluations=jnp.zeros(log_partition.shape, jnp.int32),
        status=jnp.where(is_finite, solved, Status.NONFINITE).astype(jnp.int32),
    )
