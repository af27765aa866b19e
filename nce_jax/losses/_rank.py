"""Losses that rank a data sample among noise samples: the normalizer cancels, or never enters."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_scalar, as_weights, check_positive, compute_dtype
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.numerics import expand, ignore_unweighted, log_sum_exp, softplus, weighted_mean


def ranking_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "..."],
    *,
    magnification: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """Ranking noise-contrastive loss: which one of a data sample and K noise samples is the data?

    L = mean_i -log(e^{s_i} / (e^{s_i} + M sum_j e^{s_ij})), with s_i given by `log_ratio_data`,
    s_ij by `log_ratio_noise` and M = `magnification`. A log ratio is a score less the log
    probability under the noise, s = phi - log q: the correction for q is the caller's, and without
    it the loss learns phi - log q in the place of phi. A constant added to all s of one data sample
    changes nothing, so that there is no normalizer to find, and none is learned: a conditional
    model is found up to a function of the condition. M = 1 is the classic loss; as M -> infinity
    the data sample leaves its own denominator ("decoupled" contrastive learning) and the gradient
    becomes that of maximum likelihood by importance sampling.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples: (*batch, n, K), K for every data sample, or (*batch,
        K), shared by all of them.
      magnification: M > 0, virtual copies of the noise; a number or one per batch entry, traced.
      weights_data: weights >= 0 of the data samples, broadcastable to them.
      weights_noise: the same for the noise samples, as a mask or importance weights: the sum over j
        becomes the number of those that are not zero times their weighted mean. Samples of weight
        zero are ignored, whatever they hold.

    Returns:
      The loss, (*batch), in nats; zero where a data sample has no noise sample left.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> # the data sample of each row comes first
      >>> scores = jnp.array([[2.0, 0.5, 1.0], [1.0, -1.0, 0.0]])
      >>> s = scores - jnp.log(
      ...     jnp.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
      ... )  # less the log probability under the noise
      >>> print(f"{nce_jax.losses.ranking_nce_loss(s[:, 0], s[:, 1:]):.4f}")
      0.4575

    References:
      Ma and Collins, Noise contrastive estimation and negative sampling for conditional models:
        consistency and statistical
      efficiency, 2018.
      Yeh et al., Decoupled contrastive learning, 2022 (M -> infinity).
    """
    terms = ranking_nce_loss_terms(
        log_ratio_data,
        log_ratio_noise,
        magnification=magnification,
        weights_data=weights_data,
        weights_noise=weights_noise,
    )
    return weighted_mean(terms, as_weights("weights_data", weights_data, terms))


def ranking_nce_loss_terms(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "..."],
    *,
    magnification: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch n"]:
    """Per-sample terms of `ranking_nce_loss`, which is their (weighted) mean.

    -log(e^{s_i} / (e^{s_i} + M sum_j e^{s_ij})) for every data sample.

    Args:
      log_ratio_data: s of the data samples, (*batch, n).
      log_ratio_noise: s of the noise samples, (*batch, n, K) or (*batch, K).
      magnification: M > 0, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples: where zero, so is the term.
      weights_noise: the same for the noise samples.

    Returns:
      The terms, (*batch, n), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> with jnp.printoptions(precision=4):
      ...     print(
      ...         nce_jax.losses.ranking_nce_loss_terms(
      ...             jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5])
      ...         )
      ...     )
      [0.2413 0.555 ]

    References:
      Ma and Collins, Noise contrastive estimation and negative sampling for conditional models:
        consistency and statistical
      efficiency, 2018.
    """
    data, noise = as_ranking(log_ratio_data, log_ratio_noise)
    weights_data, weights_noise = (
        as_weights(name, weights, samples)
        for name, weights, samples in (
            ("weights_data", weights_data, data),
            ("weights_noise", weights_noise, noise),
        )
    )
    data = ignore_unweighted(data, weights_data)
    if noise.ndim == data.ndim:
        noise = noise[..., None, :]
        weights_noise = None if weights_noise is None else weights_noise[..., None, :]
    else:
        noise = _without_rows(noise, weights_data)
    terms = ranking_terms(data, log_noise_sum(noise, weights_noise), magnification)
    return terms if weights_data is None else jnp.where(weights_data == 0, 0, terms)


def conditional_nce_loss(
    log_density_data: LogRatio,
    log_density_noise: Float[Array, "*batch n K"],
    *,
    log_forward: Any = 0.0,
    log_backward: Any = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """Conditional noise-contrastive loss: noise made from the data, and no normalizer.

    L = 2 mean_ij softplus(-G_ij), G_ij = phi(x_i) - phi(y_ij) + log q(y_ij | x_i) - log q(x_i |
    y_ij), with phi given by `log_density_data` and `log_density_noise` and the last two by
    `log_forward` and `log_backward`. Each y_ij is drawn from a conditional noise q(. | x_i); where
    it is symmetric, as a Gaussian around x_i is, both terms cancel and may be left out. The log
    partition cancels in G.

    Args:
      log_density_data: phi of the data samples, unnormalized, (*batch, n), in nats.
      log_density_noise: phi of the K noise samples made from each, (*batch, n, K).
      log_forward: log q(y_ij | x_i), (*batch, n, K), or a number.
      log_backward: log q(x_i | y_ij), likewise.
      weights_data: weights >= 0 of the data samples, broadcastable to them.
      weights_noise: the same for the noise samples; per data sample their mean becomes a weighted
        mean, and zero where all are zero.

    Returns:
      The loss, (*batch), in nats; 2 log 2 where the model is constant and the noise symmetric.

    Raises:
      TypeError: densities or weights that are not floating.
      ValueError: empty arrays or mismatched shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x = jax.random.normal(key_data, (1000,))
      >>> y = x[:, None] + jax.random.normal(key_noise, (1000, 5))  # symmetric around each x
      >>> loss = lambda scale: nce_jax.losses.conditional_nce_loss(
      ...     -0.5 * (x / scale) ** 2, -0.5 * (y / scale) ** 2
      ... )
      >>> print(f"{loss(0.8):.4f} {loss(1.0):.4f} {loss(1.3):.4f}")  # the data have a scale of one
      1.2290 1.1965 1.2164

    References:
      Ceylan and Gutmann, Conditional noise-contrastive estimation of unnormalized models, 2018.
    """
    names = "log_density_data", "log_density_noise"
    data, noise = as_ranking(log_density_data, log_density_noise, names, shared=False)
    weights_data = as_weights("weights_data", weights_data, data)
    weights_noise = as_weights("weights_noise", weights_noise, noise)
    data, noise = ignore_unweighted(data, weights_data), _without_rows(noise, weights_data)
    correction = jnp.asarray(log_forward, noise.dtype) - jnp.asarray(log_backward, noise.dtype)
    if correction.ndim and correction.shape != noise.shape:
        raise ValueError(
            f"log_forward, log_backward: expected numbers or shape {noise.shape}, got"
            f" {correction.shape}"
        )
    gain = _without_rows(
        expand(data) - noise + jnp.broadcast_to(correction, noise.shape), weights_data
    )
    if weights_noise is None:
        return 2 * weighted_mean(jnp.mean(softplus(-gain), axis=-1), weights_data)
    total = jnp.sum(weights_noise, axis=-1)
    terms = jnp.sum(weights_noise * softplus(-jnp.where(weights_noise == 0, 0, gain)), axis=-1)
    return 2 * weighted_mean(terms / jnp.where(total == 0, 1, total), weights_data)


def _without_rows(noise: jax.Array, weights_data: jax.Array | None) -> jax.Array:
    """Noise of data samples of weight zero replaced, whatever it holds."""
    return noise if weights_data is None else jnp.where(expand(weights_data) == 0, 0, noise)


def as_ranking(
    log_ratio_data: Any,
    log_ratio_noise: Any,
    names: tuple[str, str] = ("log_ratio_data", "log_ratio_noise"),
    shared: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Checks one number per data sample and K per data sample, or K `shared` by all; returns both
    in the compute dtype.
    """
    data, noise = as_samples(names[0], log_ratio_data), as_samples(names[1], log_ratio_noise)
    own = noise.shape[:-1] == data.shape
    if not (own or (shared and noise.shape[:-1] == data.shape[:-1])):
        several = f" or {(*data.shape[:-1], 'K')}" if shared else ""
        raise ValueError(
            f"{names[1]}: expected shape {(*data.shape, 'K')}{several}, got shape {noise.shape}"
        )
    dtype = compute_dtype(data, noise)
    return data.astype(dtype), noise.astype(dtype)


def ranking_terms(data: jax.Array, log_noise_sum: jax.Array, magnification: Any) -> jax.Array:
    """-log(e^data / (e^data + M sum over the noise)), from the logarithm of that sum."""
    check_positive("magnification", magnification)
    log_magnification = jnp.log(as_scalar("magnification", magnification, data))
    return softplus(expand(log_magnification) + log_noise_sum - data)


def log_noise_sum(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """log sum exp over the last axis; weights are scaled to a mean of one over those that are not
    zero.
    """
    if weights is None:
        return log_sum_exp(values)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    scale = jnp.sum(weights != 0, axis=-1, keepdims=True) / jnp.where(total == 0, 1, total)
    return log_sum_exp(values, weights * scale)
