"""Numerical building blocks, and the one place where stability is argued.

Everything stays on the log scale until the last operation. Samples are on the last axis. A sample
of weight zero takes no part at all: whatever it holds, padding or NaN, reaches neither a value nor
a gradient, because it is replaced *before* the first function sees it (masking afterwards would
leave `0 * NaN` in the gradient).
"""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar, check_positive


def expand(values: jax.Array) -> jax.Array:
    """Adds the sample axis to a per-batch quantity, so that it meets arrays of samples."""
    return values[..., None]


def log_noise_weight(magnification: Any, noise_ratio: Any, samples: jax.Array) -> jax.Array:
    """log kappa = log(noise_ratio) + log(magnification), one per batch entry of `samples`."""
    check_positive("magnification", magnification)
    check_positive("noise_ratio", noise_ratio)
    log_magnification = jnp.log(as_scalar("magnification", magnification, samples))
    return log_magnification + jnp.log(as_scalar("noise_ratio", noise_ratio, samples))


def ignore_unweighted(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Replaces samples of weight zero by the largest one that counts: finite, inside the range, and
    constant.
    """
    if weights is None:
        return samples
    counts = weights != 0
    largest = jnp.max(samples, axis=-1, keepdims=True, initial=-jnp.inf, where=counts)
    return jnp.where(counts, samples, jax.lax.stop_gradient(largest))


def total_weight(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The sum of the weights, or the number of samples, one per batch entry."""
    if weights is None:
        return jnp.full(samples.shape[:-1], samples.shape[-1], samples.dtype)
    return jnp.sum(weights, axis=-1)


def weighted_sum(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Sum over the sample axis of weight times value."""
    return jnp.sum(values if weights is None else weights * values, axis=-1)


def weighted_mean(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Mean over the sample axis with unnormalized weights."""
    return weighted_sum(values, weights) / total_weight(values, weights)


@jax.custom_jvp
def softplus(values: Any) -> jax.Array:
    """log(1 + exp(values)), whose derivative is a sigmoid and nothing else.

    JAX differentiates `jax.nn.softplus` through its value, which keeps a logarithm per sample in
    every gradient.
    """
    return jax.nn.softplus(values)


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    return softplus(*primals), jax.nn.sigmoid(*primals) * tangents[0]


def scaled_sigmoid(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """sigma(values) * exp(-m) and m, the largest of min(values, 0) over the samples: the largest
    result is at least 1/2.

    So their sum neither underflows nor needs a logarithm per sample.
    """
    log_scale = jnp.max(jnp.minimum(values, 0), axis=-1)
    # Where any value is positive the scale is one; where none is, exp(-|v| - m) is the scaled
    # numerator.
    decay = jnp.exp(-jnp.abs(values) - expand(log_scale))
    scaled = jnp.where(values < 0, decay, 1) / (1 + decay * jnp.exp(expand(log_scale)))
    return scaled, log_scale


def log_mean_exp(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """log of the weighted mean of exp(values), without overflow."""
    total = jnp.log(total_weight(values, weights))
    return jax.nn.logsumexp(values, axis=-1, b=weights) - total


def log_sum_exp(values: jax.Array, weights: jax.Array | None = None, axis: int = -1) -> jax.Array:
    """log of the sum of weights times exp(values); minus infinity, with derivatives of zero, where
    nothing is summed.
    """
    counts = None if weights is None else weights != 0
    largest = jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf, where=counts)
    # Where infinities are all there is, they are left as they are: a difference of two would be
    # NaN.
    shift = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    terms = jnp.exp((values if counts is None else jnp.where(counts, values, shift)) - shift)
    total = jnp.sum(terms if weights is None else weights * terms, axis=axis)
    is_empty = total == 0
    return jnp.where(
        is_empty, -jnp.inf, jnp.log(jnp.where(is_empty, 1, total)) + jnp.squeeze(shift, axis)
    )


def sample_count(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Effective number of samples (Kish): the plain number without weights, the number of ones for
    0/1 weights.
    """
    if weights is None:
        return total_weight(samples, None)
    return jnp.square(jnp.sum(weights, axis=-1)) / jnp.sum(jnp.square(weights), axis=-1)


def jackknife_variance(
    influence: jax.Array, weights: jax.Array | None, block_size: int
) -> jax.Array:
    """Sum of squared block influences, corrected for the fitted mean: B / (B - 1) for B blocks of
    equal weight.
    """
    shares = jnp.ones_like(influence) if weights is None else weights
    shares = _block_sums(shares / jnp.sum(shares, axis=-1, keepdims=True), block_size)
    free = 1 - jnp.sum(jnp.square(shares), axis=-1)
    squares = jnp.sum(jnp.square(_block_sums(influence, block_size)), axis=-1)
    is_single = free < 8 * jnp.finfo(free.dtype).eps
    return jnp.where(is_single, jnp.inf, squares / jnp.where(is_single, 1, free))


def _block_sums(values: jax.Array, block_size: int) -> jax.Array:
    if block_size == 1:
        return values
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % block_size)]
    return jnp.pad(values, padding).reshape(*values.shape[:-1], -1, block_size).sum(-1)
