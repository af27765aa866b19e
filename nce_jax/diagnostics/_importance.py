"""Importance sampling from the noise: a model's log Z, and the effective number of samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_weights, compute_dtype
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import (
    effective_samples,
    expand,
    ignore_unweighted,
    jackknife_variance,
    log_mean_exp,
    rounding_variance,
    sample_count,
    stop_where,
)
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Real, Weights
from nce_jax.log_partition import Status, interval_status


class ImportanceEstimate(NamedTuple):
    """An importance sampling estimate of a model's log Z; every field has the batch shape.

    Attributes:
      log_partition: log mean exp(s), in nats.
      standard_error: standard error of `log_partition`, to first order, in nats; inf for a single
        sample. It is too small, as a rule, where the status is LOW_OVERLAP.
      effective_sample_size: Kish's, between 1 and the number of samples. If it is only a few, the
        other fields are meaningless: the samples miss most of the model's mass.
      status: a `Status`, int32: NONFINITE where the estimate is NaN, and LOW_OVERLAP where
        `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of samples behind the standard error: none contributes
        more than one over this number to the variance. It is smaller than Kish's number, which is
        about the value and hardly notices a heavy tail.
    """

    log_partition: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    effective_sample_size: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


def effective_sample_size(log_weights: LogRatio) -> Float[Array, "*batch"]:
    """Kish's effective sample size of importance weights, (sum w)^2 / sum w^2, from their logs.

    Args:
      log_weights: logs of unnormalized weights, (*batch, n); -inf stands for a weight of zero.

    Returns:
      A number between 1 and n per batch entry; NaN if any log weight is NaN or +inf, or all are
      -inf.

    Raises:
      TypeError: `log_weights` is not floating.
      ValueError: `log_weights` is empty.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> log_weights = jnp.array([0.0, 0.0, 0.0, -jnp.inf])
      >>> print(f"{nce_jax.diagnostics.effective_sample_size(log_weights):.4f}")
      3.0000

    References:
      Kish, Survey Sampling, 1965; Owen, Monte Carlo theory, methods and examples, 2013, section
        9.3.
    """
    return _effective_sample_size(log_weights, weights=None)


@one_program(SampleSet("log_weights", "weights"), effect=Effect())
def _effective_sample_size(log_weights: LogRatio, weights: Weights | None) -> jax.Array:
    log_weights = as_samples("log_weights", log_weights)
    log_weights = log_weights.astype(compute_dtype(log_weights))
    if weights is not None:
        log_weights = jnp.where(weights.astype(bool), log_weights, -jnp.inf)
    relative = jnp.exp(log_weights - jnp.max(log_weights, axis=-1, keepdims=True))
    return sample_count(relative, relative)


@one_program(SampleSet("log_ratio_noise", "weights_noise"), effect=Effect("log_partition"))
def importance_log_partition(
    log_ratio_noise: LogRatio, *, weights_noise: Weights | None = None
) -> ImportanceEstimate:
    r"""Estimates a *model's* log Z by importance sampling from the noise.

    The estimate of :math:`\log E_{noise}[e^s]` is the log Z that likelihoods need, and not the
    profiled F* of training; it is the limit of F*(kappa) as kappa -> infinity. Use noise samples
    that were not used to train the model. The estimate is biased low. With few effective samples
    it is worthless, and its standard error is then too small as well; the status is LOW_OVERLAP.
    With heavy-tailed weights the draws that miss the tail have the largest effective sample size:
    do not select draws by it.

    Args:
      log_ratio_noise: s(y) = log_density(y) - log q(y) of samples y from the noise q, (*batch, m),
        in nats.
      weights_noise: weights >= 0 of the samples; those of weight zero are ignored.

    Returns:
      An `ImportanceEstimate`.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: `log_ratio_noise` is empty.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> noise = jax.random.normal(jax.random.key(0), (10_000,))
      >>> log_ratio = 0.5 * noise  # exp(phi) = exp(x / 2) q(x): log Z = 1 / 8
      >>> estimate = nce_jax.diagnostics.importance_log_partition(log_ratio)
      >>> print(
      ...     f"{estimate.log_partition:.4f} +- {estimate.standard_error:.4f}, "
      ...     f"ESS {estimate.effective_sample_size:.0f}"
      ... )
      0.1268 +- 0.0054, ESS 7745

    References:
      Owen, Monte Carlo theory, methods and examples, 2013, section 9.2 (self-normalized importance
        sampling).
    """
    samples = as_samples("log_ratio_noise", log_ratio_noise)
    weights = as_weights("weights_noise", weights_noise, samples)
    samples = ignore_unweighted(samples.astype(compute_dtype(samples)), weights)
    is_estimate = jnp.isfinite(log_mean_exp(*jax.lax.stop_gradient((samples, weights))))
    samples, weights = stop_where(~is_estimate, (samples, weights))
    log_partition = log_mean_exp(samples, weights)
    # Their mean is one.
    relative = jnp.exp(samples - expand(log_partition))
    shares = jnp.ones_like(samples) if weights is None else weights
    shares = shares / jnp.sum(shares, axis=-1, keepdims=True)
    contributions = shares * relative
    influences = contributions - shares
    count = effective_samples((influences, weights))
    status = jnp.where(is_estimate, Status.CONVERGED, Status.NONFINITE)
    return ImportanceEstimate(
        log_partition=jnp.where(is_estimate, log_partition, jnp.nan),
        standard_error=jnp.sqrt(
            jackknife_variance(influences, weights, block_size=1) + rounding_variance(log_partition)
        ),
        effective_sample_size=sample_count(contributions, contributions),
        status=interval_status(status, count),
        effective_samples=count,
    )
