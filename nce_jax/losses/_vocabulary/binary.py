"""Binary NCE for a vocabulary, which classifies each target against sampled words."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar
from nce_jax._eager import as_one_program
from nce_jax._numerics import log_noise_weight, loss_mean, softplus
from nce_jax._types import Array, Float, Int, Real, Scalars, Weights
from nce_jax.losses._pairs.embeddings import as_numbers
from nce_jax.losses._pairs.sums import SOFTPLUS_SUM
from nce_jax.losses._vocabulary.tokens import (
    AccidentalHits,
    Tokens,
    as_tokens,
    as_words,
    sum_words,
    word_scores,
)

_EXCLUSION_GAP = 100.0
"""Nats by which the log ratio of an excluded word is put below all others.

A factor of e^-100 adds to no sum, and solvers need a finite number.
"""
_LIFT = 2.0**44
"""What a sum over words is multiplied by: a power of two, which rounds nothing."""
_LOG_LIFT = 44 * math.log(2)
_TAIL = -60.0
"""A logit below which softplus and exp are the same number in every dtype."""


@as_one_program("accidental_hits", "chunk_size")
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
    r"""Noise-contrastive loss of a vocabulary, at the cost of K + 1 words per token instead of V.

    .. math::

       L &= \frac{1}{n} \sum_i \Big[ \operatorname{softplus}(\log\kappa - u_i)
           + \frac{\kappa}{K} \sum_j \operatorname{softplus}(u_{ij} - \log\kappa) \Big], \\
       u_i &= \langle h_i, E_w \rangle + b_w - \log q_w - F_i, \quad w = \text{target of } i,

    and u_ij in the same way for the j-th sampled word, with h in `hidden`, E = `embedding`, b =
    `bias`, log q in `log_noise_targets` and `log_noise_ids`, F = `log_partition` and kappa =
    `noise_ratio` * `magnification`. It is `nce_loss` of `vocabulary_log_ratios`, which are not
    stored if `chunk_size` is given.

    As in the literature, each of the K sampled words counts as much as the target: the default of
    `noise_ratio` is K, so that kappa / K = M. (`nce_loss` averages both sides, which count equally
    at its noise ratio of one.)

    The exact normalizer of the model depends on the context. F = 0 trains the network to normalize
    itself, for which a bias of -log V is a good start; `self_normalization` measures how well it
    does.

    With shared words, derivatives of any order are available in reverse mode; `jax.jvp` is not
    supported.

    Args:
      hidden: hidden states of the network, one per token, (n, dim).
      targets: the next word of each token, ids 0 .. V - 1, (n,).
      noise_ids: K words drawn from q, for instance by `nce_jax.noise.unigram`: (K,), shared by all
        tokens, or (n, K), K for each token.
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_targets: log q of the targets, (n,), such as `noise.log_prob(targets)`.
      log_noise_ids: log q of the sampled words, in the shape of `noise_ids`.
      log_partition: F, a number or one per token, (n,): zero (self-normalized), learned, or solved
        for the batch as in the example of `vocabulary_log_ratios`.
      magnification: M > 0, virtual copies of the noise, a traced number.
      noise_ratio: nu > 0, a traced number; None is K.
      accidental_hits: what happens to a sampled word that is the target. "keep" counts it as noise,
        which makes the optimum exact; "exclude" ignores it, without a change of K.
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
      >>> embedding = 0.1 * jax.random.normal(keys[1], (1000, 16))
      >>> noise_ids = jax.random.randint(keys[2], (64,), 0, 1000)  # uniform noise, q = 1/1000
      >>> loss = nce_jax.losses.vocabulary_nce_loss(
      ...     hidden,
      ...     jnp.arange(8),
      ...     noise_ids,
      ...     embedding=embedding,
      ...     bias=jnp.full(1000, -jnp.log(1000)),
      ...     log_noise_targets=jnp.full(8, -jnp.log(1000)),
      ...     log_noise_ids=jnp.full(64, -jnp.log(1000)),
      ... )
      >>> print(f"{loss:.4f}")
      5.3214

    References:
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
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
    lifted = sum_words(_LIFTED_SOFTPLUS_SUM, tokens, words, shift + log_kappa, chunk_size)
    noise = _times_kappa(lifted, log_kappa) / words.num_words
    terms = softplus(log_kappa - data + shift) + noise
    return loss_mean(tokens.mask(terms), tokens.weights)


def _times_kappa(lifted: jax.Array, log_kappa: jax.Array) -> jax.Array:
    """kappa times a lifted sum without its lift, each of which may be out of range alone."""
    large = jnp.exp(log_kappa - _LOG_LIFT) * lifted
    return jnp.where(log_kappa > _LOG_LIFT, large, jnp.exp(log_kappa) * (lifted / _LIFT))


def _lifted_softplus(logits: jax.Array) -> jax.Array:
    tail = jnp.exp(jnp.minimum(logits, _TAIL) + _LOG_LIFT)
    return jnp.where(logits < _TAIL, tail, _LIFT * jax.nn.softplus(logits))


def _lifted_sigmoid(logits: jax.Array, _) -> jax.Array:
    tail = jnp.exp(jnp.minimum(logits, _TAIL) + _LOG_LIFT)
    return jnp.where(logits < _TAIL, tail, _LIFT * jax.nn.sigmoid(logits))


_LIFTED_SOFTPLUS_SUM = SOFTPLUS_SUM._replace(
    total=lambda logits, axis: _lifted_softplus(logits).sum(axis=axis), derivative=_lifted_sigmoid
)
"""The sum of 2^44 softplus(logit): with a large kappa, softplus(u - log kappa) underflows."""


@as_one_program("accidental_hits")
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
    r"""Log ratios of an output layer, as input for any other loss, criterion or solver.

    .. math::

       s_i = \langle h_i, E_w \rangle + b_w - \log q_w, \qquad w = \text{target of } i,

    and s_ij in the same way for the j-th sampled word, with h in `hidden`, E = `embedding` and b =
    `bias`. With these log ratios the F of `vocabulary_nce_loss` can be solved for, instead of being
    fixed or learned. By the envelope theorem, the gradient of the loss at the minimizing F is the
    gradient with F held constant, as in the example.

    Args:
      hidden: hidden states of the network, one per token, (n, dim).
      targets: the next word of each token, ids 0 .. V - 1, (n,).
      noise_ids: sampled words, (K,) shared by all tokens, or (n, K).
      embedding: one row per word, (V, dim).
      bias: one number per word, (V,), or None.
      log_noise_targets: log q of the targets, (n,).
      log_noise_ids: log q of the sampled words, in the shape of `noise_ids`.
      accidental_hits: "exclude" puts the log ratio of a sampled word that is the target 100 nats
        below all others, so that it adds to no sum.
      weights: weights >= 0 of the tokens, (n,). The log ratios of a token of weight zero are zero,
        even if it is NaN. Pass the weights to the loss as well.

    Returns:
      s of the targets, (n,), and of the sampled words, (n, K), in nats.

    Raises:
      TypeError: hidden states, ids or weights of the wrong type.
      ValueError: mismatched shapes, or an unknown option.

    Examples:
      F is solved for the batch. A sampled word counts as much as a target, so that the noise ratio
      is K:

      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> hidden, targets = jax.random.normal(keys[0], (8, 16)), jnp.arange(8)
      >>> noise_ids = jnp.arange(0, 1000, 16)
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
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
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
    if words.exclude_hits:
        hits = jnp.broadcast_to(words.ids, noise.shape) == tokens.targets[:, None]
        floor = jnp.minimum(jnp.minimum(jnp.min(data), jnp.min(noise)), 0) - _EXCLUSION_GAP
        noise = jnp.where(hits, jax.lax.stop_gradient(floor), noise)
    return data, noise


def _data_log_ratios(tokens: Tokens, log_noise_targets: Any) -> jax.Array:
    log_noise = as_numbers(
        "log_noise_targets", log_noise_targets, tokens.targets.shape, tokens.dtype
    )
    return tokens.mask(tokens.scores() - tokens.mask(log_noise))


def _shift(tokens: Tokens, log_partition: Any) -> jax.Array:
    """Returns F as a number or as one number per token; a number is not broadcast."""
    if not hasattr(log_partition, "ndim") or log_partition.ndim == 0:
        return as_scalar("log_partition", log_partition, jnp.zeros(1, tokens.dtype))
    return tokens.mask(
        as_numbers("log_partition", log_partition, tokens.targets.shape, tokens.dtype)
    )
