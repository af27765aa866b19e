r"""The normalizers of all stages from all samples at once, with errors by row.

At a sample x, the log density of bridge k relative to that of the last one, the noise, is
:math:`\sum_{j \ge k} (s_j(x) - F_j)`. The bridges are thus K + 1 states of one network with the
free energies :math:`f_k = -\sum_{j \ge k} F_j`, so that :math:`F_k = f_{k+1} - f_k`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_sample_array,
    as_samples,
    as_weights,
    check_positive_int,
    compute_dtype,
)
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import rounding_variance, weighted_mean
from nce_jax._offset import Effect, add_constant, find_split
from nce_jax._options import check_flag
from nce_jax._padding import program_dtype
from nce_jax._types import Array, Float, Int, Weights
from nce_jax.free_energy import StateFreeEnergies, mbar
from nce_jax.log_partition import Status, interval_status
from nce_jax.telescoping._joint_influences import adjacent_pairs, joint_influences, row_covariance


class JointLogPartitions(NamedTuple):
    """The normalizers of all stages of a chain, estimated jointly, with their errors.

    Attributes:
      log_partition: F_k of every stage, (K,), in nats; NaN unless the status is CONVERGED or
        LOW_OVERLAP.
      standard_error: standard error of F_k, (K,), the root of the diagonal of `covariance`.
      covariance: joint covariance of all F_k, (K, K), from the scatter of the rows; NaN in the row
        and the column of a stage without an estimate.
      total: F = sum_k F_k; NaN where any of them is.
      total_standard_error: standard error of `total`, from the whole covariance.
      kl: mean over the data of sum_k s_k, less F: an estimate of KL(p || q).
      kl_standard_error: standard error of `kl` for the log ratios as they are.
      disagreement: F_k less its estimate from the two bridges of the stage alone, (K,), in standard
        errors of that difference. Beyond about 4, some stage does not contain the log ratio of its
        bridges; it may be a neighbor.
      status: a `Status` of every stage, (K,), int32: NO_OVERLAP where no chain of overlapping
        bridges connects the two ends of the stage or one of them has no samples, LOW_OVERLAP where
        `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`. Where any is
        LOW_OVERLAP, `total_standard_error` is too small, as a rule.
      effective_samples: the effective number of rows (or blocks) behind the error of every stage,
        (K,): none contributes more than one over this number to the variance.
    """

    log_partition: Float[Array, " stages"]
    standard_error: Float[Array, " stages"]
    covariance: Float[Array, "stages stages"]
    total: Float[Array, ""]
    total_standard_error: Float[Array, ""]
    kl: Float[Array, ""]
    kl_standard_error: Float[Array, ""]
    disagreement: Float[Array, " stages"]
    status: Int[Array, " stages"]
    effective_samples: Float[Array, " stages"]


_EFFECTS = (Effect("log_partition"), Effect("total", "total_standard_error", is_sum=True))


def joint_log_partitions(
    log_ratios: Float[Array, "stages stages_and_one n"],
    *,
    weights: Weights | None = None,
    shared_samples: bool = True,
    block_size: int = 1,
) -> JointLogPartitions:
    r"""Estimates the normalizers of all stages jointly, from the samples of all bridges.

    With :math:`f_k = -\sum_{j \ge k} F_j`, the free energies of the bridges, the maximum likelihood
    estimate of `nce_jax.mbar` minimizes

    .. math::
       \sum_{b,i} \log \sum_k n_k
       \exp\Big(f_k + \sum_{j \ge k} s_j(x_{b,i})\Big) - \sum_k n_k f_k .

    A sample of one bridge speaks for all stages, where the adjacent pairs of `stage_diagnostics`
    hear only those of a stage's own two bridges. With one stage both are the same, for a
    magnification of 1. Where every stage is the log ratio of its bridges up to a constant and all
    samples are independent, no estimate from these log ratios has a smaller asymptotic variance.
    docs/concepts.md has a table of what it saves.

    Bridges that are made of the same pair (x, y) are coupled, which that statement does not cover,
    nor does the covariance of `mbar`. The errors here are sums over rows instead: the influences
    that row i of every bridge has on :math:`F_k` are added up before they are squared.

    If a stage does *not* contain the log ratio of its bridges, the joint estimate and that of
    adjacent pairs tend to different numbers, since the former evaluates the stage at the samples of
    bridges that it was not trained on. `disagreement` is their difference in its standard errors,
    about standard normal where all stages are right.

    Args:
      log_ratios: s_j(x_k) at [j, k], (K, K + 1, n), in nats: the result of `bridge_log_ratios`.
      weights: weights >= 0 of the samples, (K + 1, n) or (n,); zero is padding, for bridges with
        different numbers of samples. A bridge counts for its effective number of samples.
      shared_samples: whether row i of every bridge comes from the same pair, as in `bridges`. False
        for bridges that were sampled on their own.
      block_size: consecutive rows per block, for correlated rows.

    Returns:
      A `JointLogPartitions`. `log_partition`, `total` and `kl` are differentiable in `log_ratios`;
      the errors are taken as constants.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: an array of another shape.

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
      >>> stages_fn = telescoping.separate(lambda theta, x: theta * x)
      >>> slopes = jnp.array([2.4, 3.6])  # N(6, 1), N(3.6, 1), N(0, 1)
      >>> joint = telescoping.joint_log_partitions(
      ...     telescoping.bridge_log_ratios(stages_fn, slopes, x)
      ... )
      >>> print(f"{joint.total:.2f} +- {joint.total_standard_error:.2f}, exactly 18")
      18.01 +- 0.13, exactly 18

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008 (the estimate).
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020 (the stages).
    """
    log_ratios = as_sample_array("log_ratios", log_ratios)
    shape = log_ratios.shape
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[0] + 1:
        raise ValueError(f"log_ratios: expected shape (K, K + 1, n), got shape {shape}")
    check_flag("shared_samples", shared_samples)
    check_positive_int("block_size", block_size)
    log_ratios, constants = _differenced(log_ratios, weights)
    result = _joint_log_partitions(
        log_ratios, weights=weights, shared_samples=shared_samples, block_size=block_size
    )
    return result if constants is None else add_constant(result, constants, _EFFECTS, "log_ratios")


def _differenced(log_ratios: Any, weights: Any) -> tuple[Any, np.ndarray | None]:
    """More precise log ratios of the host less a constant of every stage, and these constants."""
    is_traced = isinstance(weights, jax.core.Tracer)
    is_traced |= isinstance(jax.device_put(np.float32(0)), jax.core.Tracer)
    if is_traced or not isinstance(log_ratios, np.ndarray):
        return log_ratios, None
    if log_ratios.dtype.itemsize <= program_dtype([log_ratios]).itemsize:
        return log_ratios, None
    stages = np.arange(len(log_ratios))
    own = np.concatenate([log_ratios[stages, stages], log_ratios[stages, stages + 1]], axis=-1)
    constants = find_split([own], [1], None, _EFFECTS).constant
    return log_ratios - constants[:, None, None], constants


@one_program(SampleSet("log_ratios", "weights"), static=("shared_samples", "block_size"))
def _joint_log_partitions(
    log_ratios: Any, *, weights: Any, shared_samples: bool, block_size: int
) -> JointLogPartitions:
    values = as_samples("log_ratios", log_ratios)
    values = values.astype(compute_dtype(values))
    weights = as_weights("weights", weights, values[0])
    weights = jnp.ones_like(values[0]) if weights is None else weights
    values = jnp.where(weights[None] == 0, 0, values)
    potentials = _potentials(values)
    num_states, _, num_rows = potentials.shape
    states = mbar(
        potentials.reshape(num_states, -1), [num_rows] * num_states, weights=weights.reshape(-1)
    )
    has_samples = jnp.any(weights > 0, axis=-1)
    log_partition = jnp.diagonal(states.delta_f, offset=1)
    log_partition = jnp.where(has_samples[:-1] & has_samples[1:], log_partition, jnp.nan)
    total, sums = jnp.sum(log_partition), jnp.sum(values[:, 0], axis=0)
    mean = weighted_mean(sums, weights[0])
    # What judges a result passes no gradient.
    fixed = jax.lax.stop_gradient((potentials, weights, states, values, log_partition, sums, mean))
    potentials, weights, states, values, known, *of_data = fixed
    of_stages = joint_influences(potentials, weights, states)
    pairs, of_pairs = adjacent_pairs(values, weights)
    of_mean = weights[0] * (of_data[0] - of_data[1]) / jnp.sum(weights[0])
    of_total = jnp.sum(of_stages, axis=0)
    of_kl = (-of_total).at[0].add(of_mean)
    quantities = jnp.stack([of_total, of_kl]), of_stages, of_stages - of_pairs
    covariance, number = row_covariance(
        jnp.concatenate(quantities), weights, shared_samples, block_size
    )
    (of_total, of_kl), variances, of_differences = jnp.split(
        jnp.diagonal(covariance), [2, 2 + len(log_partition)]
    )
    stages = slice(2, 2 + len(log_partition))
    return JointLogPartitions(
        log_partition=log_partition,
        standard_error=_root(variances, log_partition),
        covariance=_where_known(covariance[stages, stages], log_partition),
        total=total,
        total_standard_error=_root(of_total, total),
        kl=mean - total,
        kl_standard_error=_root(of_kl + rounding_variance(of_data[1]), mean - total),
        disagreement=_in_errors(known - pairs, of_differences, known),
        status=_status(states, log_partition, number[stages]),
        effective_samples=number[stages],
    )


def _potentials(log_ratios: jax.Array) -> jax.Array:
    """u_k(x_b) relative to that in the sample's own bridge, (K + 1, K + 1, n), from s_j(x_b).

    They are sums from the own bridge outwards, so that a stage beyond which a sample has no density
    adds nothing to the potentials on its other side.
    """
    stage, bridge = np.indices(log_ratios.shape[:2])[..., None]
    beyond = jnp.cumsum(jnp.where(stage >= bridge, log_ratios, 0), axis=0)
    before = jnp.cumsum(jnp.where(stage < bridge, log_ratios, 0)[::-1], axis=0)[::-1]
    return jnp.pad(beyond, ((1, 0), (0, 0), (0, 0))) - jnp.pad(before, ((0, 1), (0, 0), (0, 0)))


def _root(variance: jax.Array, value: jax.Array) -> jax.Array:
    """The standard error of a value, NaN where that is."""
    value = jax.lax.stop_gradient(value)
    return jnp.where(jnp.isnan(value), jnp.nan, jnp.sqrt(variance + rounding_variance(value)))


def _in_errors(difference: jax.Array, variance: jax.Array, value: jax.Array) -> jax.Array:
    """A difference to a value in standard errors, which include the tolerance of two solves.

    A stage without neighbors has the same estimate twice.
    """
    eps = jnp.finfo(value.dtype).eps
    tolerance = 4 * (eps**0.75 + eps * jnp.abs(value))
    return difference / jnp.sqrt(variance + jnp.square(tolerance))


def _where_known(covariance: jax.Array, log_partition: jax.Array) -> jax.Array:
    is_known = ~jnp.isnan(log_partition)
    return jnp.where(is_known[:, None] & is_known[None], covariance, jnp.nan)


def _status(states: StateFreeEnergies, log_partition: jax.Array, number: jax.Array) -> jax.Array:
    """The status of every stage, from those of its two ends."""
    status = jnp.where(jnp.isnan(log_partition), Status.NO_OVERLAP, Status.CONVERGED)
    for failure in (Status.MAX_STEPS, Status.NONFINITE):
        has_failed = states.status == failure
        status = jnp.where(has_failed[:-1] | has_failed[1:], failure, status)
    return interval_status(status.astype(jnp.int32), number)
