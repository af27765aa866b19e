"""Bootstrap of the profiled normalizer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_key, check_positive_int, relative_weights
from nce_jax._eager import PAIR, one_program
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, PRNGKeyArray, Real, Scalars, Weights
from nce_jax.diagnostics._standard_error import error_of_root
from nce_jax.log_partition import Samples, interval_status, make_problem, solve_problem

_MAX_SAMPLES_IN_FLIGHT = 1 << 18
"""Replicates are computed in chunks of at most this many samples: enough to amortize the dispatch,
and few enough to stay in a processor's cache."""


class Bootstrap(NamedTuple):
    """Bootstrap replicates of the profiled normalizer.

    Attributes:
      replicates: F* of every replicate, (num_replicates, *batch); NaN where a solve failed.
      standard_error: the standard deviation of the replicates, (*batch); NaN if any of them failed,
        or if there is only one. It is too small, as a rule, where the status is LOW_OVERLAP.
      status: the `Status` of F* of the original samples, (*batch), int32; LOW_OVERLAP where
        `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of original samples behind the standard error,
        (*batch), as in `estimate_log_partition`.
    """

    replicates: Float[Array, "replicates *batch"]
    standard_error: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


@one_program(*PAIR, static=("num_replicates",), effect=Effect("replicates"))
def bootstrap_log_partition(
    key: PRNGKeyArray,
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    num_replicates: int,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Bootstrap:
    """Bootstrap of F*(kappa): solves again for samples that are redrawn with replacement.

    Both sample sets are redrawn in every replicate. The replicates run as one vmapped program, in
    chunks that bound the memory, and every solve starts from the F* of the original samples.

    Args:
      key: a typed PRNG key.
      log_ratio_data: s of the data samples, (*batch, n), in nats. Samples must be independent.
      log_ratio_noise: s of the noise samples, (*batch, m).
      num_replicates: number of replicates; with 100 the standard error is known to about 7 %.
      magnification: M > 0, a number or one per batch entry.
      noise_ratio: nu > 0, as for `magnification`.
      weights_data: weights >= 0 of the data samples. Samples are drawn together with their weights;
        those of weight zero (padding) are never drawn.
      weights_noise: the same for the noise samples.

    Returns:
      A `Bootstrap`.

    Raises:
      TypeError: log ratios or weights that are not floating, or a `key` that is no typed key.
      ValueError: empty arrays, mismatched batches, plain numbers out of their range, or several
        keys.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> s_data = 1 + jax.random.normal(keys[0], (500,))
      >>> s_noise = jax.random.normal(keys[1], (500,))
      >>> bootstrap = nce_jax.bootstrap_log_partition(keys[2], s_data, s_noise, num_replicates=200)
      >>> print(bootstrap.replicates.shape, f"{bootstrap.standard_error:.4f}")
      (200,) 0.0306

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.
    """
    check_key(key)
    check_positive_int("num_replicates", num_replicates)
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    problem = problem._replace(
        data=_positive_first(problem.data), noise=_positive_first(problem.noise)
    )
    solution = solve_problem(problem)
    initial = solution.log_partition

    def replicate(key: PRNGKeyArray) -> jax.Array:
        key_data, key_noise = jax.random.split(key)
        redrawn = problem._replace(
            data=_redraw(key_data, problem.data), noise=_redraw(key_noise, problem.noise)
        )
        return solve_problem(redrawn, initial=initial).log_partition

    chunk = max(1, _MAX_SAMPLES_IN_FLIGHT // (problem.data.values.size + problem.noise.values.size))
    values = jax.lax.map(
        replicate, jax.random.split(key, num_replicates), batch_size=min(chunk, num_replicates)
    )
    _, count = error_of_root(problem, initial, block_size=1)
    status = interval_status(solution.status, count)
    return Bootstrap(values, jnp.std(values, axis=0, ddof=1), status, count)


def _positive_first(samples: Samples) -> Samples:
    """Moves the samples of positive weight to the front, from which replicates are drawn."""
    if samples.weights is None:
        return samples
    order = jnp.argsort(samples.weights == 0, axis=-1, stable=True)
    values, weights = (
        jnp.take_along_axis(array, order, axis=-1) for array in (samples.values, samples.weights)
    )
    return samples._replace(values=values, weights=weights)


def _redraw(key: PRNGKeyArray, samples: Samples) -> Samples:
    """Draws as many samples, with their weights, as have a positive weight; these come first."""
    values, weights, _ = samples
    size = values.shape[-1]
    num_positive = jnp.full((*values.shape[:-1], 1), size)
    if weights is not None:
        num_positive = jnp.sum(weights != 0, axis=-1, keepdims=True)
    # Samples are drawn on the first axis: the draws of the first n do not depend on how many
    # samples of weight zero follow.
    shape = (size, *values.shape[:-1])
    largest = jnp.maximum(jnp.moveaxis(num_positive, -1, 0), 1)
    index = jnp.moveaxis(jax.random.randint(key, shape, 0, largest), 0, -1)
    redrawn = samples._replace(values=jnp.take_along_axis(values, index, axis=-1))
    if weights is None:
        return redrawn
    position = jax.lax.broadcasted_iota(num_positive.dtype, values.shape, values.ndim - 1)
    is_drawn = position < num_positive
    weights = jnp.where(is_drawn, jnp.take_along_axis(weights, index, axis=-1), 0)
    # The largest weight may not have been drawn.
    weights = relative_weights(weights, jnp)
    return redrawn._replace(weights=weights, total=jnp.sum(weights, axis=-1))
