"""Softmax losses of a vocabulary, over sampled words and over all words."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_weights, check_positive_int, compute_dtype
from nce_jax._dtypes import result_dtype
from nce_jax._eager import as_one_program
from nce_jax._numerics import loss_mean, mask_terms
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


@as_one_program("accidental_hits", "chunk_size")
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
    r"""Softmax loss whose sum over the vocabulary is estimated from K sampled words.

    .. math::

       L = \frac{1}{n} \sum_i -\log
           \frac{e^{\phi_i}}{e^{\phi_i} + M \sum_j e^{\phi_{ij} - \log(K q_{ij})}},
       \qquad \phi_i = \langle h_i, E_w \rangle + b_w, \quad w = \text{target of } i,

    and phi_ij in the same way for the j-th sampled word, with h in `hidden`, E = `embedding`, b =
    `bias`, log q in `log_noise_ids` and M = `magnification`. A constant added to all scores of one
    token cancels, so that there is no log partition.

    If accidental hits are excluded and M = 1, the expectation of the denominator is the denominator
    of the full softmax. The loss and its gradient approach the full softmax as K -> infinity; at
    finite K the gradient is biased. The target is always in the denominator and needs no
    correction. Packages that subtract log(K q) from its score as well compute the ranking loss,
    `ranking_nce_loss` of `vocabulary_log_ratios`. That loss is consistent at any K, up to a
    constant per token, and requires that hits are kept.

    With shared words, derivatives of any order are available in reverse mode; `jax.jvp` is not
    supported.

    Args:
      hidden: hidden states of the network, one per token, (n, dim).
      targets: the next word of each token, ids 0 .. V - 1, (n,).
      noise_ids: K words drawn from q with replacement, (K,), shared by all tokens, or (n, K), K for
        each token.
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_ids: log q of the sampled words, in the shape of `noise_ids`.
      magnification: M > 0, a traced number. As M grows, the target loses its weight in the
        denominator.
      accidental_hits: what happens to a sampled word that is the target. "exclude" ignores it;
        "keep" counts it, and with it the target twice.
      weights: weights >= 0 of the tokens, (n,). A token of weight zero, such as padding, is
        ignored, even if it is NaN.
      chunk_size: sampled words per block; None computes all at once.

    Returns:
      The loss, a number in nats; float32 for inputs of lower precision. It is NaN if an id is
      outside of the vocabulary.

    Raises:
      TypeError: hidden states, ids or weights of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or an unknown option.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> hidden = jax.random.normal(keys[0], (8, 16))
      >>> embedding = 0.3 * jax.random.normal(keys[1], (1000, 16))
      >>> targets = jnp.arange(8)
      >>> for count in (16, 100_000):
      ...     loss = nce_jax.losses.sampled_softmax_loss(
      ...         hidden,
      ...         targets,
      ...         jax.random.randint(keys[2], (count,), 0, 1000),
      ...         embedding=embedding,
      ...         log_noise_ids=jnp.full(count, -jnp.log(1000)),
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
    log_sum = sum_words(LOG_SUM_EXP, tokens, words, log_count, chunk_size)
    terms = ranking_terms(tokens.scores(), log_sum, magnification)
    return loss_mean(tokens.mask(terms), tokens.weights)


@as_one_program("chunk_size")
def full_softmax_loss(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    r"""Cross-entropy loss over the whole vocabulary, which sampled losses approximate.

    .. math::

       L = \frac{1}{n} \sum_i \Big[ \log \sum_v e^{\phi_{iv}} - \phi_{iw} \Big], \qquad
       \phi_{iv} = \langle h_i, E_v \rangle + b_v, \quad w = \text{target of } i,

    with h in `hidden`, E = `embedding` and b = `bias`. With `chunk_size` the n V scores are
    computed in blocks of words, once for the value and once more for the gradient. This takes O(n
    (dim + chunk_size)) memory in addition to the embedding and its gradient.

    Args:
      hidden: hidden states of the network, one per token, (n, dim).
      targets: the next word of each token, ids 0 .. V - 1, (n,).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      weights: weights >= 0 of the tokens, (n,). A token of weight zero, such as padding, is
        ignored, even if it is NaN.
      chunk_size: words per block; None computes all at once.

    Returns:
      The loss, a number in nats; exp(loss) is the perplexity.

    Raises:
      TypeError: hidden states, ids or weights of the wrong type.
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
    return loss_mean(tokens.mask(log_partition - tokens.scores()), tokens.weights)


@as_one_program("chunk_size")
def vocabulary_log_partition(
    hidden: Float[Array, "n dim"],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, " n"]:
    r"""The exact log partition of every context, from a sum over the whole vocabulary.

    .. math::

       \log Z_i = \log \sum_v e^{\phi_{iv}}, \qquad \phi_{iv} = \langle h_i, E_v \rangle + b_v,

    with h in `hidden`, E = `embedding` and b = `bias`. The log probability of a word is its score
    minus log Z. A model is self-normalized to the extent that log Z equals the F of its training.

    Args:
      hidden: hidden states of the network, one per context, (n, dim).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      weights: weights >= 0 of the contexts, (n,). The result of a context of weight zero is zero,
        even if it is NaN.
      chunk_size: words per block; None computes all at once.

    Returns:
      log Z, (n,), in nats.

    Raises:
      TypeError: hidden states or weights of the wrong type.
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
    hidden = jnp.where(weights[:, None] == 0, 0, hidden)
    return mask_terms(_log_partition(hidden, table, chunk_size), weights)


def _log_partition(hidden: jax.Array, table: Table, chunk_size: Any) -> jax.Array:
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)
    vector_dtype = result_dtype(hidden, table.embedding)
    dtype = compute_dtype(hidden, table.embedding)
    num_words = table.embedding.shape[0]
    pairs = Pairs(
        x=hidden.astype(vector_dtype),
        y=table.embedding.astype(vector_dtype),
        scale=jnp.ones((), dtype),
        offset=jnp.zeros(num_words, dtype) if table.bias is None else table.bias.astype(dtype),
        # Ids that are never equal count every word.
        ids_x=jnp.zeros(hidden.shape[0], jnp.int32),
        ids_y=jnp.ones(num_words, jnp.int32),
    )
    return reduce_pairs(Plan(LOG_SUM_EXP, chunk_size=chunk_size), pairs)[0]
