"""D_kappa, the divergence that binary NCE bounds from below: from Jensen-Shannon to
Kullback-Leibler as kappa grows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar, check_positive_int
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.log_partition import Problem, Samples, Status, bracket, make_problem, solve_problem
from nce_jax.numerics import expand, jackknife_variance, softplus, weighted_mean


class Divergence(NamedTuple):
    """An estimate of D_kappa; every field has the batch shape.

    Attributes:
      value: in nats; NaN where the normalizer could not be solved for.
      standard_error: of the value for independent samples, in nats; inf with a single sample (or
        block) on a side.
      status: a `Status`, int32. NO_OVERLAP is no failure here: D_kappa of distributions that do not
        overlap is the largest value it can take, log(1 + kappa) + kappa log(1 + 1 / kappa).
    """

    value: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    status: Real[Array, "*batch"]


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
    """Variational estimate of D_kappa(data || noise) = -L + log(1 + kappa) + kappa log(1 + 1 /
    kappa), L the NCE loss.

    D_kappa = KL(p || m) + kappa KL(q || m), m = (p + kappa q) / (1 + kappa): twice the
    Jensen-Shannon divergence at kappa = 1, KL(p || q) as kappa -> infinity. The log-ratios given, s
    of `log_ratio_data` and `log_ratio_noise`, make it a lower bound, which is tight at s = log(p /
    q) + constant; the bound holds for samples that did not choose the log-ratio. No estimate
    exceeds log(1 + kappa) + kappa log(1 + 1 / kappa), about log(kappa) + 1: to see d nats takes
    kappa > e^d.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; in time order where blocks are
        used.
      log_ratio_noise: s of the noise samples, (*batch, m); likewise.
      log_partition: F; None takes the root F* at this kappa, which gives the largest bound.
      magnification: M > 0, a number or one per batch entry; kappa = `magnification` *
        `noise_ratio`.
      noise_ratio: nu > 0, likewise.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      block_size: consecutive samples per block in the standard error, for correlated samples.

    Returns:
      A `Divergence`. Its error is that of the two sample means: F* minimizes the loss, so that its
      own error enters only in second order. It can be trusted where each side has some 50 effective
      samples (`effective_sample_size`) under the weights 1 / (kappa + r) of the data and r / (kappa
      + r) of the noise: beyond that kappa it comes out too small.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 1 + jax.random.normal(key_data, (10_000,))
      >>> x_noise = jax.random.normal(key_noise, (10_000,))
      >>> kl = nce_jax.divergence(
      ...     x_data, x_noise, magnification=1e4
      ... )  # log(p / q) = x - 1 / 2, KL = 1 / 2
      >>> print(f"{kl.value:.4f} +- {kl.standard_error:.4f}")
      0.4886 +- 0.0167

    References:
      Nguyen, Wainwright and Jordan, Estimating divergence functionals and the likelihood ratio by
        convex risk minimization,
      2010 (the variational form).
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (from
        Jensen-Shannon to KL).
    """
    check_positive_int("block_size", block_size)
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    shift, status = _normalizer(problem, log_partition)
    terms = _terms(problem, shift)
    sides = problem.data, problem.noise
    means = [weighted_mean(values, side.weights) for values, side in zip(terms, sides, strict=True)]
    variance = sum(
        _variance(*of_side, block_size) for of_side in zip(terms, means, sides, strict=True)
    )
    value = means[0] + means[1]
    is_finite = jnp.isfinite(value)  # a given F knows nothing of bad samples: the value does
    return Divergence(
        value=jnp.where(is_finite, value, jnp.nan),
        standard_error=jnp.where(is_finite, jnp.sqrt(variance), jnp.nan),
        status=jnp.where(is_finite | (status == Status.MAX_STEPS), status, Status.NONFINITE),
    )


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
    """The terms of D_kappa, each the difference to its value at u = 0: what remains is small where
    u is.
    """
    log_kappa, shift = expand(problem.log_kappa), expand(log_partition)
    of_data = softplus(log_kappa) - softplus(log_kappa - (problem.data.values - shift))
    of_noise = softplus(-log_kappa) - softplus((problem.noise.values - shift) - log_kappa)
    return of_data, jnp.exp(log_kappa) * of_noise


def _variance(terms: jax.Array, mean: jax.Array, side: Samples, block_size: int) -> jax.Array:
    shares = jnp.ones_like(terms) if side.weights is None else side.weights
    influence = shares / expand(side.total) * (terms - expand(mean))
    return jackknife_variance(influence, side.weights, block_size)
