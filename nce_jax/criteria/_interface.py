"""The type of a criterion: a loss together with its way to profile the normalizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair
from nce_jax._numerics import stop_where
from nce_jax._partial import compared_by_parts
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
from nce_jax.log_partition.solve import check_solver_options


@compared_by_parts
class Criterion(NamedTuple):
    """A loss of log-ratio arrays together with its way to profile the normalizer.

    Attributes:
      name: the name in error messages.
      loss: `loss(log_ratio_data, log_ratio_noise, *, log_partition, weights_data, weights_noise)`,
        which returns a number per batch entry.
      equation: `equation(log_ratio_data, log_ratio_noise, *, weights_data, weights_noise)`, which
        returns a `Problem` whose root minimizes the loss in F; None where there is none.
      closed_form: the same arguments, for a minimizer in closed form: returns F; None where there
        is none.
      has_bennett_step: whether Bennett's fixed point applies to the equation.
      at_magnification: `at_magnification(M)`, the same criterion at another M; None unless a rule
        may adapt M.
      generator_loss: `generator_loss(log_ratio, *, log_partition, weights, form)`, the loss of a
        player whose samples are the noise, at the same M and noise ratio; None where there is none.
    """

    name: str
    loss: Callable[..., jax.Array]
    equation: Callable[..., Problem] | None = None
    closed_form: Callable[..., jax.Array] | None = None
    has_bennett_step: bool = True
    at_magnification: Callable[[Scalars], "Criterion"] | None = None
    generator_loss: Callable[..., jax.Array] | None = None

    def __repr__(self) -> str:
        """The name alone: signatures with a criterion as a default stay readable."""
        return f"Criterion({self.name!r})"

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
        r"""Solves for the F that minimizes the loss at the given log ratios.

        Args:
          log_ratio_data: s of the data samples, (*batch, n).
          log_ratio_noise: s of the noise samples, (*batch, m).
          weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
          weights_noise: the same for the noise samples.
          solver: as in `solve_log_partition`. A closed form takes no steps and uses neither this
            nor the options below, so that one call serves every criterion.
          initial: as in `solve_log_partition`.
          tolerance: as in `solve_log_partition`.
          max_steps: as in `solve_log_partition`.
          fixed_steps: as in `solve_log_partition`.

        Returns:
          A `Solution`. With a closed form its status is NO_OVERLAP if hardly any sample of one set
          is plausible under the other, which means at this F

          .. math:: \min\big(\mathbb{E}_{\mathrm{data}}[\sigma(-u)],\,
             \mathbb{E}_{\mathrm{noise}}[\sigma(u)]\big) < \frac{1}{2 (n + m)}.

        Raises:
          TypeError: log ratios or weights that are not floating, or a `solver` that is no `Solver`.
          ValueError: empty arrays, mismatched batches, plain numbers out of their range, or a
            criterion without a normalizer to solve for.
        """
        check_solver_options(solver, tolerance, max_steps, fixed_steps)
        sides = log_ratio_data, log_ratio_noise
        weights: dict[str, Any] = {"weights_data": weights_data, "weights_noise": weights_noise}
        if self.equation is not None:
            options: dict[str, Any] = {"solver": solver, "initial": initial, "tolerance": tolerance}
            limits: dict[str, Any] = {"max_steps": max_steps, "fixed_steps": fixed_steps}
            return solve_problem(self.equation(*sides, **weights), **options, **limits)
        if self.closed_form is not None:
            return _exact(self.closed_form, *as_pair(*sides, **weights))
        raise ValueError(
            f"criterion {self.name}: expected an equation or a closed form for F, got neither"
        )


def _exact(closed_form: Callable[..., jax.Array], *sides: Any) -> Solution:
    """An F in closed form as a `Solution`; its overlap is judged at kappa = 1."""
    fixed = jax.lax.stop_gradient(sides)
    problem = make_problem(*fixed)
    log_partition = _apply(closed_form, fixed)
    # A NaN on the side that a closed form does not depend on makes the loss NaN all the same.
    has_nan = jnp.isnan(problem.data.values).any(-1) | jnp.isnan(problem.noise.values).any(-1)
    is_solved = jnp.isfinite(log_partition) & ~has_nan
    # F is not the root of that equation, so that this is a lower bound on the overlap.
    solved = jnp.where(
        lacks_overlap(problem, log_overlap_bound(problem, log_partition)),
        Status.NO_OVERLAP,
        Status.CONVERGED,
    )
    root = _apply(closed_form, stop_where(~is_solved, sides))
    return Solution(
        log_partition=jnp.where(is_solved, root, jnp.nan),
        residual=jnp.where(is_solved, 0, jnp.nan).astype(log_partition.dtype),
        num_evaluations=jnp.zeros(log_partition.shape, jnp.int32),
        status=jnp.where(is_solved, solved, Status.NONFINITE).astype(jnp.int32),
    )


def _apply(closed_form: Callable[..., jax.Array], sides: Any) -> jax.Array:
    data, noise, weights_data, weights_noise = sides
    return closed_form(data, noise, weights_data=weights_data, weights_noise=weights_noise)
