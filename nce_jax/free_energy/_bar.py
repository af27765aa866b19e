"""Bennett's acceptance ratio of two states."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._eager import one_program
from nce_jax._numerics import block_sums, effective_samples, rounding_variance
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.diagnostics import overlap
from nce_jax.free_energy._window import (
    WORK,
    Window,
    as_inefficiency,
    check_inefficiency,
    solved_window,
)
from nce_jax.log_partition import Solver, interval_status, newton


class FreeEnergy(NamedTuple):
    """A free energy difference with its uncertainty; every field has the batch shape.

    Attributes:
      delta_f: f(final) - f(initial) in units of kT; NaN unless the status is CONVERGED or
        LOW_OVERLAP.
      standard_error: standard error of `delta_f` in kT, NaN where `delta_f` is; inf with a single
        work value on a side. It is too small, as a rule, where the status is LOW_OVERLAP.
      overlap: of the two ensembles, between 0 and 1 for consistent samples. pymbar's overlap scalar
        estimates the same number in another way.
      status: a `Status`, int32. LOW_OVERLAP where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of work values behind the standard error: no value
        contributes more than one over this number to the variance.
    """

    delta_f: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    overlap: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


def bar(
    work_forward: LogRatio,
    work_reverse: LogRatio,
    *,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
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
    `log_partition_standard_error`, which allows data from any distribution, does not. The error of
    a sum over windows that share their samples is not the root of the summed squares;
    `free_energy.bar_chain` returns the joint error, also for windows of different lengths.

    Args:
      work_forward: work from the initial to the final state, (*batch, m), in kT, sampled in the
        initial state. For equilibrium samples, w_F = u_final(x) - u_initial(x). A value of +inf,
        from a configuration that the other state does not allow, counts among the m and adds zero
        to the sum.
      work_reverse: work from the final to the initial state, (*batch, n), sampled in the final
        state; +inf as above.
      weights_forward: weights >= 0 of the forward work values, broadcastable to them: zero for
        padding, or those of reweighted samples; need not be normalized. m is then the effective
        number of samples.
      weights_reverse: the same for the reverse work values.
      statistical_inefficiency: g >= 1, the number of correlated samples that are worth one
        independent sample; the error grows by sqrt(g), and is NaN where a traced g is below one.
        For one g per side call `free_energy.bar_chain([work_forward], [work_reverse],
        statistical_inefficiency=[g_forward, g_reverse])`.
      solver: `newton()`, `bisection()` or `fixed_point()` (Bennett's own self-consistent
        iteration).
      tolerance: admissible error of delta_f in kT; None takes the default of
        `solve_log_partition`.
      max_steps: evaluations allowed.

    Returns:
      A `FreeEnergy`, in pymbar's sign convention. Where the solve fails or the two ensembles do
      not overlap, delta_f and standard_error are NaN, and the status gives the reason;
      `check_solution(result, problem=...)` names the values that are NaN or -inf. Where they
      overlap so little that intervals would cover too rarely, the status is LOW_OVERLAP. Work in
      another unit or with a wrong sign gives plausible numbers; `free_energy.check_work` finds out.

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
    check_inefficiency(statistical_inefficiency)
    return _bar(
        work_forward,
        work_reverse,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        statistical_inefficiency=statistical_inefficiency,
        solver=solver,
        tolerance=tolerance,
        max_steps=max_steps,
    )


@one_program(*WORK, static=("solver", "max_steps"), effect=Effect("delta_f"))
def _bar(
    work_forward: LogRatio,
    work_reverse: LogRatio,
    *,
    weights_forward: Weights | None,
    weights_reverse: Weights | None,
    statistical_inefficiency: Scalars,
    solver: Solver,
    tolerance: Scalars | None,
    max_steps: int,
) -> FreeEnergy:
    window = solved_window(
        work_forward,
        work_reverse,
        weights_forward,
        weights_reverse,
        solver=solver,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    return estimate_of(window, statistical_inefficiency)


def estimate_of(window: Window, statistical_inefficiency: Scalars) -> FreeEnergy:
    """The free energy difference of a window alone, with Bennett's error (eq. 10a)."""
    inefficiency = as_inefficiency("statistical_inefficiency", statistical_inefficiency, window)
    variance = variance_of(window, 1) * inefficiency + rounding_variance(window.delta_f)
    count = effective_count(window, 1) / inefficiency
    return FreeEnergy(
        delta_f=window.given(window.delta_f),
        standard_error=window.given(jnp.sqrt(variance)),
        overlap=overlap_of(window),
        status=interval_status(window.status, count),
        effective_samples=count,
    )


def variance_of(window: Window, block_size: int) -> jax.Array:
    """Bennett's variance of delta_f for independent blocks; infinite with one on a side."""
    blocks = [block_sums(side, block_size) for side in window.influences]
    squares = [jnp.sum(jnp.square(side), axis=-1) for side in blocks]
    return jnp.where(window.is_single(block_size), jnp.inf, squares[0] + squares[1])


def effective_count(window: Window, block_size: int) -> jax.Array:
    """The effective number of work values, or blocks, behind the variance."""
    weights = window.forward.weights, window.reverse.weights
    sides = zip(window.influences, weights, strict=True)
    return effective_samples(*sides, block_size=block_size)


def overlap_of(window: Window) -> jax.Array:
    """The overlap of the two ensembles."""
    return overlap(
        window.reverse.work, -window.forward.work, log_partition=-window.delta_f, **window.pair
    )
