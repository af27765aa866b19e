"""Standard errors of sums over stages that share their samples.

The influences of a pair on all stages are added up before they are squared.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._numerics import effective_samples, jackknife_variance, sample_count
from nce_jax._types import Array, Float, Real, Scalars, Weights
from nce_jax.diagnostics import effective_sample_size
from nce_jax.log_partition import MIN_EFFECTIVE_SAMPLES, Solution, Status, interval_status
from nce_jax.log_partition.equation import lacks_overlap, log_overlap
from nce_jax.log_partition.problem import Problem, make_problem
from nce_jax.log_partition.solve import solve_problem, solve_unless_given
from nce_jax.telescoping._influences import pair_influences, side_influences, sum_of_influences
from nce_jax.telescoping._ragged import Windows, as_windows


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


def joint_standard_error(
    log_ratio_data: Windows,
    log_ratio_noise: Windows,
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
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

    It is also the error of a sum of free energy differences over K windows that share samples:
    with the work values of `bar`, pass the reverse ones as `log_ratio_data`, minus the forward ones
    as `log_ratio_noise`, and the ratios of their numbers, forward over reverse, as `noise_ratio`.
    Windows may have different lengths. It is only required that a sample which occurs in two
    windows has the same index in both, so that its influences meet; samples with the same index in
    different sets are independent, and adding them up is harmless.

    Args:
      log_ratio_data: s_k(x_k), (K, n), in nats; or a list of K arrays (n_k,).
      log_ratio_noise: s_k(x_k+1), (K, n), of the same pairs in the same order; or a list of K
        arrays (m_k,).
      log_partition: the roots F_k at the same kappa, (K,); None solves for them.
      magnification: M > 0, a number or one per stage.
      noise_ratio: nu > 0, a number or one per stage.
      weights_data: weights >= 0 of data in an array, (K, n); weight zero is padding.
      weights_noise: the same for the noise.
      block_size: consecutive pairs per block, for correlated pairs; a shorter block at the end
        counts too.

    Returns:
      The standard error in nats, for the log-ratios as they are. It is inf where it would be too
      small as a rule: where any stage has no overlap, and with fewer than
      `log_partition.MIN_EFFECTIVE_SAMPLES` effective samples behind it or behind any stage.

    Raises:
      TypeError: log-ratios that are not floating.
      ValueError: arrays that are not (K, n), or of different numbers of stages.

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
    data, weights_data = as_windows("log_ratio_data", log_ratio_data, weights_data)
    noise, weights_noise = as_windows("log_ratio_noise", log_ratio_noise, weights_noise)
    check_positive_int("block_size", block_size)
    problem = make_problem(data, noise, weights_data, weights_noise, magnification, noise_ratio)
    roots = solve_unless_given(problem, log_partition)
    sides = side_influences(problem, roots)
    total = sum_of_influences(*sides)
    number = smallest_number(problem, sides, total, block_size)
    return joint_error(problem, roots, total, number, block_size)


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
    problem, roots = _problem(
        log_ratio_data, log_ratio_noise, log_partition, magnification, noise_ratio
    )
    check_positive_int("block_size", block_size)
    num_pairs = problem.data.values.shape[-1]
    if jnp.shape(log_ratio) != (num_pairs,):
        raise ValueError(
            f"log_ratio: expected shape ({num_pairs},), one value per pair, got shape"
            f" {jnp.shape(log_ratio)}"
        )
    mean = jnp.mean(log_ratio)
    sides = side_influences(problem, roots)
    of_roots = sum_of_influences(*sides)
    number = smallest_number(problem, sides, of_roots, block_size)
    total = (log_ratio - mean) / num_pairs - of_roots
    error = joint_error(problem, roots, total, number, block_size)
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
    problem, _ = _problem(log_ratio_data, log_ratio_noise, 0.0, magnification, noise_ratio)
    solution = solve_problem(problem)
    return diagnose(problem, solution, pair_influences(problem, solution.log_partition))


def diagnose(problem: Problem, solution: Solution, influences: jax.Array) -> StageDiagnostics:
    """The diagnostics of stages that are solved already, from the pairs' influences (K, n)."""
    total = jnp.sum(influences, axis=0)
    spread = jnp.sqrt(jnp.sum(jnp.square(influences), axis=-1))
    count = effective_samples((influences, None))
    return StageDiagnostics(
        log_partition=solution.log_partition,
        overlap=jnp.exp(log_overlap(problem, solution.log_partition)),
        effective_sample_size=effective_sample_size(problem.noise.values),
        standard_error=jnp.where(solution.status == Status.NO_OVERLAP, jnp.inf, spread),
        variance_fraction=jnp.sum(influences * total[None], axis=-1) / jnp.sum(total**2),
        status=interval_status(solution.status, count),
        effective_samples=count,
    )


def joint_error(
    problem: Problem, roots: jax.Array, influence: jax.Array, number: jax.Array, block_size: int
) -> jax.Array:
    """Standard error from the influences of the pairs, (n,).

    It is inf where any stage has no overlap, or where few samples determine the normalizers.
    """
    sides = problem.data, problem.noise
    counts = jnp.stack([sample_count(side.values, side.weights) for side in sides])
    # The mean is fitted on every side; the correction is that of the shortest one.
    shortest = jnp.arange(influence.shape[-1]) < jnp.min(counts)
    variance = jackknife_variance(influence, shortest.astype(influence.dtype), block_size)
    has_gap = jnp.any(lacks_overlap(problem, log_overlap(problem, roots)))
    has_interval = ~has_gap & (number >= MIN_EFFECTIVE_SAMPLES)
    is_known = has_interval | jnp.isnan(variance)
    return jnp.where(is_known, jnp.sqrt(variance), jnp.inf)


def smallest_number(
    problem: Problem, sides: tuple[jax.Array, jax.Array], total: jax.Array, block_size: int
) -> jax.Array:
    """The effective number of samples behind F or behind any F_k, whichever is smallest.

    Args:
      problem: the stages.
      sides: the influences on every F_k.
      total: the influences on F, (n,).
      block_size: pairs per block.
    """
    weights = problem.data.weights, problem.noise.weights
    of_stages = effective_samples(*zip(sides, weights, strict=True), block_size=block_size)
    return jnp.minimum(jnp.min(of_stages), effective_samples((total, None), block_size=block_size))


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
