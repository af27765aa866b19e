"""Numerical building blocks, with the arguments for their stability.

Computations stay on the log scale until the last operation, and samples are on the last axis. A
sample of weight zero is ignored, even if it is NaN: it is replaced *before* the first function is
applied, so that it affects neither a value nor a gradient. Masking afterwards would leave `0 * NaN`
in the gradient.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_positive

# Products of finite matrices in NumPy may raise the flag of an invalid operation: libraries of
# linear algebra compute with numbers beyond a matrix's end, which they then drop. A NaN in the
# result is left to those who read it.
host_products = np.errstate(invalid="ignore")


def expand(values: jax.Array) -> jax.Array:
    """Adds the sample axis to a per-batch quantity, so that it broadcasts to the samples."""
    return values[..., None]


def log_noise_weight(magnification: Any, noise_ratio: Any, samples: jax.Array) -> jax.Array:
    """log kappa = log(noise_ratio) + log(magnification), one per batch entry of `samples`."""
    log_magnification = jnp.log(as_positive("magnification", magnification, samples))
    return log_magnification + jnp.log(as_positive("noise_ratio", noise_ratio, samples))


def stop_where(is_failed: jax.Array, arrays: Any) -> Any:
    """The same arrays, which pass no gradient in the entries of the batch that have failed.

    `is_failed` has the batch axes; leaves may have more axes. The derivative of a failed entry is
    NaN, and a NaN times a cotangent of zero is NaN: masking the result alone would leave the NaN in
    the gradient of every parameter that the entry shares with others. The value is unchanged, so
    that the compiled program is too.
    """

    def stop(leaf: jax.Array) -> jax.Array:
        mask = is_failed.reshape(is_failed.shape + (1,) * (leaf.ndim - is_failed.ndim))
        return jnp.where(mask, jax.lax.stop_gradient(leaf), leaf)

    return jax.tree.map(stop, arrays)


def fill_padding(x: Any, weights: jax.Array | None) -> Any:
    """Replaces samples of weight zero by the first one of nonzero weight, in floating leaves.

    A model's derivative at NaN is NaN, also where the loss multiplies it by zero. Where no sample
    has a weight, entries that are not finite become zero.
    """
    if weights is None:
        return x
    is_weighted = weights != 0
    # A sum, and no index: over a mesh one row is added up, where all samples would be gathered.
    is_first = is_weighted & (jnp.cumsum(is_weighted) == 1)

    def fill(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        mask, first = (m.reshape(-1, *[1] * (leaf.ndim - 1)) for m in (is_weighted, is_first))
        row = jnp.sum(jnp.where(first, leaf, 0), axis=0, keepdims=True).astype(leaf.dtype)
        own = jnp.where(jnp.isfinite(leaf), leaf, 0)
        return jnp.where(mask, leaf, jnp.where(jnp.any(is_weighted), row, own))

    return jax.tree.map(fill, x)


def ignore_unweighted(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Replaces samples of weight zero by the largest finite sample of nonzero weight, if any.

    This value lies in the range of the other samples, and its gradient is stopped. Where no sample
    of nonzero weight is finite, it is zero: zero times infinity would be NaN.
    """
    if weights is None:
        return samples
    is_weighted = weights != 0
    is_candidate = is_weighted & jnp.isfinite(samples)
    largest = jnp.max(samples, axis=-1, keepdims=True, initial=-jnp.inf, where=is_candidate)
    largest = jnp.where(jnp.isfinite(largest), largest, 0)
    return jnp.where(is_weighted, samples, jax.lax.stop_gradient(largest))


def has_no_weight(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Whether all samples have weight zero, one per batch entry; False without weights."""
    if weights is None:
        return jnp.zeros(samples.shape[:-1], bool)
    return jnp.all(weights == 0, axis=-1)


def total_weight(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The sum of the weights (without weights, the number of samples), one per batch entry."""
    if weights is None:
        return jnp.full(samples.shape[:-1], samples.shape[-1], samples.dtype)
    return jnp.sum(weights, axis=-1)


def weighted_sum(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The sum of weight times value over the sample axis."""
    return jnp.sum(values if weights is None else weights * values, axis=-1)


def weighted_mean(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The mean over the sample axis, with weights that need not be normalized.

    A function of what replaces a sample of weight zero may overflow where those of the others do;
    zero times that infinity would be NaN.
    """
    if weights is not None:
        values = jnp.where((weights == 0) & jnp.isinf(values), 0, values)
    return weighted_sum(values, weights) / total_weight(values, weights)


def mask_terms(terms: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The terms of a loss, zero where their weight is zero and NaN where it is NaN."""
    if weights is None:
        return terms
    return jnp.where(weights == 0, 0, jnp.where(jnp.isnan(weights), jnp.nan, terms))


def loss_mean(terms: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The weighted mean of the terms of a loss; zero, with a gradient of zero, without samples."""
    if weights is None:
        return weighted_mean(terms, None)
    is_empty = has_no_weight(terms, weights)
    return jnp.where(is_empty, 0, weighted_mean(*stop_where(is_empty, (terms, weights))))


@jax.custom_jvp
def softplus(values: Any) -> jax.Array:
    """log(1 + exp(values)), with a derivative that is a single sigmoid.

    JAX differentiates `jax.nn.softplus` through its value, which leaves a logarithm per sample in
    every gradient.
    """
    return jax.nn.softplus(values)


@softplus.defjvp
def _softplus_jvp(primals, tangents):
    return softplus(*primals), jax.nn.sigmoid(*primals) * tangents[0]


@jax.custom_jvp
def scaled_softplus(values: jax.Array, log_scale: jax.Array) -> jax.Array:
    """exp(log_scale) * softplus(values - log_scale), which is exp(values) far below the scale.

    The softplus underflows there, where its product with a large scale does not.
    """
    excess, decay, rest = _decay(values, log_scale)
    ratio = decay / jnp.exp(jnp.maximum(log_scale, 0))
    is_tail = ratio < jnp.finfo(ratio.dtype).eps
    tail = jnp.where(is_tail, rest * decay, jnp.exp(log_scale) * jnp.log1p(ratio))
    return tail + jnp.where(excess < 0, 0, jnp.exp(log_scale) * excess)


def _decay(values: jax.Array, log_scale: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """values - log_scale; e^-|excess| times a scale of at least one, and the rest of the scale."""
    excess, large = values - log_scale, jnp.maximum(log_scale, 0)
    small = jnp.minimum(log_scale, 0)
    # Two forms and no absolute value, whose derivative at zero would be zero.
    decay = jnp.exp(jnp.where(excess < 0, values - small, large - excess))
    return excess, decay, jnp.exp(small)


@scaled_softplus.defjvp
def _scaled_softplus_jvp(primals, tangents):
    value, log_scale = scaled_softplus(*primals), primals[1]
    excess, decay, rest = _decay(*primals)
    ratio = decay / jnp.exp(jnp.maximum(log_scale, 0))
    slope = jnp.where(excess < 0, rest * decay, jnp.exp(log_scale)) / (1 + ratio)
    # Zero times what is infinite would be NaN where the scale is a constant.
    finite = jnp.where(jnp.isinf(value), 0, value)
    return value, slope * (tangents[0] - tangents[1]) + finite * tangents[1]


def scaled_sigmoid(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns sigma(values) * exp(-m) and m, the maximum of min(values, 0) over the samples.

    The largest result is at least 1/2, so that the sum of the results does not underflow and needs
    no logarithm per sample. The results are zero where all values are -inf.
    """
    log_scale = jnp.max(jnp.minimum(values, 0), axis=-1)
    # Where all results are zero there is no scale to take out.
    log_scale = jnp.where(jnp.isneginf(log_scale), 0, log_scale)
    # If any value is positive, m = 0. If none is, exp(-|v| - m) is the numerator of the scaled
    # sigmoid.
    decay = jnp.exp(-jnp.abs(values) - expand(log_scale))
    scaled = jnp.where(values < 0, decay, 1) / (1 + decay * jnp.exp(expand(log_scale)))
    return scaled, log_scale


def log_mean_exp(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The logarithm of the weighted mean of exp(values), without overflow."""
    total = jnp.log(total_weight(values, weights))
    return jax.nn.logsumexp(values, axis=-1, b=weights) - total


def lowest(values: jax.Array, *, axis: int = -1, where: jax.Array | None = None) -> jax.Array:
    """The smallest value, +inf of none, and NaN where one is NaN.

    `jnp.min` of some thousand values on a CPU loses a NaN, and with it what it should say.
    """
    return _with_nan(jnp.min, jnp.inf, values, axis, where)


def highest(values: jax.Array, *, axis: int = -1, where: jax.Array | None = None) -> jax.Array:
    """The largest value, -inf of none, and NaN where one is NaN; see `lowest`."""
    return _with_nan(jnp.max, -jnp.inf, values, axis, where)


def _with_nan(reduce, neutral: float, values: jax.Array, axis: int, where) -> jax.Array:
    is_nan = jnp.isnan(values)
    if where is not None:
        is_nan &= where
    result = reduce(values, axis=axis, initial=neutral, where=where)
    return jnp.where(jnp.any(is_nan, axis=axis), jnp.nan, result)


def matmul(*factors: jax.Array) -> jax.Array:
    """The product of matrices or vectors, in full precision on every device."""
    return functools.reduce(functools.partial(jnp.matmul, precision="highest"), factors)


def log_sum_exp(values: jax.Array, weights: jax.Array | None = None, axis: int = -1) -> jax.Array:
    """The logarithm of the sum of weights times exp(values).

    It is minus infinity, with derivatives of zero, where the sum is empty or zero.
    """
    is_weighted = None if weights is None else weights != 0
    largest = jnp.max(values, axis=axis, keepdims=True, initial=-jnp.inf, where=is_weighted)
    # An infinite maximum is not subtracted: the difference of two infinities would be NaN.
    shift = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    counted = values if is_weighted is None else jnp.where(is_weighted, values, shift)
    terms = jnp.exp(counted - shift)
    total = jnp.sum(terms if weights is None else weights * terms, axis=axis)
    is_empty = total == 0
    return jnp.where(
        is_empty, -jnp.inf, jnp.log(jnp.where(is_empty, 1, total)) + jnp.squeeze(shift, axis)
    )


def sample_count(samples: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Kish's effective number of samples, which is the number of ones for weights of 0 and 1."""
    if weights is None:
        return total_weight(samples, None)
    return jnp.square(jnp.sum(weights, axis=-1)) / jnp.sum(jnp.square(weights), axis=-1)


def jackknife_variance(
    influence: jax.Array, weights: jax.Array | None, block_size: int
) -> jax.Array:
    """The sum of squared influences of blocks of samples, corrected for the fitted mean.

    The correction is B / (B - 1) for B blocks of equal weight. The variance from a single block is
    infinite.
    """
    weights = jnp.ones_like(influence) if weights is None else weights
    correction = jackknife_correction(weights, block_size)
    squares = jnp.sum(jnp.square(block_sums(influence, block_size)), axis=-1)
    is_single = correction == 0
    return jnp.where(is_single, jnp.inf, squares / jnp.where(is_single, 1, correction))


def jackknife_correction(weights: jax.Array, block_size: int) -> jax.Array:
    """1 - 1 / B for B blocks of equal weight: what a fitted mean leaves of a sum of squares.

    It is zero for a single block, from which there is no variance.
    """
    normalized = weights / jnp.sum(weights, axis=-1, keepdims=True)
    block_weights = block_sums(normalized, block_size)
    correction = 1 - jnp.sum(jnp.square(block_weights), axis=-1)
    return jnp.where(correction < 8 * jnp.finfo(correction.dtype).eps, 0, correction)


def effective_samples(*sides: tuple[jax.Array, jax.Array | None], block_size: int = 1) -> jax.Array:
    """The effective number of samples behind a standard error, from the influences it sums up.

    It is the sum of squared influences of all sides over the largest square, so that no sample (or
    block) contributes more than one over this number to the variance. Samples of weight zero do not
    count. It is one where a side has a single sample or block.

    Args:
      *sides: influences and weights of every side, (*batch, n) with an n of its own.
      block_size: consecutive samples per block.
    """
    sizes = [jnp.abs(block_sums(jax.lax.stop_gradient(side), block_size)) for side, _ in sides]
    counts = [_block_count(*side, block_size) for side in sides]
    largest = functools.reduce(jnp.maximum, (jnp.max(size, axis=-1) for size in sizes))
    scale = expand(jnp.where(largest == 0, 1, largest))
    number = sum(jnp.sum(jnp.square(size / scale), axis=-1) for size in sizes)
    # An estimate without variance: all influences are zero, and have equal shares.
    number = jnp.where(largest == 0, sum(counts), number)
    return jnp.where(functools.reduce(jnp.minimum, counts) < 1.5, 1, number)


def _block_count(values: jax.Array, weights: jax.Array | None, block_size: int) -> jax.Array:
    weights = jnp.ones_like(values) if weights is None else jax.lax.stop_gradient(weights)
    blocks = block_sums(weights, block_size)
    return sample_count(blocks, blocks)


def rounding_variance(value: jax.Array) -> jax.Array:
    """The squared rounding error of a value in its dtype; zero below a thousandth.

    Samples that are differenced to such a value were rounded by as much before they came here.
    """
    rounding = jnp.finfo(value.dtype).eps / 2 * jnp.abs(value)
    return jnp.where(rounding > 1e-3, jnp.square(rounding), 0)


def without_rounding(deviations: jax.Array, size: jax.Array) -> jax.Array:
    """Deviations of weights from their mean of one, all zero where they are of rounding alone.

    Equal weights then count equally. Where rounding makes weights differ by more than a half,
    nothing shows that they are equal.

    Args:
      deviations: (n,).
      size: the size of the log weights, which were rounded to their dtype.
    """
    rounding = jnp.minimum(8 * jnp.finfo(deviations.dtype).eps * (1 + size), 0.5)
    return jnp.where(jnp.max(jnp.abs(deviations)) <= rounding, 0, deviations)


def exceeds_rounding(spread: jax.Array, location: jax.Array) -> jax.Array:
    """Returns whether a spread exceeds the rounding error of values at this location.

    False means that the values are constant.
    """
    return spread > 4 * jnp.finfo(spread.dtype).eps * jnp.abs(location)


def block_sums(values: jax.Array, block_size: int) -> jax.Array:
    """The sums of blocks of consecutive values; the last block may be shorter."""
    if block_size == 1:
        return values
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % block_size)]
    return jnp.pad(values, padding).reshape(*values.shape[:-1], -1, block_size).sum(-1)
