"""Standard errors of sums over stages that share their samples.

The influences of a pair on all stages are added up before they are squared.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_weights, check_positive_int
from nce_jax._eager import PAIR, SampleSet, one_program
from nce_jax._numerics import ignore_unweighted, stop_where, total_weight, weighted_mean
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, Real, Scalars
from nce_jax.diagnostics import effective_sample_size
from nce_jax.log_partition import Solution, Status
from nce_jax.log_partition.equation import log_overlap
from nce_jax.log_partition.problem import Problem, make_problem
from nce_jax.log_partition.solve import solve_problem, solve_unless_given
from nce_jax.telescoping._influences import joint_error, pair_influences


class StageDiagnostics(NamedTuple):
    """Diagnostics of every stage of a chain; every field has shape (K,).

    Attributes:
      log_partition: F_k, in nats.
      overlap: overlap of the stage's two sets at its own kappa: 1 if they are alike, 0 if they are
        disjoint.
      effective_sample_size: Kish's effective sample size of the stage's noise as samples of its
        data.
      standard_error: standard error of F_k alone, in nats; inf without overlap.
      variance_fraction: the fraction of the variance of F = sum_k F_k that stage k contributes: the
        covariance of F_k with F over the variance of F. The fractions sum to 1.
      status: a `Status`, int32.
    """

    log_partition: Float[Array, " stages"]
    overlap: Float[Array, " stages"]
    effective_sample_size: Float[Array, " stages"]
    standard_error: Float[Array, " stages"]
    variance_fraction: Float[Array, " stages"]
    status: Real[Array, " stages"]


class MeanLogRatio(NamedTuple):
    """A mean log ratio with its standard error, in nats: an estimate of KL(p || q)."""

    value: Float[Array, ""]
    standard_error: Float[Array, ""]


def joint_standard_error(
    log_ratio_data: Float[Array, "stages n"],
    log_ratio_noise: Float[Array, "stages n"],
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    block_size: int = 1,
) -> Float[Array, ""]:
    r"""Standard error of F = sum_k F_k for stages that share their samples.

    Column i of every array comes from pair i. The influence of a pair on F, up to its sign, is

    .. math::
        \psi_i = \sum_k \frac{P_{k,i} - \kappa_k Q_{k,i}}{H_k}, \qquad
        P_{k,i} = \sigma(\log\kappa_k - u_k(x_{k,i})), \quad
        Q_{k,i} = \sigma(u_k(x_{k+1,i}) - \log\kappa_k),

    where :math:`H_k` is the mean of :math:`P_k (1 - P_k)` plus :math:`\kappa_k` times the mean of
    :math:`Q_k (1 - Q_k)`. The standard error is :math:`\operatorname{sd}(\psi) / \sqrt{n}`. The
    square root of the stages' summed variances is a different number, and too small as a rule,
    since the errors of neighboring stages have the same sign.

    Args:
      log_ratio_data: s_k(x_k), (K, n), in nats.
      log_ratio_noise: s_k(x_k+1), (K, n), of the same pairs in the same order.
      log_partition: the roots F_k at the same kappa, (K,); None solves for them.
      magnification: M > 0, a number or one per stage.
      noise_ratio: nu > 0, a number or one per stage.
      block_size: consecutive pairs per block, for correlated pairs; a shorter block at the end
        counts too.

    Returns:
      The standard error in nats, for the log-ratios as they are; inf where any stage has no
      overlap.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: arrays that are not (K, n), or of different shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> from nce_jax import telescoping
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x = telescoping.bridges(
      ...     6 + jax.random.normal(key_data, (2000,)),
      ...     jax.random.normal(key_noise, (2000,)),
      ...     noise_levels=[0.0, 0.8, 1.0],
      ... )
      >>> slopes = jnp.array([[2.4], [3.6]])  # N(6, 1), N(3.6, 1), N(0, 1)
      >>> print(f"{telescoping.joint_standard_error(slopes * x[:-1], slopes * x[1:]):.4f}")
      0.1295
      >>> separate = nce_jax.log_partition_standard_error(slopes * x[:-1], slopes * x[1:])
      >>> print(f"{jnp.linalg.norm(separate):.4f}")
      0.0994

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020 (the stages; the error is
        derived in this library's documentation).
    """
    _check_shapes(log_ratio_data, log_ratio_noise)
    return _joint_standard_error(
        log_ratio_data,
        log_ratio_noise,
        log_partition=log_partition,
        magnification=magnification,
        noise_ratio=noise_ratio,
        block_size=block_size,
    )


@one_program(*PAIR, static=("block_size",), effect=Effect())
def _joint_standard_error(
    log_ratio_data, log_ratio_noise, *, block_size, weights_data=None, weights_noise=None, **options
) -> jax.Array:
    check_positive_int("block_size", block_size)
    problem, roots = _problem(log_ratio_data, log_ratio_noise, weights_data, **options)
    return joint_error(problem, roots, jnp.sum(pair_influences(problem, roots), axis=0), block_size)


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
      A `MeanLogRatio`; the error is inf where any stage has no overlap.

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
    problem, roots = _problem(log_ratio_data, log_ratio_noise, weights_data, **options)
    values = as_samples("log_ratio", log_ratio)
    weights = as_weights("weights", weights, values)
    values = ignore_unweighted(values, weights)
    mean = weighted_mean(values, weights)
    influence = (values - mean) / total_weight(values, weights)
    influence = influence if weights is None else weights * influence
    total = influence - jnp.sum(pair_influences(problem, roots), axis=0)
    return MeanLogRatio(mean - jnp.sum(roots), joint_error(problem, roots, total, block_size))


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
    problem, _ = _problem(
        log_ratio_data, log_ratio_noise, weights_data, log_partition=0.0, **options
    )
    solution = solve_problem(problem)
    problem = stop_where(jnp.isnan(solution.log_partition), problem)
    return diagnose(problem, solution, pair_influences(problem, solution.log_partition))


def diagnose(problem: Problem, solution: Solution, influences: jax.Array) -> StageDiagnostics:
    """The diagnostics of stages that are solved already, from the pairs' influences (K, n)."""
    total = jnp.sum(influences, axis=0)
    spread = jnp.sqrt(jnp.sum(jnp.square(influences), axis=-1))
    noise = problem.noise.values
    if problem.noise.weights is not None:
        noise = jnp.where(problem.noise.weights == 0, -jnp.inf, noise)
    return StageDiagnostics(
        log_partition=solution.log_partition,
        overlap=jnp.exp(log_overlap(problem, solution.log_partition)),
        effective_sample_size=effective_sample_size(noise),
        standard_error=jnp.where(solution.status == Status.NO_OVERLAP, jnp.inf, spread),
        variance_fraction=jnp.sum(influences * total[None], axis=-1) / jnp.sum(total**2),
        status=solution.status,
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


def _problem(
    data, noise, weights, *, log_partition, magnification, noise_ratio
) -> tuple[Problem, jax.Array]:
    """The equations of all stages and their roots; `weights` are those of the pairs."""
    problem = make_problem(data, noise, weights, weights, magnification, noise_ratio)
    roots = solve_unless_given(problem, log_partition)
    return stop_where(jnp.isnan(roots), problem), roots
