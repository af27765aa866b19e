"""Variational bounds on divergences as losses.

NWJ and Donsker-Varadhan bound the Kullback-Leibler divergence; least squares bounds Pearson's
chi-squared divergence.
"""

import jax.numpy as jnp

from nce_jax._checks import as_pair
from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import ignore_unweighted, log_mean_exp
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.losses._sides import as_sides


@one_program(*PAIR)
def nwj_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Minus the lower bound on KL(data || noise) of Nguyen, Wainwright and Jordan (NWJ).

    .. math::

       L = -E_{\text{data}}[u] + E_{\text{noise}}[e^u] - 1, \qquad u = s - F,

    with the log ratios s in `log_ratio_data` and `log_ratio_noise` and F = `log_partition`. It is
    the limit of `nce_loss` - log kappa - 1 as kappa -> infinity, and its gradient is that of
    maximum likelihood by importance sampling. Its minimum over F is `donsker_varadhan_loss`, which
    does not overflow.

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
        convex risk minimization, 2010, eq. 11.
    """
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition)
    mean_ratio = sides.mean_noise(jnp.exp(sides.noise - sides.shift))
    return sides.finish(mean_ratio - sides.mean_data(sides.data - sides.shift) - 1)


@one_program(*PAIR, effect=Effect())
def donsker_varadhan_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Minus the lower bound on KL(data || noise) of Donsker and Varadhan (DV).

    .. math::

       L = -E_{\text{data}}[s] + \log E_{\text{noise}}[e^s],

    with the log ratios s in `log_ratio_data` and `log_ratio_noise`. The loss has no normalizer: a
    constant added to s cancels. It is the minimum of `nwj_loss` over F, at F = log E_noise[exp(s)].
    Up to log kappa + 1 it is also the limit of `profiled_nce_loss` as kappa -> infinity. With few
    samples it is biased, since the average over the noise depends on a tail that they miss.

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
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise)
    log_mean_ratio = log_mean_exp(sides.noise, sides.weights_noise)
    return sides.finish(log_mean_ratio - sides.mean_data(sides.data))


@one_program(*PAIR)
def least_squares_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Least-squares loss of the density ratio, up to a constant half its mean squared error.

    .. math::

       L = \tfrac12 E_{\text{noise}}[r^2] - E_{\text{data}}[r], \qquad r = e^u, \quad u = s - F,

    with the log ratios s in `log_ratio_data` and `log_ratio_noise` and F = `log_partition`. The
    error of r is averaged under the noise. At the true ratio -2 L - 1 is Pearson's chi-squared
    divergence. The loss overflows where u is large, and its average over the noise has the heaviest
    tails of all losses in this package.

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
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition)
    # At an infinite F the loss would be that of a model without mass, which is finite.
    shift = jnp.where(jnp.isposinf(sides.shift), jnp.nan, sides.shift)
    mean_square = sides.mean_noise(jnp.exp(2 * (sides.noise - shift)))
    return sides.finish(mean_square / 2 - sides.mean_data(jnp.exp(sides.data - shift)))


@one_program(*PAIR, effect=Effect("", error=None))
def least_squares_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""The log partition that minimizes `least_squares_loss`, in closed form.

    .. math::

       F_* = \log \frac{E_{\text{noise}}[e^{2 s}]}{E_{\text{data}}[e^s]}

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
    sides = as_sides(log_ratio_data, log_ratio_noise, weights_data, weights_noise)
    log_mean_square = log_mean_exp(2 * sides.noise, sides.weights_noise)
    return log_mean_square - log_mean_exp(sides.data, sides.weights_data)


@one_program(*PAIR, effect=Effect("", error=None))
def nwj_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The log partition that minimizes `nwj_loss`, log E_noise[exp(s)].

    It is the importance-sampling estimate of log Z with the noise as the proposal, and the log
    partition that `donsker_varadhan_loss` subtracts.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; the value does not depend on it.
      log_ratio_noise: s of the noise samples, (*batch, m).
      weights_data: weights >= 0 of the data samples; the value does not depend on them.
      weights_noise: weights >= 0 of the noise samples; those of weight zero are ignored.

    Returns:
      The log partition, (*batch), in nats.

    Raises:
      TypeError: log-ratios or weights that are not floating.
      ValueError: empty arrays or mismatched batches.

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
    _, noise, _, weights_noise = as_pair(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    return log_mean_exp(ignore_unweighted(noise, weights_noise), weights_noise)
