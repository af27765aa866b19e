"""Neural ratio estimation (NRE) for simulation-based inference.

The log ratios are functions of a parameter theta and an observation x. `log_ratio_data` holds them
for joint pairs, theta_i and an x_i simulated from it, and `log_ratio_noise` for independent pairs,
theta from the prior and an x simulated from another parameter. All losses work on logits: no
probability is formed, so that gradients do not vanish where logits are large.
"""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_floating, as_not_negative, as_pair, as_positive, as_weights
from nce_jax._eager import PAIR, SampleSet, one_program
from nce_jax._numerics import expand, ignore_unweighted, log_sum_exp, softplus, weighted_mean
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.losses._binary import nce_loss
from nce_jax.losses._rank import as_ranking, ranking_nce_loss


def nre_a_loss(log_ratio_data: LogRatio, log_ratio_noise: LogRatio) -> Float[Array, "*batch"]:
    r"""NRE-A loss, which classifies joint against independent pairs (`nce_loss` at M = 1).

    .. math::

       L = E_{\text{data}}[\operatorname{softplus}(-s)]
           + E_{\text{noise}}[\operatorname{softplus}(s)],

    which is minimal at the exact log ratio s = log p(theta, x) - log p(theta) p(x). Some packages
    return half of it.

    Args:
      log_ratio_data: s of the joint pairs, (*batch, n).
      log_ratio_noise: s of the independent pairs, (*batch, m).

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
    r"""NRE-B loss, which identifies the parameter that x was simulated from among K + 1.

    .. math::

       L = \frac{1}{n} \sum_i -\log \frac{e^{s_i}}{e^{s_i} + \sum_j e^{s_{ij}}}

    It is `ranking_nce_loss` at M = 1. At its minimum s is the log ratio up to a function of x: the
    posterior up to its normalizer, but no likelihood ratio.

    Args:
      log_ratio_data: s(theta_i, x_i) of the joint pairs, (*batch, n).
      log_ratio_noise: s(theta_ij, x_i) of K independent parameters with the same x_i, (*batch, n,
        K).

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
    return _nre_b_loss(log_ratio_data, log_ratio_noise)


@one_program(SampleSet("log_ratio_data", "weights_data"), rows=("log_ratio_noise",))
def _nre_b_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "*batch n K"],
    *,
    weights_data: Weights | None = None,
) -> Float[Array, "*batch"]:
    data, noise = as_ranking(log_ratio_data, log_ratio_noise, shared=False)
    return ranking_nce_loss(data, noise, weights_data=weights_data)


def nre_c_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "*batch n K"],
    *,
    log_ratio_contrast: Float[Array, "*batch n _"] | None = None,
    gamma: Scalars = 1.0,
) -> Float[Array, "*batch"]:
    r"""NRE-C loss, which identifies the parameter of x among K or decides that it is none of them.

    .. math::

       L = -\frac{\gamma}{1 + \gamma} E[\log q_1] - \frac{1}{1 + \gamma} E[\log q_0], \quad
       q_1 = \frac{\gamma e^{s_1}}{K + \gamma \sum_k e^{s_k}}, \quad
       q_0 = \frac{K}{K + \gamma \sum_k e^{s_k}}

    q_1 is the probability that x was simulated from the first parameter, averaged over sets in
    which it was. q_0 is the probability that x was simulated from none of the K parameters,
    averaged over sets in which it was not. The minimum is the exact log ratio s = log p(theta, x) -
    log p(theta) p(x), without a free constant. K = 1 and gamma = 1 give half of NRE-A.

    Args:
      log_ratio_data: s(theta_i, x_i) of the joint pairs, (*batch, n), the first of K parameters.
      log_ratio_noise: s of K independent parameters with one x, (*batch, n, K).
      log_ratio_contrast: s of K - 1 independent parameters with the x_i of the joint pair, (*batch,
        n, K - 1); None for K = 1.
      gamma: prior odds that x was simulated from one of the K parameters, a traced number.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays, mismatched shapes, or a plain gamma that is not positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> loss = nce_jax.losses.nre_c_loss(
      ...     jnp.array([2.0, 1.0]),
      ...     jnp.array([[-1.0, 0.5], [0.0, 0.0]]),
      ...     log_ratio_contrast=jnp.array([[-1.0], [0.0]]),
      ... )
      >>> print(f"{loss:.4f}")
      0.6030

    References:
      Miller, Weniger and Forré, Contrastive neural ratio estimation, 2022.
    """
    return _nre_c_loss(
        log_ratio_data, log_ratio_noise, log_ratio_contrast=log_ratio_contrast, gamma=gamma
    )


@one_program(
    SampleSet("log_ratio_data", "weights_data"), rows=("log_ratio_noise", "log_ratio_contrast")
)
def _nre_c_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "*batch n K"],
    *,
    log_ratio_contrast: Any,
    gamma: Scalars,
    weights_data: Weights | None = None,
) -> Float[Array, "*batch"]:
    data, noise = as_ranking(log_ratio_data, log_ratio_noise, shared=False)
    weights = as_weights("weights_data", weights_data, data)
    log_gamma = jnp.log(as_positive("gamma", gamma, data))
    # The prior log odds of each of the K parameters against none of them.
    log_odds = expand(log_gamma) - jnp.log(jnp.asarray(noise.shape[-1], data.dtype))
    # -log q_1 = softplus(rest - s_1), where e^rest sums over the alternatives to the first
    # parameter: the other K - 1 and none of them. No logit is too large for this form.
    contrast = _as_contrast(log_ratio_contrast, data, noise)
    rest = jnp.logaddexp(log_sum_exp(contrast), -log_odds)
    loss_joint = weighted_mean(softplus(rest - data), weights)
    loss_independent = weighted_mean(softplus(log_odds + log_sum_exp(noise)), weights)
    # One minus the first would be rounded away at a large gamma, where both losses are small.
    probability_joint, probability_none = (jax.nn.sigmoid(sign * log_gamma) for sign in (1, -1))
    return probability_joint * loss_joint + probability_none * loss_independent


def _as_contrast(log_ratio_contrast: Any, data: jax.Array, noise: jax.Array) -> jax.Array:
    """Checks the shape against K, the number of noise values; None is K - 1 = 0 columns."""
    if log_ratio_contrast is None:
        contrast = jnp.zeros((*data.shape, 0), data.dtype)
    else:
        contrast = as_floating("log_ratio_contrast", log_ratio_contrast)
    expected = (*data.shape, noise.shape[-1] - 1)
    if contrast.shape != expected:
        raise ValueError(
            f"log_ratio_contrast: expected shape {expected}, one column less than log_ratio_noise,"
            f" got shape {contrast.shape}"
        )
    return contrast.astype(data.dtype)


def balanced_nre_loss(
    log_ratio_data: LogRatio, log_ratio_noise: LogRatio, *, strength: Scalars = 100.0
) -> Float[Array, "*batch"]:
    r"""Balanced NRE loss, NRE-A plus a penalty that keeps the classifier from overconfidence.

    .. math::

       L = L_{\text{NRE-A}}
           + \lambda \left( E_{\text{data}}[\sigma(s)] + E_{\text{noise}}[\sigma(s)] - 1 \right)^2

    with lambda = `strength`. The exact log ratio is balanced, so that the penalty does not move the
    optimum. Away from the optimum it makes posteriors wider.

    Args:
      log_ratio_data: s of the joint pairs, (*batch, n).
      log_ratio_noise: s of the independent pairs, (*batch, m).
      strength: lambda >= 0, a traced number.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays, mismatched batches, or a negative strength.

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
    return _balanced_nre_loss(log_ratio_data, log_ratio_noise, strength=strength)


@one_program(*PAIR)
def _balanced_nre_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    strength: Scalars,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    data, noise, weights_data, weights_noise = as_pair(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    loss = nce_loss(data, noise, weights_data=weights_data, weights_noise=weights_noise)
    sides = (data, weights_data), (noise, weights_noise)
    mean_sigmoid = (
        weighted_mean(jax.nn.sigmoid(ignore_unweighted(values, weights)), weights)
        for values, weights in sides
    )
    imbalance = sum(mean_sigmoid) - 1
    return loss + as_not_negative("strength", strength, expand(loss)) * jnp.square(imbalance)
