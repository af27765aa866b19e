"""Losses that rank a data sample among noise samples, in which the normalizer cancels."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_positive, as_real, as_samples, as_weights, compute_dtype
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import (
    expand,
    ignore_unweighted,
    log_sum_exp,
    loss_mean,
    mask_terms,
    softplus,
)
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights


@one_program(SampleSet("log_ratio_data", "weights_data"), rows=("log_ratio_noise", "weights_noise"))
def ranking_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "..."],
    *,
    magnification: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Ranking noise-contrastive loss, which identifies a data sample among K noise samples.

    .. math::

       L = \frac{1}{n} \sum_i -\log \frac{e^{s_i}}{e^{s_i} + M \sum_j e^{s_{ij}}},

    with s_i in `log_ratio_data`, s_ij in `log_ratio_noise` and M = `magnification`. A log ratio is
    a score minus the log probability under the noise, s = phi - log q. The caller subtracts log q:
    a model whose scores are passed without this correction learns phi - log q instead of phi. A
    constant added to all s of one data sample cancels. There is therefore no normalizer, and a
    conditional model is learned up to a function of the condition. M = 1 is the classic loss. As M
    -> infinity the data sample drops out of its own denominator ("decoupled" contrastive learning),
    and the gradient approaches that of maximum likelihood by importance sampling.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, n, K) with K for every data sample, or
        (*batch, K) shared by all data samples.
      magnification: M > 0, virtual copies of the noise; a number or one per batch entry, traced.
      weights_data: weights >= 0 of the data samples, broadcastable to them, for a weighted mean. A
        sample of weight zero is ignored, even if it is NaN.
      weights_noise: weights >= 0 of the noise samples, as a mask or as importance weights. The sum
        over j becomes the weighted mean times the number of nonzero weights. A sample of weight
        zero is ignored, even if it is NaN.

    Returns:
      The loss, (*batch), in nats. A data sample all of whose noise samples have weight zero
      contributes zero.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> # The data sample of each row comes first.
      >>> scores = jnp.array([[2.0, 0.5, 1.0], [1.0, -1.0, 0.0]])
      >>> noise_probabilities = jnp.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
      >>> s = scores - jnp.log(noise_probabilities)
      >>> print(f"{nce_jax.losses.ranking_nce_loss(s[:, 0], s[:, 1:]):.4f}")
      0.4575

    References:
      Ma and Collins, Noise contrastive estimation and negative sampling for conditional models:
        consistency and statistical efficiency, 2018.
      Yeh et al., Decoupled contrastive learning, 2022 (M -> infinity).
    """
    terms = ranking_nce_loss_terms(
        log_ratio_data,
        log_ratio_noise,
        magnification=magnification,
        weights_data=weights_data,
        weights_noise=weights_noise,
    )
    return loss_mean(terms, as_weights("weights_data", weights_data, terms))


@one_program(
    SampleSet("log_ratio_data", "weights_data"),
    rows=("log_ratio_noise", "weights_noise"),
    is_per_sample=True,
)
def ranking_nce_loss_terms(
    log_ratio_data: LogRatio,
    log_ratio_noise: Float[Array, "..."],
    *,
    magnification: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch n"]:
    r"""Per-sample terms of `ranking_nce_loss`, which is their (weighted) mean.

    .. math::

       -\log \frac{e^{s_i}}{e^{s_i} + M \sum_j e^{s_{ij}}}

    Args:
      log_ratio_data: s of the data samples, (*batch, n).
      log_ratio_noise: s of the noise samples, (*batch, n, K) or (*batch, K).
      magnification: M > 0, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples; the term of a sample of weight zero is zero.
      weights_noise: weights >= 0 of the noise samples, as in `ranking_nce_loss`.

    Returns:
      The terms, (*batch, n), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> terms = nce_jax.losses.ranking_nce_loss_terms(
      ...     jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5])
      ... )
      >>> with jnp.printoptions(precision=4):
      ...     print(terms)
      [0.2413 0.555 ]

    References:
      Ma and Collins, Noise contrastive estimation and negative sampling for conditional models:
        consistency and statistical efficiency, 2018.
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
        noise = _ignore_unweighted_rows(noise, weights_data)
    terms = ranking_terms(data, log_noise_sum(noise, weights_noise), magnification)
    return mask_terms(terms, weights_data)


@one_program(
    SampleSet("log_density_data", "weights_data"),
    rows=("log_density_noise", "log_forward", "log_backward", "weights_noise"),
)
def conditional_nce_loss(
    log_density_data: LogRatio,
    log_density_noise: Float[Array, "*batch n K"],
    *,
    log_forward: Any = 0.0,
    log_backward: Any = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Conditional noise-contrastive loss, whose noise is generated from the data samples.

    .. math::

       L = \frac{2}{n K} \sum_{ij} \operatorname{softplus}(-G_{ij}), \qquad
       G_{ij} = \phi(x_i) - \phi(y_{ij}) + \log q(y_{ij} \mid x_i) - \log q(x_i \mid y_{ij}),

    with phi in `log_density_data` and `log_density_noise`, and the last two terms in `log_forward`
    and `log_backward`. Each y_ij is drawn from a conditional noise distribution q(y | x_i). If q is
    symmetric, as a Gaussian around x_i is, these two terms cancel and can be omitted. The log
    partition cancels in G.

    Args:
      log_density_data: phi of the data samples, unnormalized, (*batch, n), in nats.
      log_density_noise: phi of the K noise samples drawn for each data sample, (*batch, n, K).
      log_forward: log q(y_ij | x_i), (*batch, n, K), or a number.
      log_backward: log q(x_i | y_ij), (*batch, n, K), or a number.
      weights_data: weights >= 0 of the data samples, broadcastable to them, for a weighted mean.
      weights_noise: weights >= 0 of the noise samples, for a weighted mean over the noise samples
        of each data sample. It is zero where all these weights are zero.

    Returns:
      The loss, (*batch), in nats; 2 log 2 for a constant model and symmetric noise.

    Raises:
      TypeError: densities or weights that are not floating.
      ValueError: empty arrays or mismatched shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x = jax.random.normal(key_data, (1000,))
      >>> y = x[:, None] + jax.random.normal(key_noise, (1000, 5))  # symmetric noise
      >>> loss = lambda scale: nce_jax.losses.conditional_nce_loss(
      ...     -0.5 * (x / scale) ** 2, -0.5 * (y / scale) ** 2
      ... )
      >>> print(f"{loss(0.8):.4f} {loss(1.0):.4f} {loss(1.3):.4f}")  # the true scale is 1
      1.2290 1.1965 1.2164

    References:
      Ceylan and Gutmann, Conditional noise-contrastive estimation of unnormalized models, 2018.
    """
    names = "log_density_data", "log_density_noise"
    data, noise = as_ranking(log_density_data, log_density_noise, names, shared=False)
    weights_data = as_weights("weights_data", weights_data, data)
    weights_noise = as_weights("weights_noise", weights_noise, noise)
    data = ignore_unweighted(data, weights_data)
    noise = _ignore_unweighted_rows(noise, weights_data)
    correction = _as_correction("log_forward", log_forward, noise)
    correction = correction - _as_correction("log_backward", log_backward, noise)
    log_odds = expand(data) - noise + correction
    log_odds = _ignore_unweighted_rows(log_odds, weights_data)
    if weights_noise is None:
        return 2 * loss_mean(jnp.mean(softplus(-log_odds), axis=-1), weights_data)
    total = jnp.sum(weights_noise, axis=-1)
    log_odds = jnp.where(weights_noise == 0, 0, log_odds)
    terms = jnp.sum(weights_noise * softplus(-log_odds), axis=-1)
    return 2 * loss_mean(terms / jnp.where(total == 0, 1, total), weights_data)


def _as_correction(name: str, values: Any, noise: jax.Array) -> jax.Array:
    """Returns one number per noise sample; a plain number is broadcast, and +inf is none."""
    values = jnp.asarray(as_real(name, values), noise.dtype)
    values = jnp.where(jnp.isposinf(values), jnp.nan, values)
    if values.ndim and values.shape != noise.shape:
        raise ValueError(
            f"{name}: expected a number or shape {noise.shape}, got shape {values.shape}"
        )
    return jnp.broadcast_to(values, noise.shape)


def _ignore_unweighted_rows(noise: jax.Array, weights_data: jax.Array | None) -> jax.Array:
    """Replaces the values that belong to data samples of weight zero, which may be NaN, by zero."""
    return noise if weights_data is None else jnp.where(expand(weights_data) == 0, 0, noise)


def as_ranking(
    log_ratio_data: Any,
    log_ratio_noise: Any,
    names: tuple[str, str] = ("log_ratio_data", "log_ratio_noise"),
    shared: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Checks one number per data sample and K noise values, and returns both in the compute dtype.

    The noise values are K per data sample or, where `shared` allows it, K for all of them.
    """
    data, noise = as_samples(names[0], log_ratio_data), as_samples(names[1], log_ratio_noise)
    allowed = [data.shape, data.shape[:-1]] if shared else [data.shape]
    if noise.shape[:-1] not in allowed:
        expected = " or ".join(str((*shape, "K")).replace("'", "") for shape in allowed)
        raise ValueError(
            f"{names[1]}: expected shape {expected} for {names[0]} of shape {data.shape}, got shape"
            f" {noise.shape}"
        )
    dtype = compute_dtype(data, noise)
    return data.astype(dtype), noise.astype(dtype)


def ranking_terms(data: jax.Array, log_noise_sum: jax.Array, magnification: Any) -> jax.Array:
    """Minus log(e^data / (e^data + M e^log_noise_sum)): the terms of every ranking loss."""
    log_magnification = jnp.log(as_positive("magnification", magnification, data))
    return softplus(expand(log_magnification) + log_noise_sum - data)


def log_noise_sum(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """log sum exp over the last axis, with nonzero weights scaled to a mean of one."""
    if weights is None:
        return log_sum_exp(values)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    scale = jnp.sum(weights != 0, axis=-1, keepdims=True, dtype=total.dtype) / jnp.where(
        total == 0, 1, total
    )
    return log_sum_exp(values, weights * scale)
