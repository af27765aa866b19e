"""Standard errors of sums over stages that share their samples.

The influences of a pair on all stages are added up before they are squared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, check_positive_int
from nce_jax._numerics import expand, jackknife_variance
from nce_jax._types import Array, Float, Real, Scalars
from nce_jax.diagnostics import effective_sample_size
from nce_jax.log_partition import Solution, Status
from nce_jax.log_partition.equation import acceptance_logits, lacks_overlap, log_overlap
from nce_jax.log_partition.problem import Problem, make_problem
from nce_jax.log_partition.solve import solve_problem, solve_unless_given


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
    problem, roots = _problem(
        log_ratio_data, log_ratio_noise, log_partition, magnification, noise_ratio
    )
    check_positive_int("block_size", block_size)
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
    problem, roots = _problem(
        log_ratio_data, log_ratio_noise, log_partition, magnification, noise_ratio
    )
    check_positive_int("block_size", block_size)
    log_ratio = as_samples("log_ratio", log_ratio)
    num_pairs = problem.data.values.shape[-1]
    if log_ratio.shape != (num_pairs,):
        raise ValueError(
            f"log_ratio: expected shape ({num_pairs},), one value per pair, got shape"
            f" {log_ratio.shape}"
        )
    log_ratio = log_ratio.astype(problem.data.values.dtype)
    mean = jnp.mean(log_ratio)
    total = (log_ratio - mean) / num_pairs - jnp.sum(pair_influences(problem, roots), axis=0)
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
    problem, _ = _problem(log_ratio_data, log_ratio_noise, 0.0, magnification, noise_ratio)
    solution = solve_problem(problem)
    return diagnose(problem, solution, pair_influences(problem, solution.log_partition))


def diagnose(problem: Problem, solution: Solution, influences: jax.Array) -> StageDiagnostics:
    """The diagnostics of stages that are solved already, from the pairs' influences (K, n)."""
    total = jnp.sum(influences, axis=0)
    spread = jnp.sqrt(jnp.sum(jnp.square(influences), axis=-1))
    return StageDiagnostics(
        log_partition=solution.log_partition,
        overlap=jnp.exp(log_overlap(problem, solution.log_partition)),
        effective_sample_size=effective_sample_size(problem.noise.values),
        standard_error=jnp.where(solution.status == Status.NO_OVERLAP, jnp.inf, spread),
        variance_fraction=jnp.sum(influences * total[None], axis=-1) / jnp.sum(total**2),
        status=solution.status,
    )


def joint_error(
    problem: Problem, roots: jax.Array, influence: jax.Array, block_size: int = 1
) -> jax.Array:
    """Standard error from the influences of the pairs, (n,); inf where any stage has no overlap."""
    has_gap = jnp.any(lacks_overlap(problem, log_overlap(problem, roots)))
    return jnp.where(has_gap, jnp.inf, jnp.sqrt(jackknife_variance(influence, None, block_size)))


def pair_influences(problem: Problem, roots: jax.Array) -> jax.Array:
    r"""Influence of pair i on F_k through the stage's data and noise together, (K, n).

    .. math::
        \psi_{k,i} = -\frac{R_{k,i} - \operatorname{mean}_i R_{k,i}}{n H_k},
        \qquad R_{k,i} = P_{k,i} - \kappa Q_{k,i}

    The influences on every F_k sum to zero.
    """
    kappa, num_pairs = jnp.exp(problem.log_kappa), problem.data.values.shape[-1]
    data, noise = acceptance_logits(problem, roots)
    slope = _mean_slope(data) + kappa * _mean_slope(noise)
    terms = _small_part(data) - expand(kappa) * _small_part(noise)
    # Without overlap the slope is zero, and `joint_error` returns infinity.
    slope = jnp.maximum(slope, jnp.finfo(slope.dtype).tiny)
    return -(terms - jnp.mean(terms, axis=-1, keepdims=True)) / expand(slope) / num_pairs


def _mean_slope(distance: jax.Array) -> jax.Array:
    return jnp.mean(jax.nn.sigmoid(distance) * jax.nn.sigmoid(-distance), axis=-1)


def _small_part(distance: jax.Array) -> jax.Array:
    """sigma or sigma - 1, whichever is the smaller one and so keeps its digits.

    The two differ by a constant, which is removed with the mean.
    """
    sigma = jax.nn.sigmoid(distance)
    is_small = jnp.mean(sigma, axis=-1, keepdims=True) < 0.5
    return jnp.where(is_small, sigma, -jax.nn.sigmoid(-distance))


def _problem(data, noise, log_partition, magnification, noise_ratio) -> tuple[Problem, jax.Array]:
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
    problem = make_problem(data, noise, None, None, magnification, noise_ratio)
    return problem, solve_unless_given(problem, log_partition)
