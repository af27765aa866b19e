"""Standard error of the profiled normalizer, by the infinitesimal jackknife."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import effective_samples, jackknife_variance, rounding_variance, stop_where
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.log_partition import (
    Problem,
    Samples,
    Status,
    implicit_root,
    interval_status,
    lacks_overlap,
    log_overlap,
    make_problem,
    solve_problem,
    solve_unless_given,
)


class LogPartitionEstimate(NamedTuple):
    """The profiled normalizer with its standard error; every field has the batch shape.

    Attributes:
      log_partition: F*, in nats; NaN where the solve failed (MAX_STEPS, NONFINITE).
      standard_error: standard error of F*, in nats; NaN where F* is, inf without overlap, or with a
        single sample or block on a side. It is too small, as a rule, where the status is
        LOW_OVERLAP.
      status: a `Status`, int32. LOW_OVERLAP where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of samples (or blocks) behind the standard error: none
        contributes more than one over this number to the variance.
    """

    log_partition: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


@one_program(*PAIR, static=("block_size",), effect=Effect("log_partition"))
def estimate_log_partition(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    block_size: int = 1,
) -> LogPartitionEstimate:
    r"""Solves for F*(kappa) and returns it with its standard error and the samples behind it.

    The error is the one of `log_partition_standard_error`, which explains it, but finite where few
    samples are behind it; the status says so. With influences :math:`\psi_k` of the samples on F*
    (of blocks, where `block_size` > 1) their effective number is

    .. math:: \frac{\sum_k \psi_k^2}{\max_k \psi_k^2},

    over both sides.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; in time order where blocks are
        used.
      log_ratio_noise: the same for the noise samples, (*batch, m).
      magnification: M > 0, a number or one per batch entry.
      noise_ratio: nu > 0, as for `magnification`.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      block_size: consecutive samples per block; the last block may be shorter.

    Returns:
      A `LogPartitionEstimate`.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> s_data = 3 * (3 + jax.random.normal(key_data, (100,)))
      >>> s_noise = 3 * jax.random.normal(key_noise, (100,))  # log Z = 4.5
      >>> result = nce_jax.diagnostics.estimate_log_partition(s_data, s_noise, magnification=1e4)
      >>> print(f"{result.log_partition:.2f} +- {result.standard_error:.2f}")
      3.13 +- 0.37
      >>> print(nce_jax.Status(int(result.status)).name, f"{result.effective_samples:.1f}")
      LOW_OVERLAP 1.5

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eq. 10a.
      Martino, Elvira and Louzada, Effective sample size for importance sampling based on
        discrepancy measures, 2017 (one over the largest weight).
    """
    check_positive_int("block_size", block_size)
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    return _estimate(problem, None, block_size)


def _estimate(
    problem: Problem, log_partition: Scalars | None, block_size: int
) -> LogPartitionEstimate:
    root, status = _solved_or_given(problem, log_partition)
    has_no_overlap = status == Status.NO_OVERLAP
    problem = stop_where(has_no_overlap | jnp.isnan(root), problem)
    error, count = error_of_root(problem, root, block_size)
    return LogPartitionEstimate(
        log_partition=root,
        standard_error=jnp.where(has_no_overlap, jnp.inf, error),
        status=interval_status(status, count),
        effective_samples=count,
    )


def _solved_or_given(
    problem: Problem, log_partition: Scalars | None
) -> tuple[Float[Array, "*batch"], Real[Array, "*batch"]]:
    """The root with its status; a given F that is no root is NaN, and NONFINITE."""
    if log_partition is None:
        solution = solve_problem(problem)
        return solution.log_partition, solution.status
    root = solve_unless_given(problem, log_partition)
    has_no_overlap = lacks_overlap(problem, log_overlap(problem, root))
    status = jnp.where(has_no_overlap, Status.NO_OVERLAP, Status.CONVERGED)
    return root, jnp.where(jnp.isnan(root), Status.NONFINITE, status).astype(jnp.int32)


@one_program(*PAIR, static=("block_size",), effect=Effect())
def log_partition_standard_error(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    block_size: int = 1,
) -> Float[Array, "*batch"]:
    r"""Standard error of F*(kappa), for independent samples or, in blocks, for correlated ones.

    It is the root of

    .. math::
       \frac{\operatorname{Var}(P) / n + \kappa^2 \operatorname{Var}(Q) / m}
       {\big(E_{data}[P (1 - P)] + \kappa E_{noise}[Q (1 - Q)]\big)^2}, \qquad
       P = \sigma(\log\kappa - u(x)), \quad Q = \sigma(u(y) - \log\kappa).

    This is the sum of squared influences :math:`\psi_k = w_k\, \partial F_* / \partial w_k`, and is
    computed as such, because that form also holds for weighted samples. With `block_size` > 1 the
    influences of consecutive samples are summed first. Blocks that are longer than the correlation
    time are independent of each other.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats; in time order where blocks are
        used.
      log_ratio_noise: the same for the noise samples, (*batch, m).
      log_partition: F* of `solve_log_partition` at the same kappa; None solves for it.
      magnification: M > 0, a number or one per batch entry.
      noise_ratio: nu > 0, as for `magnification`.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      block_size: consecutive samples per block; the last block may be shorter.

    Returns:
      The standard error in nats, (*batch). It is inf where it would be too small as a rule:
      without overlap, and with fewer than `log_partition.MIN_EFFECTIVE_SAMPLES` effective samples
      (or blocks) behind it. `diagnostics.estimate_log_partition` returns their number, and the
      finite value as well. It is NaN where F* is, or where a given F
      is no root.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> s_data = 1 + jax.random.normal(key_data, (500,))
      >>> s_noise = jax.random.normal(key_noise, (500,))
      >>> print(f"{nce_jax.log_partition_standard_error(s_data, s_noise):.4f}")
      0.0330

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eq. 10a.
      Flyvbjerg and Petersen, Error estimates on averages of correlated data, 1989 (blocks).
    """
    check_positive_int("block_size", block_size)
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    estimate = _estimate(problem, log_partition, block_size)
    return jnp.where(estimate.status == Status.LOW_OVERLAP, jnp.inf, estimate.standard_error)


def error_of_root(
    problem: Problem, root: jax.Array, block_size: int
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The standard error of the root, and the effective number of samples behind it."""
    weights = (problem.data.weights, problem.noise.weights)
    sides = list(zip(_influences(problem, root), weights, strict=True))
    variance = sum(jackknife_variance(*side, block_size) for side in sides)
    # Samples of the dtype were rounded by about as much as F is.
    error = jnp.sqrt(variance + rounding_variance(root))
    return error, effective_samples(*sides, block_size=block_size)


def _influences(problem: Problem, root: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The influence w_k dF*/dw_k of every sample on F*; the influences of each side sum to zero."""
    sides = problem.data, problem.noise
    weights = tuple(
        jnp.ones_like(side.values) if side.weights is None else side.weights for side in sides
    )

    def total(weights):
        data, noise = (
            Samples(side.values, w, jnp.sum(w, axis=-1))
            for side, w in zip(sides, weights, strict=True)
        )
        return jnp.sum(implicit_root(root, Problem(data, noise, problem.log_kappa)))

    slopes = jax.grad(total)(weights)
    return weights[0] * slopes[0], weights[1] * slopes[1]
