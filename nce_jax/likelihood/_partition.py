"""Log Z of a model by Bennett's method, and log-likelihoods with their errors, in nats and bits."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from nce_jax._checks import (
    as_not_negative,
    as_real,
    as_samples,
    as_scalar,
    as_weights,
    check_positive_int,
    check_same_batch,
    compute_dtype,
)
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import (
    expand,
    ignore_unweighted,
    rounding_variance,
    total_weight,
    weighted_mean,
    weighted_sum,
)
from nce_jax._offset import Effect
from nce_jax._types import Array, ArrayLike, Float, LogRatio, Real, Scalars, Weights
from nce_jax.diagnostics import estimate_log_partition, overlap
from nce_jax.log_partition import Status


class ModelLogPartition(NamedTuple):
    """A model's log Z with its uncertainty; every field has the batch shape.

    Attributes:
      log_partition: log Z, in nats; NaN unless the status is CONVERGED or LOW_OVERLAP.
      standard_error: standard error of log Z, in nats, NaN where log Z is; inf with a single sample
        or block on a side. It is too small, as a rule, where the status is LOW_OVERLAP.
      overlap: of model and noise, between 0 and 1 for consistent samples.
      status: a `Status`, int32. LOW_OVERLAP where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of samples (or blocks) behind the standard error: none
        contributes more than one over this number to the variance.
    """

    log_partition: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    overlap: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


class LogLikelihood(NamedTuple):
    """Mean log-likelihood of held-out data; both fields have the batch shape.

    Attributes:
      mean: in nats per sample.
      standard_error: standard error of the mean, from the spread over samples and the error of log
        Z; inf for one sample.
    """

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]


def model_log_partition(
    log_ratio_model: LogRatio, log_ratio_noise: LogRatio, *, block_size: int = 1
) -> ModelLogPartition:
    r"""Estimates a *model's* log Z by Bennett's acceptance ratio, from samples of model and noise.

    Solves

    .. math::
       \operatorname{mean}_i \sigma(\log\kappa - s(x_i) + F)
       = \kappa \operatorname{mean}_j \sigma(s(y_j) - F - \log\kappa)

    for F = log Z at kappa = m / n, which gives the smallest variance, with n values s(x) =
    `log_ratio_model` and m values s(y) = `log_ratio_noise`. In the profiled F* of training the x
    are data. Here they are samples of the model itself, by MCMC that has converged
    (`nce_jax.samplers`). A mode that the chains missed biases the estimate, and shows in no field.

    Args:
      log_ratio_model: s(x) = log_density(x) - log q(x) of samples x of the model, (*batch, n), in
        nats; in time order, chain after chain, where blocks are used.
      log_ratio_noise: the same for samples of the noise, (*batch, m). Use samples that were not
        used to train the model.
      block_size: consecutive samples per block, more than the correlation time, and a divisor of
        the length of a chain; with the length itself each chain is one block. It affects only the
        standard error.

    Returns:
      A `ModelLogPartition`. Where the solve fails, or model and noise do not overlap, its first two
      fields are NaN.

    Raises:
      TypeError: log ratios that are not floating, or a `block_size` that is not an integer.
      ValueError: empty arrays, mismatched batches, or a `block_size` below one.

    Examples:
      >>> import jax
      >>> from nce_jax import likelihood
      >>> key_model, key_noise = jax.random.split(jax.random.key(0))
      >>> x_model = 2 + jax.random.normal(
      ...     key_model, (2000,)
      ... )  # the model is exp(2 x) N(x; 0, 1), with log Z = 2
      >>> x_noise = jax.random.normal(key_noise, (2000,))
      >>> estimate = likelihood.model_log_partition(2 * x_model, 2 * x_noise)
      >>> print(
      ...     f"{estimate.log_partition:.2f} +- {estimate.standard_error:.2f}, "
      ...     f"overlap {estimate.overlap:.2f}"
      ... )
      2.00 +- 0.04, overlap 0.46

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eqs.
        10-14.
      Flyvbjerg and Petersen, Error estimates on averages of correlated data, 1989 (blocks).
    """
    check_positive_int("block_size", block_size)
    return _model_log_partition(
        log_ratio_model,
        log_ratio_noise,
        weights_model=None,
        weights_noise=None,
        block_size=block_size,
    )


@one_program(
    SampleSet("log_ratio_model", "weights_model"),
    SampleSet("log_ratio_noise", "weights_noise"),
    static=("block_size",),
    effect=Effect("log_partition"),
)
def _model_log_partition(
    log_ratio_model: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_model: Weights | None,
    weights_noise: Weights | None,
    block_size: int,
) -> ModelLogPartition:
    model = as_samples("log_ratio_model", log_ratio_model)
    noise = as_samples("log_ratio_noise", log_ratio_noise)
    check_same_batch(("log_ratio_model", "log_ratio_noise"), model, noise)
    dtype = compute_dtype(model, noise)
    model, noise = model.astype(dtype), noise.astype(dtype)
    noise_ratio = total_weight(noise, weights_noise) / total_weight(model, weights_model)
    pair: dict[str, Any] = {
        "noise_ratio": noise_ratio,
        "weights_data": weights_model,
        "weights_noise": weights_noise,
    }
    estimate = estimate_log_partition(model, noise, block_size=block_size, **pair)
    root, status = estimate.log_partition, estimate.status
    error = estimate.standard_error
    is_estimate = (status == Status.CONVERGED) | (status == Status.LOW_OVERLAP)
    return ModelLogPartition(
        log_partition=jnp.where(is_estimate, root, jnp.nan),
        standard_error=jnp.where(is_estimate, error, jnp.nan),
        overlap=overlap(model, noise, log_partition=root, **pair),
        status=status,
        effective_samples=estimate.effective_samples,
    )


def log_likelihood(
    log_density: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    log_partition_standard_error: Scalars = 0.0,
) -> LogLikelihood:
    r"""Mean log-likelihood of held-out samples, with a standard error that includes log Z.

    It is :math:`\operatorname{mean}_i \phi(x_i) - \log Z`, with variance
    :math:`\operatorname{Var}(\phi) / n + e^2`. The estimate of log Z must come from other samples.
    Its error shifts all samples together, so that more samples do not average it out.

    Args:
      log_density: unnormalized log densities phi(x), (*batch, n), in nats; with log_det added after
        a change of variables.
      log_partition: log Z, in nats, a number or one per batch entry; zero for a normalized density.
      log_partition_standard_error: e, its standard error, in nats.

    Returns:
      A `LogLikelihood`, in nats per sample.

    Raises:
      TypeError: `log_density` is not floating.
      ValueError: `log_density` is empty, the others do not broadcast to its batch, or the standard
        error is negative.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> result = likelihood.log_likelihood(
      ...     jnp.array([-1.0, -2.0, -3.0, -2.0]),
      ...     log_partition=1.5,
      ...     log_partition_standard_error=0.3,
      ... )
      >>> print(f"{result.mean:.4f} +- {result.standard_error:.4f}")
      -3.5000 +- 0.5066
    """
    return _log_likelihood(
        log_density,
        weights=None,
        log_partition=log_partition,
        log_partition_standard_error=log_partition_standard_error,
    )


@one_program(SampleSet("log_density", "weights"), effect=Effect("mean", with_log_partition=True))
def _log_likelihood(
    log_density: LogRatio,
    *,
    weights: Weights | None,
    log_partition: Scalars,
    log_partition_standard_error: Scalars,
) -> LogLikelihood:
    values = as_samples("log_density", log_density)
    values = values.astype(compute_dtype(values))
    log_partition = as_scalar("log_partition", log_partition, values)
    error = as_not_negative("log_partition_standard_error", log_partition_standard_error, values)
    weights = as_weights("weights", weights, values)
    values = ignore_unweighted(values, weights)
    num_samples = total_weight(values, weights)
    mean = weighted_mean(values, weights)
    squares = weighted_sum(jnp.square(values - expand(mean)), weights)
    # The inner where: the derivative of a division by zero would be NaN.
    degrees = jnp.where(num_samples > 1, num_samples - 1, 1)
    spread = jnp.where(num_samples > 1, squares / degrees / num_samples, jnp.inf)
    spread = spread + jnp.square(error) + rounding_variance(mean - log_partition)
    return LogLikelihood(mean - log_partition, jnp.sqrt(spread))


def bits_per_dimension(
    log_likelihood: Float[ArrayLike, "*batch"], *, num_dims: int, num_levels: int = 1
) -> Float[Array, "*batch"]:
    r"""Bits per dimension from log-likelihoods in nats.

    They are :math:`-\log p_x(x) / (d \log 2) + \log_2 L`, with d = `num_dims` and L =
    `num_levels`. In data dequantized from L levels to [0, 1) a level has width 1 / L, and its
    probability is the mean density over it divided by L: hence the term log2(L). To convert a
    standard error from nats to bits, divide it by d log 2.

    Args:
      log_likelihood: log p_x(x) in nats, of samples or their mean, any shape; as a density of x
        before any transformation.
      num_dims: dimensions of a sample (784 for an image of 28 by 28).
      num_levels: levels of each dimension before dequantization; one for continuous data.

    Returns:
      Bits per dimension, of the same shape.

    Raises:
      TypeError: a count that is not an integer.
      ValueError: a count below one.

    Examples:
      >>> from nce_jax import likelihood
      >>> print(
      ...     likelihood.bits_per_dimension(0.0, num_dims=784, num_levels=256)
      ... )  # the uniform density on [0, 1)
      8.0

    References:
      Theis, van den Oord and Bethge, A note on the evaluation of generative models, 2016.
    """
    check_positive_int("num_dims", num_dims)
    check_positive_int("num_levels", num_levels)
    values = as_real("log_likelihood", log_likelihood)
    values = jnp.asarray(values, compute_dtype(values))
    return math.log2(num_levels) - values / (num_dims * math.log(2))
