"""Variational bounds on divergences as losses: NWJ and Donsker-Varadhan (KL), least squares
(Pearson's chi-squared).
"""

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair, as_scalar
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.numerics import expand, ignore_unweighted, log_mean_exp, weighted_mean


def nwj_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The loss of Nguyen, Wainwright and Jordan (NWJ): minus a lower bound on KL(data || noise).

    L = -E_data[u] + E_noise[exp(u)] - 1, u = s - F, with s given by `log_ratio_data` and
    `log_ratio_noise` and F = `log_partition`. It is the limit of `nce_loss` - log kappa - 1 as
    kappa -> infinity, and its gradient that of maximum likelihood by importance sampling. Minimized
    over F it is `donsker_varadhan_loss`, which does not overflow.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      log_partition: F, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> print(
      ...     f"{nce_jax.losses.nwj_loss(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])):.4f}"
      ... )
      -1.7827

    References:
      Nguyen, Wainwright and Jordan, Estimating divergence functionals and the likelihood ratio by
        convex risk minimization,
      2010, eq. 11.
    """
    data, noise, weights_data, weights_noise = _samples(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    shift = expand(as_scalar("log_partition", log_partition, data))
    return (
        weighted_mean(jnp.exp(noise - shift), weights_noise)
        - weighted_mean(data - shift, weights_data)
        - 1
    )


def donsker_varadhan_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The loss of Donsker and Varadhan (DV): minus a lower bound on KL(data || noise), with no
    normalizer.

    L = -(E_data[s] - log E_noise[exp(s)]), with s given by `log_ratio_data` and `log_ratio_noise`.
    A constant added to s changes nothing. It is `nwj_loss` minimized over F, at F = log
    E_noise[exp(s)], and up to log kappa + 1 the limit of `profiled_nce_loss` as kappa -> infinity.
    From few samples it is biased: the noise average misses the tail that carries it.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      The loss, (*batch), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> loss = nce_jax.losses.donsker_varadhan_loss(
      ...     jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      ... )
      >>> print(f"{loss:.4f}")
      -1.8322

    References:
      Donsker and Varadhan, Asymptotic evaluation of certain Markov process expectations for large
        time, IV, 1983.
      Belghazi et al., Mutual information neural estimation, 2018, eq. 7.
    """
    data, noise, weights_data, weights_noise = _samples(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    return log_mean_exp(noise, weights_noise) - weighted_mean(data, weights_data)


def least_squares_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """Least-squares fit of the density ratio: half the mean squared error of r under the noise, up
    to a constant.

    L = E_noise[r^2] / 2 - E_data[r], r = exp(u), u = s - F, with s given by `log_ratio_data` and
    `log_ratio_noise` and F = `log_partition`. At the true ratio -2 L - 1 is Pearson's chi-squared
    divergence. It overflows by nature where u is large, and its noise average is the most
    heavy-tailed of all losses here.

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
      >>> print(f"{nce_jax.losses.least_squares_loss(s_data, s_noise, log_partition=1.0):.4f}")
      -1.7944

    References:
      Kanamori, Hido and Sugiyama, A least-squares approach to direct importance estimation, 2009,
        eq. 3.
      Gutmann and Hirayama, Bregman divergence as general framework to estimate unnormalized
        statistical models, 2011.
    """
    data, noise, weights_data, weights_noise = _samples(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    shift = expand(as_scalar("log_partition", log_partition, data))
    mean_square = weighted_mean(jnp.exp(2 * (noise - shift)), weights_noise)
    return mean_square / 2 - weighted_mean(jnp.exp(data - shift), weights_data)


def least_squares_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The profiled normalizer of `least_squares_loss` in closed form: F* = log(E_noise[exp(2 s)] /
    E_data[exp(s)]).

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      F*, (*batch): the minimizer of `least_squares_loss` in `log_partition`.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.losses.least_squares_log_partition(s_data, s_noise):.4f}")
      -1.6637

    References:
      Kanamori, Hido and Sugiyama, A least-squares approach to direct importance estimation, 2009,
        eq. 3.
    """
    data, noise, weights_data, weights_noise = _samples(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    return log_mean_exp(2 * noise, weights_noise) - log_mean_exp(data, weights_data)


def nwj_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The minimizer of `nwj_loss` in the log partition: log E_noise[exp(s)].

    It is the importance-sampling estimate of log Z under the noise, and the log partition that
    `donsker_varadhan_loss` subtracts.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; the value does not depend on it.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; the value does not depend on them.
      weights_noise: weights >= 0 of the noise samples; those of weight zero are ignored.

    Returns:
      The log partition, (*batch), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays, or mismatched batches.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.losses.nwj_log_partition(s_data, s_noise):.4f}")
      -0.3322

    References:
      Nguyen, Wainwright and Jordan, Estimating divergence functionals and the likelihood ratio by
        convex risk minimization, 2010, eq. 11.
    """
    _, noise, _, weights_noise = _samples(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    return log_mean_exp(noise, weights_noise)


def _samples(
    data, noise, weights_data, weights_noise
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    """The checked pair and its weights; samples of weight zero are neutralized here."""
    data, noise, weights_data, weights_noise = as_pair(data, noise, weights_data, weights_noise)
    return (
        ignore_unweighted(data, weights_data),
        ignore_unweighted(noise, weights_noise),
        weights_data,
        weights_noise,
    )
