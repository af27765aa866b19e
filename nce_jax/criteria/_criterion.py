"""A criterion: a loss together with its way to profile the normaliser."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.log_partition import Solution, Status
from nce_jax.log_partition._solve import solve_problem
from nce_jax.log_partition._types import Problem


class Criterion(NamedTuple):
    """A loss of log-ratio arrays together with its way to profile the normaliser.

    Attributes:
      name: what error messages call it.
      loss: `loss(log_ratio_data, log_ratio_noise, *, log_partition, weights_data, weights_noise)`.
      equation: for a normaliser that is the root of an equation: a function of the same log-ratios and weights that returns
        the equation at the loss's own kappa, for any `Solver`.
      closed_form: for a normaliser with a closed form: a function of the same that returns it.
      has_bennett_step: whether Bennett's fixed point applies to the equation.
    """

    name: str
    loss: Callable[..., jax.Array]
    equation: Callable[..., Problem] | None = None
    closed_form: Callable[..., jax.Array] | None = None
    has_bennett_step: bool = True

    def profile(self, log_ratio_data, log_ratio_noise, *, weights_data=None, weights_noise=None, **options) -> Solution:
        """The minimiser of the loss in the log partition; `options` are those of `solve_log_partition`."""
        weights = {"weights_data": weights_data, "weights_noise": weights_noise}
        if self.equation is not None:
            return solve_problem(self.equation(log_ratio_data, log_ratio_noise, **weights), **options)
        if self.closed_form is not None:
            return _exact(self.closed_form(log_ratio_data, log_ratio_noise, **weights))
        raise ValueError(f"criterion {self.name}: has no normaliser to solve for")


def _exact(log_partition: jax.Array) -> Solution:
    """A closed form as a solution: converged in no step, or not finite."""
    is_finite = jnp.isfinite(log_partition)
    return Solution(
        log_partition=jnp.where(is_finite, log_partition, jnp.nan),
        residual=jnp.where(is_finite, 0, jnp.nan).astype(log_partition.dtype),
        num_steps=jnp.zeros(log_partition.shape, jnp.int32),
        status=jnp.where(is_finite, Status.CONVERGED, Status.NONFINITE).astype(jnp.int32),
    )
