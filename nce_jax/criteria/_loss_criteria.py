"""Every loss of log ratios as a criterion."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair, as_scalar, check_positive
from nce_jax._numerics import has_no_weight, stop_where
from nce_jax._partial import EqualPartial
from nce_jax._types import Scalars
from nce_jax.criteria._interface import Criterion
from nce_jax.log_partition import make_problem
from nce_jax.losses import (
    donsker_varadhan_loss,
    exponential_log_partition,
    exponential_nce_loss,
    generator_loss,
    least_squares_log_partition,
    least_squares_loss,
    nce_loss,
    nwj_log_partition,
    nwj_loss,
    ranking_nce_loss,
)


def nce(*, magnification: Scalars = 1.0, noise_ratio: Scalars = 1.0) -> Criterion:
    """Binary NCE as a criterion; F is solved for at kappa = noise_ratio * magnification.

    Args:
      magnification: M > 0, a number; it is traced.
      noise_ratio: nu > 0, a number; it is traced.

    Returns:
      The criterion of `nce_loss` and `solve_log_partition`.

    Raises:
      ValueError: a plain number that is not positive.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.nce(magnification=100.0).name
      'nce'

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (the
        objective L_M).
    """
    check_positive("magnification", magnification)
    check_positive("noise_ratio", noise_ratio)
    options: dict[str, Any] = {"magnification": magnification, "noise_ratio": noise_ratio}
    return Criterion(
        "nce",
        EqualPartial(nce_loss, **options),
        equation=EqualPartial(make_problem, **options),
        at_magnification=EqualPartial(_nce_at, noise_ratio),
        generator_loss=EqualPartial(generator_loss, **options),
    )


def _nce_at(noise_ratio: Scalars, magnification: Scalars) -> Criterion:
    return nce(magnification=magnification, noise_ratio=noise_ratio)


def exponential_nce() -> Criterion:
    """The exponential loss (eNCE) as a criterion; F has a closed form and no Bennett step.

    Returns:
      The criterion of `exponential_nce_loss` and `exponential_log_partition`.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.exponential_nce().equation is None  # no Bennett step
      True

    References:
      Liu et al., Analyzing and Improving the Optimization Landscape of Noise-Contrastive
        Estimation, 2021, eNCE.
    """
    return Criterion("exponential_nce", exponential_nce_loss, closed_form=exponential_log_partition)


def nwj() -> Criterion:
    r"""The loss of Nguyen, Wainwright and Jordan as a criterion; F has a closed form.

    It is :math:`F = \log E_{noise}[e^s]`. At this F the gradient of the loss is the same as with
    `donsker_varadhan`.

    Returns:
      The criterion of `nwj_loss` and `nwj_log_partition`.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.nwj().name
      'nwj'

    References:
      Nguyen, Wainwright and Jordan, Estimating divergence functionals and the likelihood ratio by
        convex risk minimization, 2010, eq. 11.
    """
    return Criterion("nwj", nwj_loss, closed_form=nwj_log_partition)


def donsker_varadhan() -> Criterion:
    r"""The loss of Donsker and Varadhan as a criterion; the loss does not depend on F.

    Every treatment of F therefore gives the same training. The F that `solved()` reports is
    :math:`\log E_{noise}[e^s]`, which normalizes the model.

    Returns:
      The criterion of `donsker_varadhan_loss`.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.donsker_varadhan().name
      'donsker_varadhan'

    References:
      Belghazi et al., Mutual information neural estimation, 2018, eq. 7.
    """
    return Criterion(
        "donsker_varadhan",
        EqualPartial(_independent_of_log_partition, donsker_varadhan_loss),
        closed_form=nwj_log_partition,
    )


def _independent_of_log_partition(
    loss, log_ratio_data, log_ratio_noise, *, log_partition=0.0, **weights
) -> jax.Array:
    """A loss that does not depend on F; NaN, without a gradient, where F could not be solved for.

    It then behaves like the losses that do depend on F.
    """
    data, noise, weights_data, weights_noise = as_pair(log_ratio_data, log_ratio_noise, **weights)
    has_failed = jnp.isnan(as_scalar("log_partition", log_partition, data))
    data, noise, weights_data, weights_noise = stop_where(
        has_failed, (data, noise, weights_data, weights_noise)
    )
    # A batch of padding has no F and a loss of zero.
    has_failed &= ~(has_no_weight(data, weights_data) | has_no_weight(noise, weights_noise))
    value = loss(data, noise, weights_data=weights_data, weights_noise=weights_noise)
    return jnp.where(has_failed, jnp.nan, value)


def least_squares() -> Criterion:
    """The least-squares loss as a criterion; F has a closed form.

    Returns:
      The criterion of `least_squares_loss` and `least_squares_log_partition`.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.least_squares().name
      'least_squares'

    References:
      Kanamori, Hido and Sugiyama, A least-squares approach to direct importance estimation, 2009,
        eq. 3.
    """
    return Criterion("least_squares", least_squares_loss, closed_form=least_squares_log_partition)


def ranking_nce(*, magnification: Scalars = 1.0) -> Criterion:
    r"""Ranking NCE as a criterion; every data sample is ranked among all noise samples.

    The loss does not depend on F. The F that `solved()` reports is :math:`\log E_{noise}[e^s]`,
    which normalizes the model.

    Args:
      magnification: M > 0, a number; it is traced.

    Returns:
      The criterion of `ranking_nce_loss`, with the noise samples of the batch shared by all data
      samples.

    Raises:
      ValueError: a plain number that is not positive.

    Examples:
      >>> import nce_jax
      >>> nce_jax.criteria.ranking_nce(magnification=10.0).name
      'ranking_nce'

    References:
      Ma and Collins, Noise contrastive estimation and negative sampling for conditional models:
        consistency and statistical efficiency, 2018.
    """
    check_positive("magnification", magnification)
    loss = EqualPartial(ranking_nce_loss, magnification=magnification)
    return Criterion(
        "ranking_nce",
        EqualPartial(_independent_of_log_partition, loss),
        closed_form=nwj_log_partition,
    )
