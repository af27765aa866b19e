"""Direct ratio regularization: a penalty on log ratios, for any criterion."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_pair, as_positive, as_scalar, check_instance, check_positive
from nce_jax._numerics import expand, has_no_weight, ignore_unweighted, stop_where, weighted_mean
from nce_jax._partial import EqualPartial
from nce_jax._types import Scalars
from nce_jax.criteria._interface import Criterion
from nce_jax.log_partition import Problem, Pull, Samples


def ratio_regularized(criterion: Criterion, strength: Scalars = 1.0) -> Criterion:
    r"""Adds direct ratio regularization, a quadratic penalty on log ratios, to a criterion.

    The penalty is :math:`\gamma\, (E_{data}[u^2] + E_{noise}[u^2])` with :math:`u = s - F` and
    :math:`\gamma` = `strength`. It biases the log ratio towards zero; in exchange, gradients stay
    bounded where data and noise hardly overlap.

    Where the criterion's F is the root of an equation, so is the F of the sum:
    :math:`2 \gamma\, (2 F - E_{data}[s] - E_{noise}[s])` is added to the equation. `solved()` finds
    this root exactly. Bennett's step does not include the new term, so that `bar_step()` refuses
    the criterion and `fixed_point()` ends with MAX_STEPS. A closed form for F is lost; F can then
    be held, or follow its gradient.

    Args:
      criterion: any criterion.
      strength: gamma > 0, a number or one per batch entry, traced; a solve with a negative or
        infinite one is NONFINITE. The code of Yoon et al. (2024) takes 1. The strengths of
        nested regularizers add up.

    Returns:
      A `Criterion`.

    Raises:
      TypeError: `criterion` is no `Criterion`.
      ValueError: a plain number that is not positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> criterion = nce_jax.criteria.ratio_regularized(
      ...     nce_jax.criteria.nce(magnification=100.0), strength=0.1
      ... )
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> solution = criterion.profile(s_data, s_noise)
      >>> print(f"F {solution.log_partition:.4f}")
      F -0.0943

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (direct
        ratio regularization).
      Yoon et al., Maximum entropy inverse reinforcement learning of diffusion models with
        energy-based models, 2024.
    """
    check_instance("criterion", criterion, Criterion, "nce()")
    check_positive("strength", strength)

    def unless_none(function: Any, derived: Callable[..., Any], inner: Any) -> Any:
        return None if function is None else EqualPartial(derived, inner, strength)

    inner = criterion.at_magnification
    return Criterion(
        f"ratio_regularized {criterion.name}",
        EqualPartial(_loss, criterion, strength),
        equation=unless_none(criterion.equation, _equation, criterion),
        has_bennett_step=False,
        at_magnification=unless_none(inner, _at_magnification, inner),
        generator_loss=criterion.generator_loss,
    )


def _at_magnification(
    inner: Callable[[Scalars], Criterion], strength: Scalars, magnification: Scalars
) -> Criterion:
    return ratio_regularized(inner(magnification), strength)


def _loss(
    criterion: Criterion,
    strength: Scalars,
    log_ratio_data,
    log_ratio_noise,
    *,
    log_partition=0.0,
    **weights,
) -> Any:
    data, noise, weights_data, weights_noise = as_pair(log_ratio_data, log_ratio_noise, **weights)
    is_empty = has_no_weight(data, weights_data) | has_no_weight(noise, weights_noise)
    log_partition = as_scalar("log_partition", log_partition, data)
    # As with the losses themselves, no gradient without samples or without F.
    data, noise, weights_data, weights_noise, log_partition = stop_where(
        is_empty | jnp.isnan(log_partition),
        (data, noise, weights_data, weights_noise, log_partition),
    )
    base = criterion.loss(
        data,
        noise,
        log_partition=log_partition,
        weights_data=weights_data,
        weights_noise=weights_noise,
    )
    sides = (data, weights_data), (noise, weights_noise)
    penalty = sum(_mean_square(*side, log_partition) for side in sides)
    penalty = as_positive("strength", strength, data) * penalty
    return base + jnp.where(is_empty, 0, penalty)


def _mean_square(
    log_ratio: jax.Array, weights: jax.Array | None, log_partition: jax.Array
) -> jax.Array:
    log_ratio = ignore_unweighted(log_ratio, weights)
    return weighted_mean((log_ratio - expand(log_partition)) ** 2, weights)


def _equation(criterion: Criterion, strength: Scalars, *args, **kwargs) -> Problem:
    assert criterion.equation is not None
    problem = criterion.equation(*args, **kwargs)
    (data, rest_of_data), (noise, rest_of_noise) = map(_mean, (problem.data, problem.noise))
    # Two large means of opposite signs cancel before anything small is added.
    center = (data + noise) / 2 + (rest_of_data + rest_of_noise) / 2
    slope = 4 * as_scalar("strength", strength, problem.data.values)
    # With any other strength the loss has no minimum, and the solve has to report that.
    pull = Pull(jnp.where(slope >= 0, slope, jnp.nan), center)
    return problem._replace(pull=pull if problem.pull is None else _sum(problem.pull, pull))


def _sum(first: Pull, second: Pull) -> Pull:
    """The sum of two straight lines; its center is their mean, weighted by the slopes."""
    slope = first.slope + second.slope
    share = second.slope / jnp.where(slope > 0, slope, 1)
    return Pull(slope, first.center + share * (second.center - first.center))


def _mean(side: Samples) -> tuple[jax.Array, jax.Array]:
    """The mean log ratio as a constant and the mean of the rest, which has its gradient.

    Together they are more accurate than the dtype. There is no gradient where the mean is no number
    and the solve fails.
    """
    rough = weighted_mean(*jax.lax.stop_gradient((side.values, side.weights)))
    values, weights = stop_where(~jnp.isfinite(rough), (side.values, side.weights))
    return rough, weighted_mean(values - expand(rough), weights)
