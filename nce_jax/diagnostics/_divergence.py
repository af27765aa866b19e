"""D_kappa, the divergence that NCE bounds from below, from Jensen-Shannon to Kullback-Leibler."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar, check_positive_int
from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import (
    expand,
    jackknife_variance,
    scaled_softplus,
    softplus,
    stop_where,
    weighted_mean,
)
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.diagnostics._standard_error import error_of_root
from nce_jax.log_partition import (
    Problem,
    Samples,
    Status,
    bracket,
    interval_status,
    make_problem,
    solve_problem,
)


class Divergence(NamedTuple):
    """An estimate of D_kappa; every field has the batch shape.

    Attributes:
      value: in nats; NaN where the normalizer could not be solved for.
      standard_error: standard error of the value, in nats, for independent samples or blocks; inf
        with a single one on a side. It is too small, as a rule, where the status is LOW_OVERLAP.
      status: a `Status`, int32. NO_OVERLAP is no failure: D_kappa of distributions that do not
        overlap has its largest possible value, log(1 + kappa) + kappa log(1 + 1 / kappa).
        LOW_OVERLAP where `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of samples (or blocks) that determine F: none
        contributes more than one over this number to its variance (`estimate_log_partition`).
    """

    value: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


@one_program(*PAIR, static=("block_size",), effect=Effect())
def divergence(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    block_size: int = 1,
) -> Divergence:
    r"""Estimates D_kappa, a divergence between Jensen-Shannon and KL, with its standard error.

    The estimate is :math:`-L + \log(1 + \kappa) + \kappa \log(1 + 1 / \kappa)`, with the NCE loss
    L. For data from p and noise from q it estimates

    .. math::
       D_\kappa = \mathrm{KL}(p \,\|\, m) + \kappa\, \mathrm{KL}(q \,\|\, m), \qquad
       m = \frac{p + \kappa q}{1 + \kappa}.

    It is twice the Jensen-Shannon divergence at kappa = 1, and tends to KL(p || q) as kappa ->
    infinity. It is a lower bound for any log ratio s, and tight at s = log(p / q) + constant. The
    bound holds for samples that were not used to fit the log ratio. No estimate exceeds log(1 +
    kappa) + kappa log(1 + 1 / kappa), which is about log(kappa) + 1: a divergence of d nats needs
    kappa > e^d.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; in time order where blocks are
        used.
      log_ratio_noise: the same for the noise samples, (*batch, m).
      log_partition: F; None solves for F* at this kappa, which gives the largest bound.
      magnification: M > 0, a number or one per batch entry; kappa = `magnification` *
        `noise_ratio`.
      noise_ratio: nu > 0, as for `magnification`.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      block_size: consecutive samples per block in the standard error, for correlated samples.

    Returns:
      A `Divergence`. Its standard error is the one of both sample means; since F* minimizes the
      loss, the error of F* enters only in second order. Where few samples determine F*, as they do
      at large kappa, intervals cover too rarely, and the status is LOW_OVERLAP.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 1 + jax.random.normal(key_data, (10_000,))
      >>> x_noise = jax.random.normal(key_noise, (10_000,))
      >>> kl = nce_jax.divergence(
      ...     x_data, x_noise, magnification=1e4
      ... )  # log(p / q) = x - 1 / 2, and KL = 1 / 2
      >>> print(f"{kl.value:.4f} +- {kl.standard_error:.4f}")
      0.4886 +- 0.0167

    References:
      Nguyen, Wainwright and Jordan, Estimating divergence functionals and the likelihood ratio by
        convex risk minimization, 2010 (the variational form).
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (from
        Jensen-Shannon to KL).
    """
    check_positive_int("block_size", block_size)
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    shift, status = _normalizer(problem, log_partition)
    # With a given F nothing has checked the samples yet: bad ones show in the value.
    fixed = jax.lax.stop_gradient((problem, shift))
    is_finite = jnp.isfinite(_estimate(fixed[0], fixed[1], block_size)[0])
    # The error of F* enters in second order, and counts as soon as few samples determine F*.
    _, count = error_of_root(*fixed, block_size)
    status = jnp.where(is_finite | (status == Status.MAX_STEPS), status, Status.NONFINITE)
    problem, shift = stop_where(~is_finite, (problem, shift))
    value, variance = _estimate(problem, shift, block_size)
    return Divergence(
        value=jnp.where(is_finite, value, jnp.nan),
        standard_error=jnp.where(is_finite, jnp.sqrt(variance), jnp.nan),
        status=interval_status(status, count),
        effective_samples=count,
    )


def _estimate(
    problem: Problem, log_partition: jax.Array, block_size: int
) -> tuple[jax.Array, jax.Array]:
    """D_kappa and the variance of its estimate."""
    terms, sides = _terms(problem, log_partition), (problem.data, problem.noise)
    means = [weighted_mean(values, side.weights) for values, side in zip(terms, sides, strict=True)]
    variances = [_variance(*parts, block_size) for parts in zip(terms, means, sides, strict=True)]
    return means[0] + means[1], variances[0] + variances[1]


def _normalizer(problem: Problem, log_partition: Scalars | None) -> tuple[jax.Array, jax.Array]:
    if log_partition is None:
        solution = solve_problem(problem)
        return solution.log_partition, solution.status
    shift = as_scalar("log_partition", log_partition, problem.data.values)
    lower, upper = bracket(problem)
    is_finite = jnp.isfinite(shift + (upper - lower))
    return jnp.where(is_finite, shift, jnp.nan), jnp.where(
        is_finite, Status.CONVERGED, Status.NONFINITE
    ).astype(jnp.int32)


def _terms(problem: Problem, log_partition: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The terms of D_kappa, each less its value at u = 0, so that small ones keep their digits."""
    log_kappa, shift = expand(problem.log_kappa), expand(log_partition)
    terms_data = softplus(log_kappa) - softplus(log_kappa - (problem.data.values - shift))
    terms_noise = scaled_softplus(jnp.zeros_like(log_kappa), log_kappa) - scaled_softplus(
        problem.noise.values - shift, log_kappa
    )
    return terms_data, terms_noise


def _variance(terms: jax.Array, mean: jax.Array, side: Samples, block_size: int) -> jax.Array:
    shares = jnp.ones_like(terms) if side.weights is None else side.weights
    influence = shares / expand(side.total) * (terms - expand(mean))
    return jackknife_variance(influence, side.weights, block_size)
