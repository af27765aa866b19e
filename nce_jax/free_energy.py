"""Free energy differences from work values, in the terms of molecular simulation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_scalar, check_positive, check_same_batch
from nce_jax._numerics import expand, scaled_sigmoid
from nce_jax._types import Array, Float, LogRatio, Real, Scalars
from nce_jax.diagnostics import overlap
from nce_jax.log_partition import Solver, Status, newton, solve_log_partition

__all__ = ["FreeEnergy", "bar"]


class FreeEnergy(NamedTuple):
    """A free energy difference with its uncertainty; every field has the batch shape.

    Attributes:
      delta_f: f(final) - f(initial) in units of kT; NaN unless the status is CONVERGED.
      standard_error: standard error of `delta_f` in kT; NaN unless the status is CONVERGED, inf
        with a single work value on a side.
      overlap: of the two ensembles, between 0 and 1 for consistent samples. pymbar's overlap scalar
        estimates the same number in another way.
      status: a `Status`, int32.
    """

    delta_f: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    overlap: Float[Array, "*batch"]
    status: Real[Array, "*batch"]


def bar(
    work_forward: LogRatio,
    work_reverse: LogRatio,
    *,
    statistical_inefficiency: Scalars = 1.0,
    solver: Solver = newton(),
    tolerance: Scalars | None = None,
    max_steps: int = 200,
) -> FreeEnergy:
    r"""Bennett acceptance ratio: the free energy difference of two states from work values.

    Solves

    .. math::
       \sum_F \frac{1}{1 + \exp(\log\frac{m}{n} + w_F - \Delta f)}
       = \sum_R \frac{1}{1 + \exp(-\log\frac{m}{n} + w_R + \Delta f)}

    for :math:`\Delta f`, with m values w_F = `work_forward` and n values w_R = `work_reverse`. This
    is `solve_log_partition` with s_noise = -w_F, s_data = w_R, kappa = m / n and delta_f = -F*. The
    data come from the final state itself, so that F* estimates a ratio of partition functions, and
    kappa = m / n minimizes its variance.

    The variance is Bennett's,
    :math:`1 / \mathrm{ESS}_F - 1 / m + 1 / \mathrm{ESS}_R - 1 / n`, with the effective sample sizes
    of the acceptance probabilities. It assumes that the work values of both sides are consistent;
    `log_partition_standard_error`, which allows data from any distribution, does not.

    Args:
      work_forward: work from the initial to the final state, (*batch, m), in kT, sampled in the
        initial state. For equilibrium samples, w_F = u_final(x) - u_initial(x).
      work_reverse: work from the final to the initial state, (*batch, n), sampled in the final
        state.
      statistical_inefficiency: g >= 1, the number of correlated samples that are worth one
        independent sample; the error grows by sqrt(g).
      solver: `newton()`, `bisection()` or `fixed_point()` (Bennett's own self-consistent
        iteration).
      tolerance: admissible error of delta_f in kT; None takes the default of
        `solve_log_partition`.
      max_steps: evaluations allowed.

    Returns:
      A `FreeEnergy`, in pymbar's sign convention. Where the solve fails or the two ensembles do
      not overlap, delta_f and standard_error are NaN, and the status gives the reason.

    Raises:
      TypeError: work values that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_forward, key_reverse = jax.random.split(jax.random.key(0))
      >>> # Gaussian work with delta_f = 1 and standard deviation 2: means 1 + 2 and -1 + 2
      >>> work_forward = 3 + 2 * jax.random.normal(key_forward, (10_000,))
      >>> work_reverse = 1 + 2 * jax.random.normal(key_reverse, (10_000,))
      >>> result = nce_jax.bar(work_forward, work_reverse)
      >>> print(
      ...     f"{result.delta_f:.4f} +- {result.standard_error:.4f}, overlap {result.overlap:.4f}"
      ... )
      0.9871 +- 0.0157, overlap 0.4514

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eqs.
        10-14.
      Shirts, Bair, Hooker and Pande, Equilibrium free energies from nonequilibrium measurements
        using maximum-likelihood methods, 2003.
    """
    check_positive("statistical_inefficiency", statistical_inefficiency)
    if isinstance(statistical_inefficiency, int | float) and statistical_inefficiency < 1:
        raise ValueError(
            f"statistical_inefficiency: expected at least 1, got {statistical_inefficiency}"
        )
    forward = as_samples("work_forward", work_forward)
    reverse = as_samples("work_reverse", work_reverse)
    check_same_batch(("work_forward", "work_reverse"), forward, reverse)
    noise_ratio = forward.shape[-1] / reverse.shape[-1]
    solution = solve_log_partition(
        reverse,
        -forward,
        noise_ratio=noise_ratio,
        solver=solver,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    is_estimate = solution.status == Status.CONVERGED
    dtype = solution.log_partition.dtype
    variance = _variance(forward.astype(dtype), reverse.astype(dtype), -solution.log_partition)
    variance *= as_scalar(
        "statistical_inefficiency", statistical_inefficiency, solution.log_partition[..., None]
    )
    return FreeEnergy(
        delta_f=jnp.where(is_estimate, -solution.log_partition, jnp.nan),
        standard_error=jnp.where(is_estimate, jnp.sqrt(variance), jnp.nan),
        overlap=overlap(
            reverse, -forward, log_partition=solution.log_partition, noise_ratio=noise_ratio
        ),
        status=solution.status,
    )


def _variance(forward: jax.Array, reverse: jax.Array, delta_f: jax.Array) -> jax.Array:
    """Bennett's variance of delta_f for independent work values (eq. 10a)."""
    if min(forward.shape[-1], reverse.shape[-1]) == 1:
        return jnp.full_like(delta_f, jnp.inf)
    offset = expand(delta_f) - math.log(forward.shape[-1] / reverse.shape[-1])
    acceptances = (scaled_sigmoid(offset - forward)[0], scaled_sigmoid(-offset - reverse)[0])
    return sum((_relative_variance(p) / p.shape[-1] for p in acceptances), jnp.zeros_like(delta_f))


def _relative_variance(values: jax.Array) -> jax.Array:
    """Variance over squared mean.

    It is computed from deviations, since n / ESS - 1 would lose its digits where the values hardly
    vary.
    """
    return jnp.mean(jnp.square(values / jnp.mean(values, axis=-1, keepdims=True) - 1), axis=-1)
