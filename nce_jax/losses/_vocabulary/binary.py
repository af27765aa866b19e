"""Binary NCE for a vocabulary: each token's word against sampled ones, one classification each."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar
from nce_jax._types import Array, Float, Int, Real, Scalars, Weights
from nce_jax.losses._pairs.sums import SOFTPLUS_SUM
from nce_jax.losses._vocabulary.tokens import (
    AccidentalHits,
    Tokens,
    as_numbers,
    as_tokens,
    as_words,
    sum_words,
    word_scores,
)
from nce_jax.numerics import log_noise_weight, softplus, weighted_mean

# How far below all others an excluded word's log ratio is put: e^-100 of anything is nothing, and
# solvers need a number.
_BELOW = 100.0


def vocabulary_nce_loss(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    noise_ids: Int[Array, "..."],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    log_noise_targets: Float[Array, " n"],
    log_noise_ids: Float[Array, "..."],
    log_partition: Real[Any, "..."] | float = 0.0,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars | None = None,
    accidental_hits: AccidentalHits = "keep",
    weights: Weights | None = None,
    chunk_size: int | None = None,
) -> Float[Array, ""]:
    """Noise-contrastive loss of a vocabulary's output layer: the cost of K + 1 words per token, not
    of V.

    L = mean_i [softplus(log kappa - u_i) + kappa/K sum_j softplus(u_ij - log kappa)], u_i = phi_i -
    log q_i - F_i for the target and u_ij = phi_ij - log q_ij - F_i for K sampled words, with scores
    phi_i = <h_i, E_w> + b_w, h_i of `hidden`, w of `targets` and `noise_ids`, E = `embedding`, b =
    `bias`, log q of `log_noise_targets` and `log_noise_ids`, F = `log_partition` and kappa =
    `noise_ratio` * `magnification`. It is `nce_loss` of `vocabulary_log_ratios`, without storing
    them where `chunk_size` is given.

    The literature counts the K sampled words one by one, and so does this loss: `noise_ratio` None
    is K, and kappa/K = M. (`nce_loss` takes means of both sides, its noise ratio of one makes each
    side count the same.)

    With shared words derivatives are in reverse mode, to any order; `jax.jvp` has no rule.

    The model's own normalizer is one per context. F = 0 asks the network to normalize itself, which
    a bias that starts at -log V makes easy; see `self_normalization` for how far it gets.

    Args:
      hidden: states of the network, one per token, (n, dim).
      targets: the words that followed, ids 0 .. V - 1, (n,).
      noise_ids: K words drawn from q, shared by all tokens, (K,), or K for each, (n, K). Draw them
        outside, with `nce_jax.noise.unigram`, say.
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_targets: log q of the targets, (n,): `noise.log_prob(targets)`.
      log_noise_ids: log q of the sampled words, of the shape of `noise_ids`.
      log_partition: F: 0 (self-normalized), a learned number, one per token, (n,), or one solved
        for the batch, as the example of `vocabulary_log_ratios` does.
      magnification: M > 0, a traced number: virtual copies of the noise.
      noise_ratio: nu > 0, a traced number; None takes K.
      accidental_hits: "keep" counts a sampled word that is the target as noise, which makes the
        optimum exact; "exclude" leaves it out of the sum (K stays what it is).
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
      >>> embedding = 0.1 * jax.random.normal(keys[1], (1000, 16))
      >>> noise_ids = jax.random.randint(
      ...     keys[2], (64,), 0, 1000
      ... )  # uniform, of log probability -log 1000
      >>> log_q = {
      ...     "log_noise_targets": jnp.full(8, -jnp.log(1000)),
      ...     "log_noise_ids": jnp.full(64, -jnp.log(1000)),
      ... }
      >>> table = {"embedding": embedding, "bias": jnp.full(1000, -jnp.log(1000))}
      >>> loss = nce_jax.losses.vocabulary_nce_loss(
      ...     hidden, jnp.arange(8), noise_ids, **table, **log_q
      ... )
      >>> print(f"{loss:.4f}")
      5.3214

    References:
      Gutmann and Hyvarinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        eq. 8.
      Mnih and Teh, A fast and simple algorithm for training neural probabilistic language models,
        2012.
    """
    tokens = as_tokens(hidden, targets, embedding, bias, weights)
    words = as_words(tokens, noise_ids, log_noise_ids, accidental_hits)
    data = _data_log_ratios(tokens, log_noise_targets)
    log_kappa = log_noise_weight(
        magnification, words.num_words if noise_ratio is None else noise_ratio, data
    )
    shift = _shift(tokens, log_partition)
    noise = sum_words(SOFTPLUS_SUM, tokens, words, shift + log_kappa, chunk_size)
    terms = softplus(log_kappa - data + shift) + jnp.exp(log_kappa) / words.num_words * noise
    return weighted_mean(tokens.keep(terms), tokens.weights)


def vocabulary_log_ratios(
    hidden: Float[Array, "n dim"],
    targets: Int[Array, " n"],
    noise_ids: Int[Array, "..."],
    *,
    embedding: Float[Array, "V dim"],
    bias: Float[Array, " V"] | None = None,
    log_noise_targets: Float[Array, " n"],
    log_noise_ids: Float[Array, "..."],
    accidental_hits: AccidentalHits = "keep",
    weights: Weights | None = None,
) -> tuple[Float[Array, " n"], Float[Array, "n K"]]:
    """The log ratios of a vocabulary's output layer, for every loss, criterion, solver and
    diagnostic that takes them.

    s_i = phi_i - log q_i of the targets and s_ij = phi_ij - log q_ij of the sampled words, with
    scores phi_i = <h_i, E_w> + b_w of `hidden`, `embedding` and `bias` as in `vocabulary_nce_loss`.
    There F may be solved for, instead of fixed or learned: by the envelope theorem the gradient at
    the minimizing F is that of the loss with F held, as in the example.

    Args:
      hidden: states of the network, (n, dim).
      targets: ids of the words that followed, (n,).
      noise_ids: sampled words, (K,) or (n, K).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_targets: log q of the targets, (n,).
      log_noise_ids: log q of the sampled words, of the shape of `noise_ids`.
      accidental_hits: "exclude" puts a sampled word that is its token's target so far below all
        others (100 nats) that it adds to no sum.
      weights: where a token's weight is zero, so are its log ratios, whatever it holds; give the
        weights to the loss, too.

    Returns:
      s of the targets, (n,), and of the sampled words, (n, K), in nats.

    Raises:
      TypeError: states, ids or weights of the wrong kind.
      ValueError: mismatched shapes, an unknown option.

    Examples:
      One F for the batch, solved; a sampled word counts like a target, so that the noise ratio is
      K:

      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> hidden, targets, noise_ids = (
      ...     jax.random.normal(keys[0], (8, 16)),
      ...     jnp.arange(8),
      ...     jnp.arange(0, 1000, 16),
      ... )
      >>> batch = {
      ...     "embedding": 0.1 * jax.random.normal(keys[1], (1000, 16)),
      ...     "log_noise_targets": jnp.full(8, -jnp.log(1000)),
      ...     "log_noise_ids": jnp.full(63, -jnp.log(1000)),
      ... }
      >>> s_data, s_noise = nce_jax.losses.vocabulary_log_ratios(
      ...     hidden, targets, noise_ids, **batch
      ... )
      >>> solution = nce_jax.solve_log_partition(s_data, s_noise.reshape(-1), noise_ratio=63.0)
      >>> f = jax.lax.stop_gradient(solution.log_partition)
      >>> loss = nce_jax.losses.vocabulary_nce_loss(
      ...     hidden, targets, noise_ids, **batch, log_partition=f
      ... )
      >>> print(f"F {f:.4f}, loss {loss:.4f}")
      F 7.0358, loss 5.3464

    References:
      Gutmann and Hyvarinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        section 2.
    """
    tokens = as_tokens(hidden, targets, embedding, bias, weights)
    words = as_words(tokens, noise_ids, log_noise_ids, accidental_hits)
    data = _data_log_ratios(tokens, log_noise_targets)
    noise = word_scores(tokens, words.ids) - jnp.broadcast_to(
        words.log_noise, (len(data), words.num_words)
    )
    if tokens.weights is not None:
        noise = jnp.where(tokens.weights[:, None] == 0, 0, noise)
    if words.excludes:
        hits = jnp.broadcast_to(words.ids, noise.shape) == tokens.targets[:, None]
        floor = jnp.minimum(jnp.minimum(jnp.min(data), jnp.min(noise)), 0) - _BELOW
        noise = jnp.where(hits, jax.lax.stop_gradient(floor), noise)
    return data, noise


def _data_log_ratios(tokens: Tokens, log_noise_targets: Any) -> jax.Array:
    log_noise = as_numbers(
        "log_noise_targets", log_noise_targets, tokens.targets.shape, tokens.dtype
    )
    return tokens.keep(tokens.scores() - tokens.keep(log_noise))


def _shift(tokens: Tokens, log_partition: Any) -> jax.Array:
    """F, a number or one per token; one number stays one."""
    if not hasattr(log_partition, "ndim") or log_partition.ndim == 0:
        return as_scalar("log_partition", log_partition, jnp.zeros(1, tokens.dtype))
    return tokens.keep(
        as_numbers("log_partition", log_partition, tokens.targets.shape, tokens.dtype)
    )
