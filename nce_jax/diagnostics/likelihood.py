"""Likelihoods: log Z of a model by Bennett's method, nats and bits, and the change of variables of
images.

A held-out image with integer levels becomes a real vector in two steps, `dequantise` and
`logit_transform`. With a model of density p_y on the result, log p_x(x) = log p_y(y) + log_det, and
`bits_per_dimension(..., num_levels=256)` is, on average, an upper bound on the bits that the image
itself costs under the model."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import (
    check_positive_int,
    check_same_batch,
    check_samples,
    check_scalar,
    compute_dtype,
)
from nce_jax._types import Array, ArrayLike, Float, LogRatio, PRNGKeyArray, Real, Scalars
from nce_jax.diagnostics._overlap import overlap
from nce_jax.diagnostics._standard_error import log_partition_standard_error
from nce_jax.log_partition import Status, solve_log_partition

__all__ = [
    "LogLikelihood",
    "ModelLogPartition",
    "bits_per_dimension",
    "dequantise",
    "inverse_logit_transform",
    "log_likelihood",
    "logit_transform",
    "model_log_partition",
]


class ModelLogPartition(NamedTuple):
    """A model's log Z with what it is worth; every field has the batch shape.

    Attributes:
      log_partition: log Z, in nats; NaN unless the status is CONVERGED.
      standard_error: in nats; NaN unless the status is CONVERGED, inf with a single sample or block
        on a side.
      overlap: of model and noise, between 0 and 1 for consistent samples.
      status: a `Status`, int32.
    """

    log_partition: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    overlap: Float[Array, "*batch"]
    status: Real[Array, "*batch"]


class LogLikelihood(NamedTuple):
    """Mean log-likelihood of held-out data; both fields have the batch shape.

    Attributes:
      mean: in nats per sample.
      standard_error: of the mean, from the spread over samples and the error of log Z together; inf
        for one sample.
    """

    mean: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]


def model_log_partition(
    log_ratio_model: LogRatio, log_ratio_noise: LogRatio, *, block_size: int = 1
) -> ModelLogPartition:
    """Estimates a *model's* log Z by Bennett's acceptance ratio between samples of the model and of
    the noise.

    Solves mean_i sigma(log kappa - s(x_i) + F) = kappa mean_j sigma(s(y_j) - F - log kappa) for F =
    log Z at kappa = m / n, which gives the smallest variance, with n values s(x) =
    `log_ratio_model` and m values s(y) = `log_ratio_noise`. For the profiled F* of training the x
    are data; here they come from the model itself, by MCMC that has converged (`nce_jax.samplers`).
    A mode that the chains missed biases the estimate, and no field tells.

    Args:
      log_ratio_model: s(x) = log_density(x) - log q(x) of samples x of the model, (*batch, n), in
        nats; in time order, chain after chain, where blocks are used.
      log_ratio_noise: the same of samples of the noise, (*batch, m). Use samples that did not train
        the model.
      block_size: consecutive samples per block, longer than the correlation time, and a divisor of
        each chain's length; the length itself makes each chain one block. It enters the standard
        error alone.

    Returns:
      A `ModelLogPartition`; where the solve fails or the two do not overlap its first two fields
      are NaN.

    Raises:
      TypeError: log-ratios that are not floating, or a `block_size` that is not an integer.
      ValueError: empty arrays, mismatched batches, or a `block_size` below one.

    Examples:
      >>> import jax
      >>> from nce_jax import likelihood
      >>> key_model, key_noise = jax.random.split(jax.random.key(0))
      >>> x_model = 2 + jax.random.normal(
      ...     key_model, (2000,)
      ... )  # the model exp(2 x) N(x; 0, 1): log Z = 2
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
    model = check_samples("log_ratio_model", log_ratio_model)
    noise = check_samples("log_ratio_noise", log_ratio_noise)
    check_same_batch(("log_ratio_model", "log_ratio_noise"), model, noise)
    noise_ratio = noise.shape[-1] / model.shape[-1]
    solution = solve_log_partition(model, noise, noise_ratio=noise_ratio)
    root = solution.log_partition
    error = log_partition_standard_error(
        model, noise, log_partition=root, noise_ratio=noise_ratio, block_size=block_size
    )
    is_estimate = solution.status == Status.CONVERGED
    return ModelLogPartition(
        log_partition=jnp.where(is_estimate, root, jnp.nan),
        standard_error=jnp.where(is_estimate, error, jnp.nan),
        overlap=overlap(model, noise, log_partition=root, noise_ratio=noise_ratio),
        status=solution.status,
    )


def log_likelihood(
    log_density: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    log_partition_standard_error: Scalars = 0.0,
) -> LogLikelihood:
    """Mean log-likelihood of held-out samples, with the error that their number and log Z bring.

    mean_i phi(x_i) - log Z, with variance Var(phi) / n + e^2: the estimate of log Z must not rest
    on the same samples. An error of log Z shifts all samples together, and no number of them
    averages it away.

    Args:
      log_density: unnormalised log densities phi(x), (*batch, n), in nats; with log_det added after
        a change of variables.
      log_partition: log Z, in nats, a number or one per batch entry; zero for a normalised density.
      log_partition_standard_error: e, its standard error, in nats.

    Returns:
      A `LogLikelihood`, in nats per sample.

    Raises:
      TypeError: `log_density` is not floating.
      ValueError: `log_density` is empty, or the others do not broadcast to its batch.

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
    values = check_samples("log_density", log_density)
    values = values.astype(compute_dtype(values))
    log_partition = check_scalar("log_partition", log_partition, values)
    error = check_scalar("log_partition_standard_error", log_partition_standard_error, values)
    num_samples = values.shape[-1]
    mean = jnp.mean(values, axis=-1)
    spread = (
        jnp.full_like(mean, jnp.inf)
        if num_samples == 1
        else jnp.var(values, axis=-1, ddof=1) / num_samples
    )
    return LogLikelihood(mean - log_partition, jnp.sqrt(spread + jnp.square(error)))


def bits_per_dimension(
    log_likelihood: Float[ArrayLike, "*batch"], *, num_dims: int, num_levels: int = 1
) -> Float[Array, "*batch"]:
    """Bits per dimension, -log p_x(x) / (d log 2) + log2(L), with d = `num_dims` and L =
    `num_levels`.

    For data dequantised from L levels to [0, 1) a level has width 1 / L, and its mass is the mean
    density over it divided by L: hence log2(L) bits more. A standard error in nats becomes one in
    bits when divided by d log 2.

    Args:
      log_likelihood: log p_x(x) in nats, of samples or their mean, any shape; in the data's own
        units, not the transformed.
      num_dims: dimensions of a sample (784 for an image of 28 by 28).
      num_levels: levels of each dimension before dequantisation; one for continuous data.

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
    return math.log2(num_levels) - jnp.asarray(log_likelihood) / (num_dims * math.log(2))


def dequantise(
    key: PRNGKeyArray, images: Real[ArrayLike, "*shape"], *, num_levels: int = 256
) -> Float[Array, "*shape"]:
    """Spreads integer levels uniformly over their bins: x = (k + u) / L with u ~ U[0, 1) and L =
    `num_levels`.

    The integral of a density p_x over the bin of k is a probability of k, and E_u[log p_x(x)] - log
    L is at most its log.

    Args:
      key: a typed PRNG key.
      images: integers from 0 to L - 1, of any shape; their values are not checked.
      num_levels: L.

    Returns:
      x in [0, 1), of the same shape, with floor(L x) = k wherever L is a power of two.

    Raises:
      TypeError: `images` does not hold integers, or `num_levels` is not one.
      ValueError: `num_levels` is less than one.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> x = likelihood.dequantise(jax.random.key(0), jnp.array([0, 128, 255], jnp.uint8))
      >>> (256 * x).astype(int).tolist()
      [0, 128, 255]

    References:
      Uria, Murray and Larochelle, RNADE: the real-valued neural autoregressive density-estimator,
        2013.
      Theis, van den Oord and Bethge, A note on the evaluation of generative models, 2016.
    """
    check_positive_int("num_levels", num_levels)
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.integer):
        raise TypeError(f"images: expected integers, got dtype {images.dtype}")
    levels = images.astype(jnp.result_type(float))
    spread = levels + jax.random.uniform(key, levels.shape, levels.dtype)
    # 255 + u rounds to 256 once in 1e5 float32 draws: that would be the next level, or a logit that
    # is not finite.
    return jnp.minimum(spread, jnp.nextafter(levels + 1, levels)) / num_levels


def logit_transform(
    x: Float[ArrayLike, "samples ..."], *, alpha: float = 1e-6
) -> tuple[Float[Array, "samples ..."], Float[Array, " samples"]]:
    """From the unit cube to the whole space: y = logit(alpha + (1 - 2 alpha) x), and its log
    determinant.

    log_det = sum over the dimensions of log(1 - 2 alpha) - log p - log(1 - p), p = alpha + (1 - 2
    alpha) x, so that log p_x(x) = log p_y(y) + log_det.

    Args:
      x: points in [0, 1], (samples, ...); all axes but the first are dimensions.
      alpha: distance kept from the ends, at least 0 and less than 1/2; 1e-6 is customary for MNIST,
        0.05 for CIFAR-10.

    Returns:
      `(y, log_det)`, of shapes (samples, ...) and (samples,).

    Raises:
      TypeError: `x` is not floating.
      ValueError: `x` has no axis, or `alpha` is out of its range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> y, log_det = likelihood.logit_transform(jnp.array([[0.5, 0.9]]), alpha=0.05)
      >>> [f"{value:.4f}" for value in (*y[0].tolist(), *log_det.tolist())]
      ['0.0000', '1.8153', '3.2925']

    References:
      Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017, section 4.1.
      Papamakarios, Pavlakou and Murray, Masked autoregressive flow for density estimation, 2017.
    """
    x = _check_cube("x", x, alpha)
    # Both from sums of positive terms: 1 - p would lose the digits of x near one.
    log_p, log_q = (jnp.log(alpha + (1 - 2 * alpha) * part) for part in (x, 1 - x))
    return log_p - log_q, _total(math.log1p(-2 * alpha) - log_p - log_q)


def inverse_logit_transform(
    y: Float[ArrayLike, "samples ..."], *, alpha: float = 1e-6
) -> tuple[Float[Array, "samples ..."], Float[Array, " samples"]]:
    """Back from the whole space: x = (sigma(y) - alpha) / (1 - 2 alpha), and the log determinant of
    this map.

    log_det = sum over the dimensions of log sigma(y) + log sigma(-y) - log(1 - 2 alpha): minus that
    of `logit_transform`, so that log p_y(y) = log p_x(x) + log_det.

    Args:
      y: points, (samples, ...); all axes but the first are dimensions.
      alpha: as in `logit_transform`.

    Returns:
      `(x, log_det)`, of shapes (samples, ...) and (samples,). Beyond |y| = logit(1 - alpha) x
      leaves [0, 1], by at most alpha / (1 - 2 alpha): a model of y may put mass there, which no
      data can have.

    Raises:
      TypeError: `y` is not floating.
      ValueError: `y` has no axis, or `alpha` is out of its range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> x, log_det = likelihood.inverse_logit_transform(jnp.array([[0.0, 1.8153]]), alpha=0.05)
      >>> [f"{value:.4f}" for value in (*x[0].tolist(), *log_det.tolist())]
      ['0.5000', '0.9000', '-3.2925']

    References:
      Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017, section 4.1.
    """
    y = _check_cube("y", y, alpha)
    x = (jax.nn.sigmoid(y) - alpha) / (1 - 2 * alpha)
    return x, _total(jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - math.log1p(-2 * alpha))


def _check_cube(name: str, points: Float[ArrayLike, "samples ..."], alpha: float) -> jax.Array:
    points = check_samples(name, points)
    if not 0 <= alpha < 0.5:
        raise ValueError(f"alpha: expected a number from 0 up to, not including, 0.5, got {alpha}")
    return points


def _total(values: jax.Array) -> jax.Array:
    """Sum over all axes but the first, the samples."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))
