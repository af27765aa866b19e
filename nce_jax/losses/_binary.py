"""Binary NCE with a noise ratio (Gutmann and Hyvärinen) and a magnification ("Noisier" NCE)."""

import jax
import jax.numpy as jnp

from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import expand, log_noise_weight, scaled_softplus, softplus, stop_where
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.losses._sides import Sides, as_sides


@one_program(*PAIR)
def nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Binary noise-contrastive loss, the logistic loss of classifying data against noise.

    .. math::

       L = E_{\text{data}}[\operatorname{softplus}(\log\kappa - u)]
           + \kappa\, E_{\text{noise}}[\operatorname{softplus}(u - \log\kappa)],
       \qquad u = s - F,

    with the log ratios s in `log_ratio_data` and `log_ratio_noise`, F = `log_partition` and kappa =
    `noise_ratio` * `magnification`. kappa = 1 is classic NCE (twice the loss of Sevekari et al.).
    `noise_ratio` is the nu of Gutmann and Hyvärinen, and `magnification` the M of "Noisier" NCE. As
    kappa -> infinity the gradient approaches that of maximum likelihood.

    Args:
      log_ratio_data: s(x) = log_density(x) - log q(x) of the data samples, (*batch, n), in nats.
      log_ratio_noise: s(y) of the noise samples, (*batch, m); m need not equal n.
      log_partition: F, a number or one per batch entry.
      magnification: M > 0, a number or one per batch entry. It is traced, so that one compilation
        serves every M.
      noise_ratio: nu > 0, a number or one per batch entry, traced.
      weights_data: weights >= 0 of the data samples, broadcastable to them, for a weighted mean. A
        sample of weight zero is ignored, even if it is NaN.
      weights_noise: weights >= 0 of the noise samples, with the same meaning.

    Returns:
      The loss, (*batch), in nats; float32 for inputs of lower precision. It is zero, and so is its
      gradient, where all weights of a side are zero. Where F is NaN, as after a failed solve, it is
      NaN and passes no gradient. A noise sample with s = -inf, where the model has no mass, adds
      zero, and so does a data sample with s = +inf; with the other signs the loss is infinite.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.nce_loss(s_data, s_noise):.4f}")
      0.6915
      >>> print(f"{nce_jax.nce_loss(s_data, s_noise, log_partition=0.3, magnification=100.0):.4f}")
      3.9706

    References:
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        eq. 8.
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eq. 1.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (the
        objective L_M).
    """
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition)
    terms_data, terms_noise = _terms(sides, magnification, noise_ratio)
    return sides.finish(sides.mean_data(terms_data) + sides.mean_noise(terms_noise))


def nce_loss_terms(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch m"]]:
    """Per-sample terms of `nce_loss`, which is the sum of their two (weighted) means.

    The term of a data sample is softplus(log kappa - u), and that of a noise sample is kappa
    softplus(u - log kappa).

    Args:
      log_ratio_data: s of the data samples, (*batch, n).
      log_ratio_noise: s of the noise samples, (*batch, m).
      log_partition: F, a number or one per batch entry.
      magnification: M > 0, a number or one per batch entry.
      noise_ratio: nu > 0, a number or one per batch entry.

    Returns:
      The terms of the data samples, (*batch, n), and of the noise samples, (*batch, m), in nats.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> terms_data, terms_noise = nce_jax.losses.nce_loss_terms(
      ...     jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5])
      ... )
      >>> with jnp.printoptions(precision=4):
      ...     print(terms_data, terms_noise)
      [0.1269 0.3133] [0.3133 0.9741]

    References:
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        eq. 8.
    """
    return _nce_loss_terms(
        log_ratio_data,
        log_ratio_noise,
        log_partition=log_partition,
        magnification=magnification,
        noise_ratio=noise_ratio,
    )


@one_program(*PAIR, is_per_sample=True)
def _nce_loss_terms(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars,
    magnification: Scalars,
    noise_ratio: Scalars,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> tuple[jax.Array, jax.Array]:
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition)
    return _terms(sides, magnification, noise_ratio)


def _terms(sides: Sides, magnification, noise_ratio) -> tuple[jax.Array, jax.Array]:
    log_kappa = log_noise_weight(magnification, noise_ratio, sides.data)
    is_without_loss = sides.is_empty | jnp.isnan(sides.shift[..., 0])
    offset = expand(stop_where(is_without_loss, log_kappa))
    terms_data = softplus(offset - (sides.data - sides.shift))
    terms_noise = scaled_softplus(sides.noise - sides.shift, offset)
    return terms_data, terms_noise
