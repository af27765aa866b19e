"""A criterion pairs a loss with its way to profile F; the profiled losses are that pair composed."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition import Solution, Solver, Status, newton
from nce_jax.log_partition._solve import solve_problem
from nce_jax.log_partition._types import Problem, make_problem
from nce_jax.losses import exponential_log_partition, exponential_nce_loss, nce_loss

_NEWTON = newton()


class Criterion(NamedTuple):
    """A loss of log-ratio arrays together with its way to profile the normaliser.

    Attributes:
      name: what error messages call it.
      loss: `loss(log_ratio_data, log_ratio_noise, *, log_partition, weights_data, weights_noise)`.
      equation: for a normaliser that is the root of an equation: a function of the same log-ratios and weights that returns
        the equation at the loss's own kappa, for any `Solver`.
      closed_form: for a normaliser with a closed form: a function of the same that returns it.
    """

    name: str
    loss: Callable[..., jax.Array]
    equation: Callable[..., Problem] | None = None
    closed_form: Callable[..., jax.Array] | None = None

    def profile(self, log_ratio_data, log_ratio_noise, *, weights_data=None, weights_noise=None, **options) -> Solution:
        """The minimiser of the loss in the log partition; `options` are those of `solve_log_partition`."""
        weights = {"weights_data": weights_data, "weights_noise": weights_noise}
        if self.equation is not None:
            return solve_problem(self.equation(log_ratio_data, log_ratio_noise, **weights), **options)
        if self.closed_form is not None:
            return _exact(self.closed_form(log_ratio_data, log_ratio_noise, **weights))
        raise ValueError(f"criterion {self.name}: has no normaliser to solve for")


def nce(*, magnification: Scalars = 1.0, noise_ratio: Scalars = 1.0) -> Criterion:
    """Binary NCE as a criterion, its normaliser solved at the loss's own kappa = noise_ratio * magnification.

    Args:
      magnification: M > 0, a traced number.
      noise_ratio: nu > 0, a traced number.

    Returns:
      The criterion of `nce_loss` and `solve_log_partition`.

    Raises:
      ValueError: a plain number that is not positive.

    Examples:
      >>> import nce_jax
      >>> nce_jax.nce(magnification=100.0).name
      'nce'

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (the objective L_M).
    """
    check_positive("magnification", magnification)
    check_positive("noise_ratio", noise_ratio)
    options: dict[str, Any] = {"magnification": magnification, "noise_ratio": noise_ratio}
    return Criterion("nce", partial(nce_loss, **options), equation=partial(make_problem, **options))


def exponential_nce() -> Criterion:
    """eNCE as a criterion: its normaliser has a closed form, and no Bennett step.

    Returns:
      The criterion of `exponential_nce_loss` and `exponential_log_partition`.

    Examples:
      >>> import nce_jax
      >>> nce_jax.exponential_nce().equation is None  # so that Bennett's step does not apply
      True

    References:
      Liu et al., Analyzing and Improving the Optimization Landscape of Noise-Contrastive Estimation, 2021, eNCE.
    """
    return Criterion("exponential_nce", exponential_nce_loss, closed_form=exponential_log_partition)


def _exact(log_partition: jax.Array) -> Solution:
    """A closed form as a solution: converged in no step, or not finite."""
    is_finite = jnp.isfinite(log_partition)
    return Solution(
        log_partition=jnp.where(is_finite, log_partition, jnp.nan),
        residual=jnp.where(is_finite, 0, jnp.nan).astype(log_partition.dtype),
        num_steps=jnp.zeros(log_partition.shape, jnp.int32),
        status=jnp.where(is_finite, Status.CONVERGED, Status.NONFINITE).astype(jnp.int32),
    )


def profiled_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    solver: Solver = _NEWTON,
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
) -> Float[Array, "*batch"]:
    """Binary NCE minimised over the normaliser: min_F L(s, F), with F solved inside.

    The derivatives are those of the profiled loss, to any order: F* carries its implicit derivative, so that a Hessian
    includes how F* follows the log-ratios (stopping the gradient there gives a wrong Hessian, never a wrong gradient). The
    loss does not change when all log-ratios are shifted by a constant. As kappa -> infinity it tends to the
    Donsker-Varadhan objective plus log kappa + 1.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      magnification: M > 0, a number or one per batch entry, traced.
      noise_ratio: nu > 0, likewise.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      solver: as in `solve_log_partition`.
      initial: likewise.
      tolerance: likewise.
      max_steps: likewise.

    Returns:
      The profiled loss, (*batch); NaN where the solve failed.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.profiled_nce_loss(s_data, s_noise, magnification=10.0):.4f}")
      1.8720
      >>> print(jax.grad(nce_jax.profiled_nce_loss)(s_data, s_noise, magnification=10.0).round(4))
      [-0.2803 -0.3881]

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation, 2024, appendix A.2.
    """
    criterion = nce(magnification=magnification, noise_ratio=noise_ratio)
    weights = {"weights_data": weights_data, "weights_noise": weights_noise}
    options = {"solver": solver, "initial": initial, "tolerance": tolerance, "max_steps": max_steps}
    solution = criterion.profile(log_ratio_data, log_ratio_noise, **weights, **options)
    return criterion.loss(log_ratio_data, log_ratio_noise, log_partition=solution.log_partition, **weights)
