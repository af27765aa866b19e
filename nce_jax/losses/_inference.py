"""Neural ratio estimation (NRE) for simulation-based inference: log ratios of parameters and
observations.

`log_ratio_data` are those of pairs drawn together, theta_i and the x_i simulated from it;
`log_ratio_noise` those of pairs drawn apart, theta from the prior and an x simulated from another.
All of it on logits: no probability is formed, so that no gradient is lost at large ones.
"""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_scalar, check_positive
from nce_jax._types import Array, Float, LogRatio, Scalars
from nce_jax.losses._binary import nce_loss
from nce_jax.losses._rank import as_ranking, ranking_nce_loss
from nce_jax.numerics import expand, log_sum_exp, softplus


def nre_a_loss(log_ratio_data: LogRatio, log_ratio_noise: LogRatio) -> Float[Array, "*batch"]:
    """NRE-A: binary classification of pairs drawn together and apart; `nce_loss` at M = 1.

    L = E_data[softplus(-s)] + E_noise[softplus(s)], at its smallest where s = log p(theta, x) - log
    p(theta) p(x). Some packages take half of it.

    Args:
      log_ratio_data: s of the pairs drawn together, (*batch, n).
      log_ratio_noise: s of the pairs drawn apart, (*batch, m).

    Returns:
      The loss, (*batch), in nats; 2 log 2 at s = 0.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> print(f"{nce_jax.losses.nre_a_loss(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5])):.4f}")
      0.8638

    References:
      Hermans, Begy and Louppe, Likelihood-free MCMC with amortized approximate ratio estimators,
        2020, algorithm 1.
    """
    return nce_loss(log_ratio_data, log_ratio_noise)


def nre_b_loss(
    log_ratio_data: LogRatio, log_ratio_noise: Float[Array, "*batch n K"]
) -> Float[Array, "*batch"]:
    """NRE-B: which of K + 1 parameters is it that x was simulated from? `ranking_nce_loss` at M =
    1.

    L = mean_i -log(e^{s_i} / (e^{s_i} + sum_j e^{s_ij})). At its smallest s is the log ratio up to
    any function of x: no normalized likelihood ratio, but a posterior up to its normalizer.

    Args:
      log_ratio_data: s(theta_i, x_i) of the pairs drawn together, (*batch, n).
      log_ratio_noise: s(theta_ij, x_i) of K parameters drawn apart, beside the same x_i, (*batch,
        n, K).

    Returns:
      The loss, (*batch), in nats; log(K + 1) at s = 0.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays or mismatched shapes.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> loss = nce_jax.losses.nre_b_loss(
      ...     jnp.array([2.0, 1.0]), jnp.array([[-1.0, 0.5], [0.0, 0.0]])
      ... )
      >>> print(f"{loss:.4f}")
      0.3964

    References:
      Durkan, Murray and Papamakarios, On contrastive learning for likelihood-free inference, 2020.
    """
    data, noise = as_ranking(log_ratio_data, log_ratio_noise, shared=False)
    return ranking_nce_loss(data, noise)


def nre_c_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "*batch n K"],
    *,
    log_ratio_contrast: Float[Array, "*batch n _"] | None = None,
    gamma: Scalars = 1.0,
) -> Float[Array, "*batch"]:
    """NRE-C: which of K parameters, or none of them, was x simulated from? The exact log ratio,
    from several at once.

    L = -gamma / (1 + gamma) E[log q_1] - 1 / (1 + gamma) E[log q_0], with q_1 the probability that
    the first of K is the one, gamma e^{s_1} / (K + gamma sum_k e^{s_k}), where it is; and q_0 that
    none is, K / (K + gamma sum_k e^{s_k}), where none is. At its smallest s = log p(theta, x) - log
    p(theta) p(x), with no constant left open. K = 1 and gamma = 1 is half of NRE-A.

    Args:
      log_ratio_data: s(theta_i, x_i) of the pairs drawn together, (*batch, n): the first of K.
      log_ratio_noise: s of K parameters, all drawn apart, beside an x, (*batch, n, K).
      log_ratio_contrast: s of K - 1 other parameters beside the same x_i as the first, (*batch, n,
        K - 1); None for K = 1.
      gamma: prior odds that one of them is the one, a traced number.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays, mismatched shapes, or a plain gamma that is not positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s, apart, contrast = (
      ...     jnp.array([2.0, 1.0]),
      ...     jnp.array([[-1.0, 0.5], [0.0, 0.0]]),
      ...     jnp.array([[-1.0], [0.0]]),
      ... )
      >>> print(f"{nce_jax.losses.nre_c_loss(s, apart, log_ratio_contrast=contrast):.4f}")
      0.6030

    References:
      Miller, Weniger and Forré, Contrastive neural ratio estimation, 2022.
    """
    check_positive("gamma", gamma)
    data, noise = as_ranking(log_ratio_data, log_ratio_noise, shared=False)
    log_gamma = jnp.log(as_scalar("gamma", gamma, data))
    # Of every class against none.
    log_odds = expand(log_gamma) - jnp.log(jnp.asarray(noise.shape[-1], data.dtype))
    # -log q_1 = log(1 + e^{others}), with all but the first of K, and none, as others: good at any
    # size of the logits.
    others = jnp.logaddexp(log_sum_exp(_contrast(log_ratio_contrast, data, noise)), -log_odds)
    is_first = jnp.mean(softplus(others - data), axis=-1)
    is_none = jnp.mean(softplus(log_odds + log_sum_exp(noise)), axis=-1)
    share = jax.nn.sigmoid(log_gamma)
    return share * is_first + (1 - share) * is_none


def _contrast(log_ratio_contrast: Any, data: jax.Array, noise: jax.Array) -> jax.Array:
    """Checked against the K of the noise; of no columns where there is none."""
    expected = (*data.shape, noise.shape[-1] - 1)
    found = (
        jnp.zeros((*data.shape, 0), data.dtype)
        if log_ratio_contrast is None
        else jnp.asarray(log_ratio_contrast)
    )
    if found.shape != expected:
        raise ValueError(
            f"log_ratio_contrast: expected shape {expected} beside log_ratio_noise, got shape"
            f" {found.shape}"
        )
    return found.astype(data.dtype)


def balanced_nre_loss(
    log_ratio_data: LogRatio, log_ratio_noise: LogRatio, *, strength: Scalars = 100.0
) -> Float[Array, "*batch"]:
    """Balanced NRE: NRE-A with a classifier that is held to be right on average, and so no more
    certain than it may be.

    L = `nre_a_loss` + strength (E_data[sigma(s)] + E_noise[sigma(s)] - 1)^2. The exact log ratio is
    balanced, so that the optimum stays where it is; short of it, posteriors come out wider.

    Args:
      log_ratio_data: s of the pairs drawn together, (*batch, n).
      log_ratio_noise: s of the pairs drawn apart, (*batch, m).
      strength: lambda >= 0, a traced number.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> loss = nce_jax.losses.balanced_nre_loss(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> print(f"{loss:.4f}")
      7.1954

    References:
      Delaunoy et al., Towards reliable simulation-based inference with balanced neural ratio
        estimation, 2022.
    """
    loss = nre_a_loss(log_ratio_data, log_ratio_noise)
    sides = (jnp.asarray(side).astype(loss.dtype) for side in (log_ratio_data, log_ratio_noise))
    excess = sum(jnp.mean(jax.nn.sigmoid(side), axis=-1) for side in sides) - 1
    return loss + jnp.asarray(strength, loss.dtype) * jnp.square(excess)
