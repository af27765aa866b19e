"""The exponential loss (eNCE), whose optimal normalizer has a closed form."""

import jax
import jax.numpy as jnp

from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import log_mean_exp
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.losses._sides import Sides, as_sides


@one_program(*PAIR)
def exponential_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Exponential noise-contrastive loss (eNCE), an exponential in place of NCE's logistic loss.

    .. math::

       L = \tfrac12 E_{\text{data}}[e^{-u / 2}] + \tfrac12 E_{\text{noise}}[e^{u / 2}],
       \qquad u = s - F,

    with the log ratios s in `log_ratio_data` and `log_ratio_noise` and F = `log_partition`. It
    overflows where |u| is large. `log_profiled_exponential_nce_loss` is the logarithm of its
    minimum over F, and finite everywhere.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      log_partition: F, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      The loss, (*batch).

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.losses.exponential_nce_loss(s_data, s_noise):.4f}")
      0.6200

    References:
      Liu et al., Analyzing and Improving the Optimization Landscape of Noise-Contrastive
        Estimation, 2021, eNCE.
    """
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition)
    mean_data = sides.mean_data(jnp.exp((sides.shift - sides.data) / 2))
    mean_noise = sides.mean_noise(jnp.exp((sides.noise - sides.shift) / 2))
    return sides.finish((mean_data + mean_noise) / 2)


@one_program(*PAIR, effect=Effect("", error=None))
def exponential_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""The log partition that minimizes `exponential_nce_loss`, in closed form.

    .. math::

       F_* = \log \frac{E_{\text{noise}}[e^{s / 2}]}{E_{\text{data}}[e^{-s / 2}]}

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      F*, (*batch): the minimizer of `exponential_nce_loss` in `log_partition`.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.losses.exponential_log_partition(s_data, s_noise):.4f}")
      0.4351

    References:
      Liu et al., Analyzing and Improving the Optimization Landscape of Noise-Contrastive
        Estimation, 2021, eNCE.
    """
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise)
    log_mean_data, log_mean_noise = _log_means(sides)
    return log_mean_noise - log_mean_data


@one_program(*PAIR, effect=Effect())
def log_profiled_exponential_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Logarithm of the minimum over the log partition of `exponential_nce_loss`.

    .. math::

       \log \min_F L = \tfrac12 \log E_{\text{data}}[e^{-s / 2}]
           + \tfrac12 \log E_{\text{noise}}[e^{s / 2}]

    The logarithm has the same minimizer and the same direction of descent as the profiled loss. It
    is finite at any finite s and does not change when a constant is added to s.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      The log of the profiled loss, (*batch).

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.losses.log_profiled_exponential_nce_loss(s_data, s_noise):.4f}")
      -0.5015

    References:
      Liu et al., Analyzing and Improving the Optimization Landscape of Noise-Contrastive
        Estimation, 2021, eNCE.
    """
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise)
    log_mean_data, log_mean_noise = _log_means(sides)
    return sides.finish((log_mean_data + log_mean_noise) / 2)


def _log_means(sides: Sides) -> tuple[jax.Array, jax.Array]:
    return (
        log_mean_exp(-sides.data / 2, sides.weights_data),
        log_mean_exp(sides.noise / 2, sides.weights_noise),
    )
