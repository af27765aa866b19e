"""Softmax losses of a vocabulary: the target among sampled words, and among all of them."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_weights, check_positive_int, compute_dtype
from nce_jax._types import Array, Float, Int, Scalars, Weights
from nce_jax.losses._pairs.embeddings import as_matrix
from nce_jax.losses._pairs.sums import LOG_SUM_EXP, Pairs, Plan, reduce_pairs
from nce_jax.losses._rank import ranking_terms
from nce_jax.losses._vocabulary.tokens import (
    AccidentalHits,
    Table,
    as_table,
    as_tokens,
    as_words,
    sum_words,
)
from nce_jax.numerics import weighted_mean


def sampled_softmax_loss(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    noise_ids: Int[Array, "..."],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    log_noise_ids: Float[Array, "..."],
    magnification: Scalars = 1.0,
    accidental_hits: AccidentalHits = "exclude",
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """Sampled softmax: the full softmax with its sum over the other words estimated from K of them.

    L = mean_i -log(e^{phi_i} / (e^{phi_i} + M sum_j e^{phi_ij - log(K q_ij)})), with scores phi_i =
    <h_i, E_w> + b_w of the target and phi_ij of K sampled words, h_i of `hidden`, E = `embedding`,
    b = `bias`, log q of `log_noise_ids` and M = `magnification`. A constant added to all scores of
    one token cancels: there is no log partition, and none is learned.

    With shared words derivatives are in reverse mode, to any order; `jax.jvp` has no rule.

    With accidental hits excluded and M = 1 the denominator has the expectation of the full
    softmax's, so that the loss and its gradient become the full softmax's as K -> infinity; at a
    finite K the gradient is biased. The target is in the denominator with certainty and has no
    correction: where other packages subtract log(K q) from it as well, the loss is the ranking one,
    `ranking_nce_loss` of `vocabulary_log_ratios`, which is consistent at any K, but for a per-token
    constant, and needs hits to be kept.

    Args:
      hidden: states of the network, one per token, (n, dim).
      targets: the words that followed, ids 0 .. V - 1, (n,).
      noise_ids: K words drawn from q with replacement, shared by all tokens, (K,), or K for each,
        (n, K).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_ids: log q of the sampled words, of the shape of `noise_ids`.
      magnification: M > 0, a traced number: as it grows the target leaves its own denominator.
      accidental_hits: "exclude" leaves sampled words that are the target out of the sum, where they
        would count the target twice; "keep" does that.
      weights: weights >= 0 of the tokens, (n,). A token of weight zero is ignored, whatever it
        holds: padding.
      chunk_size: sampled words per block; None takes all at once.

    Returns:
      The loss, a number in nats; float32 for inputs of lower precision. NaN where an id is no word.

    Raises:
      TypeError: states, ids or weights of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range, an unknown option.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> hidden = jax.random.normal(keys[0], (8, 16))
      >>> embedding = 0.3 * jax.random.normal(keys[1], (1000, 16))
      >>> targets = jnp.arange(8)
      >>> for count in (16, 100_000):
      ...     noise_ids, log_q = (
      ...         jax.random.randint(keys[2], (count,), 0, 1000),
      ...         jnp.full(count, -jnp.log(1000)),
      ...     )
      ...     loss = nce_jax.losses.sampled_softmax_loss(
      ...         hidden, targets, noise_ids, embedding=embedding, log_noise_ids=log_q
      ...     )
      ...     print(f"{count} {loss:.2f}")
      16 8.00
      100000 8.07
      >>> loss = nce_jax.losses.full_softmax_loss(hidden, targets, embedding=embedding)
      >>> print(f"all words {loss:.2f}")
      all words 8.07

    References:
      Bengio and Senecal, Adaptive importance sampling to accelerate training of a neural
        probabilistic language model, 2008.
      Blanc and Rendle, Adaptive sampled softmax with kernel based sampling, 2018.
    """
    tokens = as_tokens(hidden, targets, embedding, bias, weights)
    words = as_words(tokens, noise_ids, log_noise_ids, accidental_hits)
    log_count = jnp.log(jnp.asarray(words.num_words, tokens.dtype))
    against = sum_words(LOG_SUM_EXP, tokens, words, log_count, chunk_size)
    return weighted_mean(
        tokens.keep(ranking_terms(tokens.scores(), against, magnification)), tokens.weights
    )


def full_softmax_loss(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """Cross-entropy over the whole vocabulary, in blocks of it: what sampled losses approximate,
    and evaluation needs.

    L = mean_i [log sum_w e^{phi_iw} - phi_i], phi_iw = <h_i, E_w> + b_w, with h_i of `hidden`, E =
    `embedding`, b = `bias` and phi_i the score of the target. With `chunk_size` the n V scores are
    made block by block, and again for the gradient: memory is O(n (dim + chunk_size)) beside the
    embedding and its gradient.

    Args:
      hidden: states of the network, one per token, (n, dim).
      targets: the words that followed, ids 0 .. V - 1, (n,).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      weights: weights >= 0 of the tokens, (n,). A token of weight zero is ignored, whatever it
        holds: padding.
      chunk_size: words per block; None takes all at once.

    Returns:
      The loss, a number in nats; exp of it is the perplexity.

    Raises:
      TypeError: states, ids or weights of the wrong kind.
      ValueError: mismatched shapes.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> hidden, targets = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([0, 2])
      >>> embedding = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
      >>> print(f"{nce_jax.losses.full_softmax_loss(hidden, targets, embedding=embedding):.4f}")
      0.6348

    References:
      Bengio et al., A neural probabilistic language model, 2003, section 2.
    """
    tokens = as_tokens(hidden, targets, embedding, bias, weights)
    log_partition = _log_partition(tokens.hidden, tokens.table, chunk_size)
    return weighted_mean(tokens.keep(log_partition - tokens.scores()), tokens.weights)


def vocabulary_log_partition(
    hidden: Float[Array, "n dim"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, " n"]:
    """The exact log partition of every context, a sum over the whole vocabulary in blocks of it.

    log Z_i = log sum_w e^{phi_iw}, phi_iw = <h_i, E_w> + b_w, with h_i of `hidden`, E = `embedding`
    and b = `bias`. Scores less it are log probabilities. A model is self-normalized as far as these
    are equal to the F that it was trained with.

    Args:
      hidden: states of the network, one per context, (n, dim).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      weights: where zero, so is the result, whatever the state holds, (n,).
      chunk_size: words per block; None takes all at once.

    Returns:
      log Z, (n,), in nats.

    Raises:
      TypeError: states or weights of the wrong kind.
      ValueError: mismatched shapes.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> hidden = jnp.array([[1.0, 0.0], [0.0, 1.0]])
      >>> embedding = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.vocabulary_log_partition(hidden, embedding=embedding))
      [2.4076 1.862 ]

    References:
      Bengio et al., A neural probabilistic language model, 2003, section 2.
    """
    hidden = as_matrix("hidden", hidden)
    table = as_table(hidden, embedding, bias)
    weights = as_weights("weights", weights, hidden[:, 0])
    if weights is None:
        return _log_partition(hidden, table, chunk_size)
    found = _log_partition(jnp.where(weights[:, None] == 0, 0, hidden), table, chunk_size)
    return jnp.where(weights == 0, 0, found)


def _log_partition(hidden: jax.Array, table: Table, chunk_size: Any) -> jax.Array:
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)
    low = jnp.result_type(hidden, table.embedding)
    dtype = compute_dtype(hidden, table.embedding)
    num_words = table.embedding.shape[0]
    offset = jnp.zeros(num_words, dtype) if table.bias is None else table.bias.astype(dtype)
    # Ids that are never equal: no word is left out.
    own, others = jnp.zeros(hidden.shape[0], jnp.int32), jnp.ones(num_words, jnp.int32)
    pairs = Pairs(
        hidden.astype(low), table.embedding.astype(low), jnp.ones((), dtype), offset, own, others
    )
    return reduce_pairs(Plan(LOG_SUM_EXP, chunk_size=chunk_size), pairs)[0]
