"""Losses that align a policy with rewards or preferences of several answers to a prompt.

The log ratio of an answer is s = beta (log pi - log pi_ref), of the policy in training to the
reference that the answers were drawn from. Rewards that are exponentiated weigh the answers of the
reference so that they stand for data; all of them are the noise.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_positive,
    as_real,
    as_samples,
    as_weight_array,
    as_weights,
    broadcasts,
)
from nce_jax._dtypes import compute_dtype
from nce_jax._eager import as_one_program
from nce_jax._numerics import expand, has_no_weight, highest, ignore_unweighted, loss_mean, softplus
from nce_jax._ranges import check_range, known_values
from nce_jax._types import Array, ArrayLike, Float, LogRatio, Real, Scalars, Weights
from nce_jax.losses._binary import nce_loss
from nce_jax.losses._divergence import donsker_varadhan_loss


@as_one_program()
def bradley_terry_loss(
    score_chosen: LogRatio,
    score_rejected: LogRatio,
    *,
    preference: Real[ArrayLike, "..."] = 1.0,
    weights: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Negative log-likelihood of preferences between two answers: of reward models, and DPO.

    .. math::

       L = -\frac{1}{n} \sum_i p_i \log\sigma(d_i) + (1 - p_i) \log\sigma(-d_i), \qquad
       d_i = r_{\text{chosen}, i} - r_{\text{rejected}, i},

    with p = `preference`. With the scores of a reward model it is the Bradley-Terry loss. With the
    scores s = beta (log pi - log pi_ref) of a policy and its reference it is direct preference
    optimization (DPO). A constant per prompt cancels, so that there is no normalizer. Where the
    chosen answer is preferred with the probability p, d = log p / (1 - p) at the minimum. For
    certain preferences, p = 1, there is none, and d grows without a bound.

    Args:
      score_chosen: scores of the answers that were preferred, (*batch, n), in nats.
      score_rejected: scores of the other answers to the same prompts, (*batch, n).
      preference: the probability between 0 and 1 that the chosen answer is the preferred one, a
        number or one per pair. A label smoothing of e is 1 - e; the share of several votes is
        meant as well.
      weights: weights >= 0 of the pairs, for a weighted mean. A pair of weight zero is ignored,
        even if it is NaN.

    Returns:
      The loss, (*batch), in nats; log 2 for equal scores, float32 for inputs of lower precision. It
      is zero, and so is its gradient, where all weights are zero. It is infinite where what has a
      positive probability has none by the scores, and NaN where both scores of a pair are the same
      infinity.

    Raises:
      TypeError: scores or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or a preference that is not between 0 and 1.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> log_policy = jnp.array([[-4.0, -6.0], [-5.0, -4.5]])  # chosen, rejected
      >>> log_reference = jnp.array([[-4.5, -5.5], [-5.0, -5.0]])
      >>> s = 0.1 * (log_policy - log_reference)  # beta = 0.1
      >>> print(f"{nce_jax.losses.bradley_terry_loss(s[:, 0], s[:, 1]):.4f}")  # DPO
      0.6814

    References:
      Bradley and Terry, Rank analysis of incomplete block designs, I: the method of paired
        comparisons, 1952.
      Rafailov et al., Direct preference optimization: your language model is secretly a reward
        model, 2023, eq. 7.
    """
    chosen = as_samples("score_chosen", score_chosen)
    rejected = as_samples("score_rejected", score_rejected)
    if rejected.shape != chosen.shape:
        raise ValueError(
            f"score_rejected: expected one for every score_chosen, shape {chosen.shape}, got shape"
            f" {rejected.shape}"
        )
    dtype = compute_dtype(chosen, rejected)
    chosen, rejected = chosen.astype(dtype), rejected.astype(dtype)
    _check_preference(preference, weights, chosen.shape)
    weights = as_weights("weights", weights, chosen)
    probability = _as_probability(preference, chosen, weights)
    margin = ignore_unweighted(chosen - rejected, weights)
    terms = _expected(probability, softplus(-margin)) + _expected(1 - probability, softplus(margin))
    return loss_mean(terms, weights)


def _check_preference(preference: Any, weights: Any, shape: tuple[int, ...]) -> None:
    """Raises unless there is a number or one per pair, and a probability where a pair counts."""
    given = as_real("preference", preference)
    if not broadcasts(np.shape(given), shape):
        raise ValueError(
            f"preference: expected a number or one per pair, shape {shape}, got shape"
            f" {np.shape(given)}"
        )
    if np.ndim(given) and weights is not None:
        values = known_values(given)
        counted = known_values(as_weight_array("weights", weights, shape))
        if values is None or counted is None:
            return
        given = np.where(np.broadcast_to(counted, shape) == 0, 0.5, values)
    check_range("preference", given, "a probability", lambda p: (p >= 0) & (p <= 1))


def _as_probability(preference: Any, scores: jax.Array, weights: Any) -> jax.Array:
    """One probability per pair; NaN where a traced one that counts is none."""
    number = jnp.asarray(as_real("preference", preference), scores.dtype)
    number = jnp.broadcast_to(number, scores.shape)
    if weights is not None:
        number = jnp.where(weights == 0, 0.5, number)
    return jnp.where((number >= 0) & (number <= 1), number, jnp.nan)


def _expected(probability: jax.Array, loss: jax.Array) -> jax.Array:
    """Probability times loss, zero where what is impossible would cost infinitely much."""
    return jnp.where(probability == 0, 0, probability * loss)


@as_one_program()
def info_nca_loss(
    log_ratio: LogRatio,
    rewards: LogRatio,
    *,
    temperature: Scalars = 1.0,
    weights: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""InfoNCA: the cross entropy between rewards and log ratios of the answers to a prompt.

    .. math::

       L = -\sum_k p_k \log \frac{e^{s_k}}{\sum_j e^{s_j}}, \qquad
       p_k = \frac{e^{r_k / \alpha}}{\sum_j e^{r_j / \alpha}},

    with K answers drawn from the reference, s = beta (log pi - log pi_ref) in `log_ratio`, r in
    `rewards` and alpha = `temperature`. Its minimum is s = r / alpha up to a constant per prompt,
    for any number of answers, so that pi is proportional to pi_ref exp(r / (alpha beta)). For two
    answers it is `bradley_terry_loss` with the preference sigma((r_1 - r_2) / alpha): DPO as alpha
    goes to 0. It is also `donsker_varadhan_loss` of these answers plus log K, and hence the limit
    of `nca_loss` as M grows where the partition term is solved for. A magnification of its own
    would move the minimum, and there is none.

    Args:
      log_ratio: s of the answers, (*batch, K), in nats; the batch are the prompts.
      rewards: r of the answers, (*batch, K), in any unit. An answer of reward -inf is never
        preferred: (0, -inf) makes a preference of two answers certain.
      temperature: alpha > 0 in the unit of the rewards, a number or one per prompt, traced.
      weights: weights >= 0 of the answers, (*batch, K): a mask where prompts have different numbers
        of answers, or importance weights where they are not drawn from the reference. p_k is
        proportional to w_k exp(r_k / alpha), and the sum over j is the weighted mean times the
        number of nonzero weights. An answer of weight zero is ignored, even if it is NaN.

    Returns:
      The loss, (*batch), in nats; log K for equal log ratios, float32 for inputs of lower
      precision. It is zero, and so is its gradient, where all weights are zero; infinite where an
      answer with p > 0 has s = -inf; NaN where a reward is +inf, all rewards are -inf, a log ratio
      is +inf, or all are -inf.

    Raises:
      TypeError: log ratios, rewards or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s = jnp.array([[0.2, -0.1, 0.0, 0.3], [0.0, 0.4, -0.2, 0.1]])  # two prompts
      >>> rewards = jnp.array([[7.0, 3.0, 5.0, 8.0], [2.0, 9.0, 1.0, 6.0]])
      >>> loss = nce_jax.losses.info_nca_loss(s, rewards, temperature=2.0)
      >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
      1.2827 1.1560

    References:
      Chen et al., Noise contrastive alignment of language models with explicit rewards, 2024,
        section 3 (InfoNCA).
    """
    answers = _as_answers(log_ratio, rewards, temperature, weights)
    # A constant cancels; without the largest one, large log ratios are not rounded in their sum.
    s = answers.log_ratio - jax.lax.stop_gradient(expand(highest(answers.log_ratio)))
    loss = donsker_varadhan_loss(s, s, weights_data=answers.targets, weights_noise=answers.weights)
    counted = jnp.ones_like(s) if answers.weights is None else answers.weights
    count = jnp.sum(counted != 0, axis=-1, dtype=s.dtype)
    return loss + jnp.log(jnp.maximum(count, 1))


@as_one_program()
def nca_loss(
    log_ratio: LogRatio,
    rewards: LogRatio,
    *,
    temperature: Scalars = 1.0,
    log_partition: Scalars = 0.0,
    magnification: Scalars = 1.0,
    weights: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Noise contrastive alignment (NCA): answers weighted by rewards against all answers.

    .. math::

       L = \sum_k p_k \operatorname{softplus}(\log M - u_k)
           + \frac{M}{K} \sum_k \operatorname{softplus}(u_k - \log M), \qquad u = s - F,

    with p = softmax(r / alpha) as in `info_nca_loss`: `nce_loss` of the answers as data, weighted
    by p, and of the same answers as noise. M = 1 and F = 0 are the published loss. Over all answers
    that the reference gives, the minimum is

    .. math::

       u = r / \alpha - \log E_{\text{ref}}[e^{r / \alpha}]

    for every M: unlike InfoNCA it knows the likelihood of each answer by itself, and not only
    relative to the others. With K answers, p estimates the expectation from these K, and the
    minimum is u(y) = log E[K p_1 | y_1 = y], off by O(1 / K): with few answers pi stays closer to
    the reference than was asked for.

    F is a partition term, which is given (learned, as a parameter per prompt) or solved for. At
    beta = 1 a normalized policy has F = 0. For any other beta exp(s) is not normalized under the
    reference, and F = 0 keeps a normalized policy from pi proportional to pi_ref exp(r / (alpha
    beta)); an F per prompt lets it be the minimum. An F that is solved for from the K answers also
    takes the error of their p: then the minimum is s = r / alpha up to a constant per prompt, for
    any K >= 2, beta and M. It is `nce_jax.profiled_nce_loss(s, s, weights_data=p,
    weights_noise=mask, magnification=M)`, with p of the answers of the mask, if there is one. A
    constant in s cancels there, as in InfoNCA, which is its limit as M grows, up to a constant.

    Args:
      log_ratio: s = beta (log pi - log pi_ref) of the answers, (*batch, K), in nats; the batch are
        the prompts.
      rewards: r of the answers, (*batch, K), in any unit. An answer of reward -inf is never
        preferred, and is noise alone.
      temperature: alpha > 0 in the unit of the rewards, a number or one per prompt, traced.
      log_partition: F, a number or one per prompt.
      magnification: M > 0, a number or one per prompt, traced.
      weights: weights >= 0 of the answers, (*batch, K): a mask where prompts have different numbers
        of answers, or importance weights where they are not drawn from the reference. They multiply
        exp(r / alpha), and the mean over the noise is weighted by them. An answer of weight zero is
        ignored, even if it is NaN.

    Returns:
      The loss, (*batch), in nats; 2 log 2 at M = 1 and u = 0, float32 for inputs of lower
      precision. It is zero, and so is its gradient, where all weights are zero. Where F is NaN, as
      after a failed solve, it is NaN and passes no gradient. It is infinite where a log ratio is
      +inf, or -inf at p > 0, and NaN where a reward is +inf or all rewards are -inf.

    Raises:
      TypeError: log ratios, rewards or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s = jnp.array([[0.2, -0.1, 0.0, 0.3], [0.0, 0.4, -0.2, 0.1]])  # two prompts
      >>> rewards = jnp.array([[7.0, 3.0, 5.0, 8.0], [2.0, 9.0, 1.0, 6.0]])
      >>> loss = nce_jax.losses.nca_loss(s, rewards, temperature=2.0)
      >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
      1.3401 1.2816

      With a partition term for each prompt that is solved for:

      >>> p = jax.nn.softmax(rewards / 2.0)
      >>> f = nce_jax.solve_log_partition(s, s, weights_data=p).log_partition
      >>> loss = nce_jax.losses.nca_loss(s, rewards, temperature=2.0, log_partition=f)
      >>> print(f"{loss[0]:.4f} {loss[1]:.4f}")
      1.3339 1.2715

    References:
      Chen et al., Noise contrastive alignment of language models with explicit rewards, 2024,
        section 4 (NCA; M and F are our additions).
    """
    answers = _as_answers(log_ratio, rewards, temperature, weights)
    return nce_loss(
        answers.log_ratio,
        answers.log_ratio,
        log_partition=log_partition,
        magnification=magnification,
        weights_data=answers.targets,
        weights_noise=answers.weights,
    )


class _Answers(NamedTuple):
    """Checked answers; what has weight zero is replaced, not to be counted.

    Attributes:
      log_ratio: s, (*batch, K).
      targets: proportional to weight times exp(r / alpha), (*batch, K).
      weights: (*batch, K) or None.
    """

    log_ratio: jax.Array
    targets: jax.Array
    weights: jax.Array | None


def _as_answers(log_ratio: Any, rewards: Any, temperature: Any, weights: Any) -> _Answers:
    s, r = as_samples("log_ratio", log_ratio), as_samples("rewards", rewards)
    if r.shape != s.shape:
        raise ValueError(
            f"rewards: expected one for every log_ratio, shape {s.shape}, got shape {r.shape}"
        )
    dtype = compute_dtype(s, r)
    s, r = s.astype(dtype), r.astype(dtype)
    weights = as_weights("weights", weights, s)
    temperature = as_positive("temperature", temperature, s)
    targets = _targets(_never_unweighted(r, weights), temperature)
    targets = targets if weights is None else targets * weights
    return _Answers(ignore_unweighted(s, weights), targets, weights)


def _never_unweighted(rewards: jax.Array, weights: jax.Array | None) -> jax.Array:
    """Rewards of -inf for answers of weight zero, which then are not the best of no others."""
    if weights is None:
        return rewards
    filled = jnp.where(expand(has_no_weight(rewards, weights)), 0, -jnp.inf)
    return jnp.where(weights == 0, filled, rewards)


def _targets(rewards: jax.Array, temperature: jax.Array) -> jax.Array:
    """exp(r / alpha) over its largest value.

    A reward of -inf is replaced before the division, of which the derivative in alpha would be NaN.
    Where all rewards are -inf no answer is preferred to another one, and the result is NaN.
    """
    largest = jax.lax.stop_gradient(expand(highest(rewards)))
    is_never = jnp.isneginf(rewards) & ~jnp.isneginf(largest)
    excess = jnp.where(is_never, 0, rewards - largest) / expand(temperature)
    return jnp.where(is_never, 0, jnp.exp(excess))
