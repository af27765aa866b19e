"""Confidence intervals from bootstrap replicates."""

from typing import NamedTuple

import jax.numpy as jnp

from nce_jax._checks import check_instance
from nce_jax._options import check_fraction
from nce_jax._types import Array, Float
from nce_jax.free_energy._redraw import FreeEnergyBootstrap


class Interval(NamedTuple):
    """The two ends of an interval, in kT; NaN where a replicate has none of the numbers needed."""

    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]


def percentile_interval(bootstrap: FreeEnergyBootstrap, *, level: float = 0.95) -> Interval:
    """The interval between two quantiles of the bootstrap replicates.

    Args:
      bootstrap: what `bootstrap_bar`, `bootstrap_bar_chain` or `bootstrap_mbar` returned.
      level: the probability that the interval contains the truth, between 0 and 1.

    Returns:
      An `Interval`, (*batch); NaN where a replicate failed.

    Raises:
      TypeError: `bootstrap` is no `FreeEnergyBootstrap`.
      ValueError: `level` is not between 0 and 1.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (500,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (500,))
      >>> bootstrap = free_energy.bootstrap_bar(
      ...     keys[2], work_forward, work_reverse, num_replicates=1000
      ... )
      >>> interval = free_energy.percentile_interval(bootstrap)
      >>> print(f"{interval.lower:.2f} to {interval.upper:.2f}")
      0.94 to 1.22

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    _check(bootstrap, level)
    return Interval(*_quantiles(bootstrap.replicates, level))


def studentized_interval(bootstrap: FreeEnergyBootstrap, *, level: float = 0.95) -> Interval:
    r"""The bootstrap-t interval: quantiles of the replicates' deviations in standard errors.

    With :math:`t_b = (\Delta f_b - \Delta f) / s_b` of every replicate and its own error it is

    .. math:: \Delta f - s\, t_{(1 + \mathrm{level}) / 2} \quad\text{to}\quad
       \Delta f - s\, t_{(1 - \mathrm{level}) / 2}.

    It follows an error that changes with the estimate, which the percentiles do not. Regions that
    no sample has reached widen neither.

    Args:
      bootstrap: what `bootstrap_bar`, `bootstrap_bar_chain` or `bootstrap_mbar` returned.
      level: the probability that the interval contains the truth, between 0 and 1.

    Returns:
      An `Interval`, (*batch); NaN where a replicate failed or has no overlap.

    Raises:
      TypeError: `bootstrap` is no `FreeEnergyBootstrap`.
      ValueError: `level` is not between 0 and 1.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (500,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (500,))
      >>> bootstrap = free_energy.bootstrap_bar(
      ...     keys[2], work_forward, work_reverse, num_replicates=1000
      ... )
      >>> interval = free_energy.studentized_interval(bootstrap)
      >>> print(f"{interval.lower:.2f} to {interval.upper:.2f}")
      0.93 to 1.21

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12.5.
    """
    _check(bootstrap, level)
    deviation = bootstrap.replicates - bootstrap.delta_f[None]
    # Replicates without any spread have an error of zero, and do not deviate.
    is_sure = (bootstrap.replicate_errors == 0) & (deviation == 0)
    scores = jnp.where(is_sure, 0, deviation / jnp.where(is_sure, 1, bootstrap.replicate_errors))
    low, high = _quantiles(scores, level)
    return Interval(
        bootstrap.delta_f - high * bootstrap.influence_error,
        bootstrap.delta_f - low * bootstrap.influence_error,
    )


def _check(bootstrap: FreeEnergyBootstrap, level: float) -> None:
    check_instance("bootstrap", bootstrap, FreeEnergyBootstrap, "bootstrap_bar(...) returns")
    check_fraction("level", level)


def _quantiles(values: Array, level: float) -> Array:
    ends = jnp.asarray([(1 - level) / 2, (1 + level) / 2], values.dtype)
    return jnp.quantile(values, ends, axis=0)
