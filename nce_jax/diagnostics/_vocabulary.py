"""Quality of an output layer over its whole vocabulary: perplexity and self-normalization."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real, as_weights
from nce_jax._eager import as_one_program
from nce_jax._numerics import has_no_weight, highest, lowest, weighted_mean
from nce_jax._types import Array, Float, Int, Real, Weights
from nce_jax.losses import full_softmax_loss, vocabulary_log_partition

_CHUNK_SIZE = 4096
"""The default number of words per block."""


class SelfNormalization(NamedTuple):
    """How the log partition is distributed over contexts; every field is a number in nats.

    Attributes:
      mean: mean of log Z - F. A constant added to all scores would correct it.
      standard_deviation: standard deviation of log Z over the contexts, which no constant corrects.
      lowest: the smallest log Z - F.
      highest: the largest log Z - F. Scores less F, read as log probabilities, are wrong by between
        `lowest` and `highest`.
    """

    mean: Float[Array, ""]
    standard_deviation: Float[Array, ""]
    lowest: Float[Array, ""]
    highest: Float[Array, ""]


@as_one_program("chunk_size")
def perplexity(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    weights: Weights | None = None,
    chunk_size: int = _CHUNK_SIZE,
) -> Float[Array, ""]:
    r"""Perplexity by the full softmax, whatever the model was trained with.

    It is :math:`\exp(-\operatorname{mean}_i \log p(w_i \mid \text{context}_i))`, the exponential of
    `full_softmax_loss`, with log Z from a sum over all V words in blocks. A perplexity from
    unnormalized scores, as if log Z were zero, can be smaller than any model's. For a text in
    several batches, average the loss with the numbers of tokens as weights and take the exponential
    last.

    Args:
      hidden: states of the network, (n, dim).
      targets: ids of the words that followed, (n,).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      weights: weights >= 0 of the tokens, (n,); those of weight zero are ignored.
      chunk_size: words per block.

    Returns:
      The perplexity, a number; V for a model of constant scores, NaN if all weights are zero.

    Raises:
      TypeError: states, ids or weights of the wrong kind.
      ValueError: mismatched shapes.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> hidden, targets = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 2])
      >>> print(
      ...     f"{nce_jax.diagnostics.perplexity(hidden, targets, embedding=jnp.zeros((50, 2))):.4f}"
      ... )
      50.0000

    References:
      Bengio et al., A neural probabilistic language model, 2003, section 4.
    """
    loss = full_softmax_loss(
        hidden, targets, embedding=embedding, bias=bias, weights=weights, chunk_size=chunk_size
    )
    # Without a token the loss is zero, as training needs it, and a perplexity of one is no result.
    has_no_token = has_no_weight(hidden[:, 0], as_weights("weights", weights, hidden[:, 0]))
    return jnp.where(has_no_token, jnp.nan, jnp.exp(loss))


@as_one_program("chunk_size")
def self_normalization(
    hidden: Float[Array, "n dim"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    log_partition: Real[Any, "..."] | float = 0.0,
    weights: Weights | None = None,
    chunk_size: int = _CHUNK_SIZE,
) -> SelfNormalization:
    r"""Deviations of log Z over contexts from the fixed F that was used in its place.

    With :math:`\log Z_i = \log \sum_w e^{\phi_{iw}}` over all V words, in blocks, it reports mean,
    spread and range of log Z_i - F, F = `log_partition`. NCE at a fixed F drives all of them
    towards zero. They are the errors of scores less F, read as log probabilities.

    Args:
      hidden: states of the network, one per context, (n, dim).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_partition: F in training, a number or one per context, (n,).
      weights: weights >= 0 of the contexts, (n,); those of weight zero are ignored.
      chunk_size: words per block.

    Returns:
      A `SelfNormalization`.

    Raises:
      TypeError: states or weights of the wrong kind.
      ValueError: mismatched shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> hidden = jax.random.normal(jax.random.key(0), (100, 8))
      >>> embedding = jnp.eye(8).repeat(4, axis=0)
      >>> report = nce_jax.diagnostics.self_normalization(
      ...     hidden, embedding=embedding, bias=jnp.full(32, -jnp.log(32.0))
      ... )
      >>> print(f"log Z {report.mean:.4f} +- {report.standard_deviation:.4f}")
      log Z 0.3870 +- 0.3733

    References:
      Mnih and Teh, A fast and simple algorithm for training neural probabilistic language models,
        2012.
      Devlin et al., Fast and robust neural network joint models for statistical machine
        translation, 2014.
    """
    log_z = vocabulary_log_partition(
        hidden, embedding=embedding, bias=bias, weights=weights, chunk_size=chunk_size
    )
    error = log_z - _as_per_context(log_partition, log_z)
    weights = as_weights("weights", weights, error)
    counts = None if weights is None else weights != 0
    error = error if counts is None else jnp.where(counts, error, 0)
    mean = weighted_mean(error, weights)
    spread = jnp.sqrt(weighted_mean(jnp.square(error - mean), weights))
    errors = error.ravel()
    counted = None if counts is None else counts.ravel()
    ends = lowest(errors, where=counted), highest(errors, where=counted)
    return SelfNormalization(mean, spread, *ends)


def _as_per_context(log_partition: Any, log_z: jax.Array) -> jax.Array:
    values = as_real("log_partition", log_partition)
    values = jnp.asarray(values, log_z.dtype)
    if values.shape not in ((), log_z.shape):
        raise ValueError(
            f"log_partition: expected a number or shape {log_z.shape}, got shape {values.shape}"
        )
    return jnp.broadcast_to(values, log_z.shape)
