"""Standard errors of sums over stages that share their samples.

The influences of a pair on all stages are added up before they are squared.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_weights, check_positive_int, compute_dtype
from nce_jax._eager import PAIR, SampleSet, one_program
from nce_jax._numerics import (
    effective_samples,
    ignore_unweighted,
    rounding_variance,
    stop_where,
    total_weight,
    weighted_mean,
)
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, Real, Scalars
from nce_jax.diagnostics import effective_sample_size
from nce_jax.log_partition import Solution, Status, interval_status
from nce_jax.log_partition.equation import log_overlap
from nce_jax.log_partition.problem import Problem
from nce_jax.log_partition.solve import solve_problem
from nce_jax.telescoping._influences import (
    joint_error,
    pair_influences,
    side_influences,
    smallest_number,
    solved_stages,
    sum_of_influences,
)


class StageDiagnostics(NamedTuple):
    """Diagnostics of every stage of a chain; every field has shape (K,).

    Attributes:
      log_partition: F_k, in nats.
      overlap: overlap of the stage's two sets at its own kappa: 1 if they are alike, 0 if they are
        disjoint.
      effective_sample_size: Kish's effective sample size of the stage's noise as samples of its
        data.
      standard_error: standard error of F_k alone, in nats; inf without overlap. It is too small, as
        a rule, where the status is LOW_OVERLAP.
      variance_fraction: the fraction of the variance of F = sum_k F_k that stage k contributes: the
        covariance of F_k with F over the variance of F. The fractions sum to 1.
      status: a `Status`, int32. LOW_OVERLAP where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of pairs behind the stage's standard error: none
        contributes more than one over this number to the variance.
    """

    log_partition: Float[Array, " stages"]
    overlap: Float[Array, " stages"]
    effective_sample_size: Float[Array, " stages"]
    standard_error: Float[Array, " stages"]
    variance_fraction: Float[Array, " stages"]
    status: Real[Array, " stages"]
    effective_samples: Float[Array, " stages"]


class MeanLogRatio(NamedTuple):
    """A mean log ratio with its standard error, in nats: an estimate of KL(p || q).

    Attributes:
      value: the mean.
      standard_error: its standard error; inf where a stage has no overlap, or where
        `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of pairs (or blocks) that determine the sum of all
        F_k, or the F_k of a stage, whichever is smallest.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_samples: Float[Array, ""]


def mean_log_ratio(
    log_ratio: Float[Array, " n"],
    log_ratio_data: Float[Array, "stages n"],
    log_ratio_noise: Float[Array, "stages n"],
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    block_size: int = 1,
) -> MeanLogRatio:
    r"""Estimates KL(p || q), the mean of log p(x) / q(x) over the data, from a chain of stages.

    .. math:: \widehat{\mathrm{KL}} = \frac{1}{n} \sum_i S(x_i) - \sum_k F_k, \qquad
       S(x) = \sum_k s_k(x)

    If the data are dependent and the noise is made of independent samples, this estimates a mutual
    information. The mean and every :math:`F_k` come from the same pairs, so that the influence of
    pair i is :math:`S(x_i)` minus the mean of S, minus the influences on all :math:`F_k`. The
    standard error is the sampling error at fixed log ratios; a model that has not learned the ratio
    has a bias in addition.

    Args:
      log_ratio: :math:`S = \sum_k s_k` of the data :math:`x_0`, (n,), the sum over *all* stages at
        the data.
      log_ratio_data: s_k(x_k), (K, n), in nats, of the same pairs.
      log_ratio_noise: s_k(x_k+1), (K, n).
      log_partition: the roots F_k at the same kappa, (K,); None solves for them.
      magnification: M > 0, a number or one per stage.
      noise_ratio: nu > 0, a number or one per stage.
      block_size: consecutive pairs per block, for correlated pairs.

    Returns:
      A `MeanLogRatio`.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: arrays of other shapes.

    Examples:
      >>> import jax
      >>> from nce_jax import telescoping
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 1 + jax.random.normal(key_data, (4000,))
      >>> x_noise = jax.random.normal(key_noise, (4000,))
      >>> estimate = telescoping.mean_log_ratio(
      ...     x_data, x_data[None], x_noise[None]
      ... )  # one stage, s(x) = x: KL = 1 / 2
      >>> print(f"{estimate.value:.4f} +- {estimate.standard_error:.4f}")
      0.4970 +- 0.0115

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020, section 4.2 (mutual
        information).
    """
    _check_shapes(log_ratio_data, log_ratio_noise)
    num_pairs = jnp.shape(log_ratio_data)[-1]
    if jnp.shape(log_ratio) != (num_pairs,):
        raise ValueError(
            f"log_ratio: expected shape ({num_pairs},), one value per pair, got shape"
            f" {jnp.shape(log_ratio)}"
        )
    return _mean_log_ratio(
        log_ratio,
        log_ratio_data,
        log_ratio_noise,
        log_partition=log_partition,
        magnification=magnification,
        noise_ratio=noise_ratio,
        block_size=block_size,
    )


@one_program(
    *PAIR, SampleSet("log_ratio", "weights", is_total=True), static=("block_size",), effect=Effect()
)
def _mean_log_ratio(
    log_ratio,
    log_ratio_data,
    log_ratio_noise,
    *,
    block_size,
    weights=None,
    weights_data=None,
    weights_noise=None,
    **options,
) -> MeanLogRatio:
    check_positive_int("block_size", block_size)
    problem, roots = solved_stages(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, **options
    )
    values = as_samples("log_ratio", log_ratio)
    values = values.astype(compute_dtype(values))
    weights = as_weights("weights", weights, values)
    values = ignore_unweighted(values, weights)
    mean = weighted_mean(values, weights)
    influence = (values - mean) / total_weight(values, weights)
    influence = influence if weights is None else weights * influence
    sides = side_influences(problem, roots)
    of_roots = sum_of_influences(*sides)
    number = smallest_number(problem, sides, of_roots, block_size)
    error = joint_error(problem, roots, influence - of_roots, number, block_size)
    return MeanLogRatio(mean - jnp.sum(roots), error, number)


def stage_diagnostics(
    log_ratio_data: Float[Array, "stages n"],
    log_ratio_noise: Float[Array, "stages n"],
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
) -> StageDiagnostics:
    """Solves for every stage's normalizer, and computes the diagnostics of every stage.

    Args:
      log_ratio_data: s_k(x_k), (K, n), in nats.
      log_ratio_noise: s_k(x_k+1), (K, n), of the same pairs.
      magnification: M > 0, a number or one per stage.
      noise_ratio: nu > 0, a number or one per stage.

    Returns:
      A `StageDiagnostics`.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: arrays that are not (K, n), or of different shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x = telescoping.bridges(
      ...     6 + jax.random.normal(key_data, (2000,)),
      ...     jax.random.normal(key_noise, (2000,)),
      ...     noise_levels=[0.0, 0.8, 1.0],
      ... )
      >>> slopes = jnp.array([[2.4], [3.6]])
      >>> [
      ...     f"{overlap:.2f}"
      ...     for overlap in telescoping.stage_diagnostics(slopes * x[:-1], slopes * x[1:]).overlap
      ... ]
      ['0.34', '0.12']
    """
    _check_shapes(log_ratio_data, log_ratio_noise)
    return _stage_diagnostics(
        log_ratio_data, log_ratio_noise, magnification=magnification, noise_ratio=noise_ratio
    )


@one_program(*PAIR, effect=Effect("log_partition"))
def _stage_diagnostics(
    log_ratio_data, log_ratio_noise, *, weights_data=None, weights_noise=None, **options
) -> StageDiagnostics:
    problem, _ = solved_stages(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, log_partition=0.0, **options
    )
    solution = solve_problem(problem)
    problem = stop_where(jnp.isnan(solution.log_partition), problem)
    return diagnose(problem, solution, pair_influences(problem, solution.log_partition))


def diagnose(problem: Problem, solution: Solution, influences: jax.Array) -> StageDiagnostics:
    """The diagnostics of stages that are solved already, from the pairs' influences (K, n)."""
    total = jnp.sum(influences, axis=0)
    rounding = rounding_variance(solution.log_partition)
    spread = jnp.sqrt(jnp.sum(jnp.square(influences), axis=-1) + rounding)
    noise = problem.noise.values
    if problem.noise.weights is not None:
        noise = jnp.where(problem.noise.weights == 0, -jnp.inf, noise)
    count = effective_samples((influences, problem.data.weights))
    return StageDiagnostics(
        log_partition=solution.log_partition,
        overlap=jnp.exp(log_overlap(problem, solution.log_partition)),
        effective_sample_size=effective_sample_size(noise),
        standard_error=jnp.where(solution.status == Status.NO_OVERLAP, jnp.inf, spread),
        variance_fraction=jnp.sum(influences * total[None], axis=-1) / jnp.sum(total**2),
        status=interval_status(solution.status, count),
        effective_samples=count,
    )


def _check_shapes(data: Any, noise: Any) -> None:
    """Raises unless both arrays are (stages, pairs), for the same stages and pairs."""
    for name, values in (("log_ratio_data", data), ("log_ratio_noise", noise)):
        if jnp.ndim(values) != 2:
            raise ValueError(
                f"{name}: expected shape (num_stages, num_pairs), got shape {jnp.shape(values)}"
            )
    if jnp.shape(data) != jnp.shape(noise):
        raise ValueError(
            f"log_ratio_noise: expected the shape of log_ratio_data, {jnp.shape(data)}, got shape"
            f" {jnp.shape(noise)}"
        )
