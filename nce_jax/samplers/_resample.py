"""Samples of a model by importance resampling from the noise: no chain."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_noise_values, check_values
from nce_jax._distributions import as_noise
from nce_jax._dtypes import compute_dtype
from nce_jax._numerics import effective_samples, highest, sample_count, without_rounding
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, Float, Noise, PRNGKeyArray, Real
from nce_jax.log_partition import Status, interval_status
from nce_jax.samplers._checks import check_one_chain

_MIN_CHUNK = 1024
"""Draws that are evaluated at once, at least: fewer would leave an accelerator idle."""


class Resampled(NamedTuple):
    """Samples that were chosen among draws from the noise in proportion to their weights.

    Look at the status first: where it is LOW_OVERLAP, few draws carry all weight, and the samples
    are mostly copies of them.

    Attributes:
      x: the samples, (samples, ...), independent of one another given the draws; an array, or what
        the noise draws. They are NaN where the status is NONFINITE.
      effective_sample_size: Kish's effective sample size of the weights, between 1 and the number
        of draws. Averages over x have the variance of about 1 / (1 / samples + 1 / this number)
        independent samples; where it is not far above the number of samples, many of them are
        copies.
      effective_samples: the effective number of draws behind the normalizer of the weights: none
        contributes more than one over this number to its variance.
      num_nonfinite: number of draws, int32, whose log ratio is NaN or +inf.
      status: a `Status`, int32: NONFINITE where a log ratio is NaN or +inf, or all are -inf;
        LOW_OVERLAP where `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
    """

    x: Any
    effective_sample_size: Float[Array, ""]
    effective_samples: Float[Array, ""]
    num_nonfinite: Real[Array, ""]
    status: Real[Array, ""]


def resample(
    key: PRNGKeyArray,
    log_ratio_fn: Callable[[Any], Any],
    noise: Any,
    num_samples: int,
    *,
    oversampling: int = 20,
    chunk_size: int | None = None,
) -> Resampled:
    r"""Samples of the model exp(s) q, with a log ratio s to the noise q, by importance resampling.

    Of `num_samples * oversampling` draws from the noise each sample is one, chosen with a
    probability in proportion to exp(s), independently of the others. The law of a sample is that
    of the model in the limit of many draws, with an error of the order of one over the effective
    sample size; no chain has to converge. It is the right tool where noise and model overlap, as
    in the latent space of a generator, and useless where they do not, which the status says.

    Draws are made in chunks, and made again for those that are chosen, so that the memory is that
    of a chunk, of the samples, and of one number per draw.

    Args:
      key: a typed PRNG key.
      log_ratio_fn: s, from draws (draws, ...) to (draws,), in nats, up to a constant. For a model
        phi with a normalized or unnormalized density, `lambda x: phi(x) - noise.log_prob(x)`.
      noise: q, a distribution, as in `training.make_train_step`.
      num_samples: number of samples.
      oversampling: number of draws per sample.
      chunk_size: number of draws that are made and evaluated at once; None means as many as
        samples, and at least 1,024. It changes the draws.

    Returns:
      `Resampled`. The function is not jitted: wrap it in `jax.jit` if it is called repeatedly.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: shapes that do not fit, or counts below one.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise, samplers
      >>> log_ratio_fn = lambda x: x.sum(axis=-1)  # tilts N(0, I) to N(1, I)
      >>> result = samplers.resample(
      ...     jax.random.key(0), log_ratio_fn, noise.standard_normal(2), 1000
      ... )
      >>> print(result.x.shape, f"{result.x.mean():.1f}", int(result.status))
      (1000, 2) 1.0 0
      >>> result.effective_sample_size > 1000  # in the limit 20,000 / e^2
      Array(True, dtype=bool)

    References:
      Rubin, Using the SIR algorithm to simulate posterior distributions, 1988.
      Owen, Monte Carlo theory, methods and examples, 2013, section 9.3 (the effective sample size).
    """
    check_key(key)
    check_positive_int("num_samples", num_samples)
    check_positive_int("oversampling", oversampling)
    chunk_size = max(num_samples, _MIN_CHUNK) if chunk_size is None else chunk_size
    check_positive_int("chunk_size", chunk_size)
    check_log_density_fn(log_ratio_fn, "log_ratio_fn", arguments="samples", num_arguments=1)
    noise = as_noise(noise)
    num_draws = num_samples * oversampling
    chunk_size = min(chunk_size, num_draws)
    key_draws, key_choice = jax.random.split(key)

    def draw(index: jax.Array) -> Any:
        seed = jax.random.fold_in(key_draws, index)
        with standard_promotion():
            return noise.sample_and_log_prob(seed=seed, sample_shape=(chunk_size,))[0]

    _check_functions(log_ratio_fn, noise, draw)
    indices = jnp.arange(-(-num_draws // chunk_size))
    log_ratios = jax.lax.map(lambda index: log_ratio_fn(draw(index)), indices)
    log_ratios = log_ratios.astype(compute_dtype(log_ratios))
    # What the last chunk has too much counts for nothing.
    is_drawn = jnp.arange(log_ratios.size).reshape(log_ratios.shape) < num_draws
    log_ratios = jnp.where(is_drawn, log_ratios, -jnp.inf)
    result = _assess(log_ratios.reshape(-1)[:num_draws])
    is_failed = result.status == Status.NONFINITE
    weights = jnp.exp(log_ratios - jnp.max(log_ratios))
    weights = jnp.where(is_failed, is_drawn.astype(weights.dtype), weights)
    chosen = _choose(key_choice, weights, draw, num_samples)
    return result._replace(x=jax.tree.map(lambda leaf: _nan_where(is_failed, leaf), chosen))


def _check_functions(log_ratio_fn: Callable[[Any], Any], noise: Noise, draw: Any) -> None:
    """Raises unless noise and log ratio give one floating number per sample."""
    with standard_promotion():
        x, log_noise = jax.eval_shape(
            lambda: noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(2,))
        )
    check_noise_values(log_noise, x)
    x = jax.eval_shape(draw, jnp.zeros((), jnp.int32))
    check_values("log_ratio_fn", jax.eval_shape(log_ratio_fn, x), x)
    cure = "does it close over one datum per draw?"
    check_one_chain("log_ratio_fn", log_ratio_fn, (_zeros_like(x),), of="draw", cure=cure)


def _zeros_like(x: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape[1:]), leaf.dtype), x)


def _assess(log_ratios: jax.Array) -> Resampled:
    """Everything but the samples."""
    is_bad = jnp.isnan(log_ratios) | jnp.isposinf(log_ratios)
    largest = highest(log_ratios)
    relative = jnp.exp(log_ratios - largest)
    deviations = without_rounding(relative / jnp.mean(relative) - 1, jnp.abs(largest))
    number = effective_samples((deviations, None))
    status = jnp.where(jnp.isfinite(largest), Status.CONVERGED, Status.NONFINITE)
    return Resampled(
        x=None,
        effective_sample_size=sample_count(relative, relative),
        effective_samples=number,
        num_nonfinite=jnp.sum(is_bad, dtype=jnp.int32),
        status=interval_status(status, number),
    )


def _choose(key: PRNGKeyArray, weights: jax.Array, draw: Any, num_samples: int) -> Any:
    """Draws chosen in proportion to weights (chunks, draws): first the chunk, then the draw.

    Two steps, since a cumulative sum over all draws has no digits left for one of a million.
    """
    key_chunk, key_draw = jax.random.split(key)
    chunk = _pick(key_chunk, weights.sum(axis=1), num_samples)
    chosen = jax.tree.map(
        lambda leaf: jnp.zeros((num_samples, *leaf.shape[1:]), leaf.dtype),
        jax.eval_shape(draw, chunk[0]),
    )

    def body(chosen: Any, index: jax.Array) -> tuple[Any, None]:
        # One key for all chunks: of its numbers, a sample uses the one of its own chunk.
        place = _pick(key_draw, weights[index], num_samples)
        is_here = chunk == index

        def update(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(is_here.reshape(-1, *[1] * (old.ndim - 1)), new[place], old)

        return jax.tree.map(update, chosen, draw(index)), None

    return jax.lax.scan(body, chosen, jnp.arange(weights.shape[0], dtype=chunk.dtype))[0]


def _pick(key: PRNGKeyArray, weights: jax.Array, num_samples: int) -> jax.Array:
    """Indices in proportion to weights, by inversion of their cumulative sum."""
    total = jnp.cumsum(weights)
    level = jax.random.uniform(key, (num_samples,), weights.dtype) * total[-1]
    index = jnp.searchsorted(total, level, side="right")
    # A level that is rounded up to the total belongs to the last weight that is not zero.
    last = weights.size - 1 - jnp.argmax(weights[::-1] > 0)
    return jnp.minimum(index, last.astype(index.dtype))


def _nan_where(is_failed: jax.Array, leaf: jax.Array) -> jax.Array:
    is_floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.where(is_failed, jnp.asarray(jnp.nan, leaf.dtype), leaf) if is_floating else leaf
