"""The standard error of the sum of the normalizers of stages, or of windows that share samples."""

from collections.abc import Sequence

import jax

from nce_jax._checks import check_positive_int
from nce_jax._eager import PAIR, one_program
from nce_jax._offset import Effect
from nce_jax._ragged import as_windows
from nce_jax._types import Array, Float, Scalars, Weights
from nce_jax.telescoping._influences import (
    joint_error,
    side_influences,
    smallest_number,
    solved_stages,
    sum_of_influences,
)


def joint_standard_error(
    log_ratio_data: Float[Array, "stages n"] | Sequence[Float[Array, " n"]],
    log_ratio_noise: Float[Array, "stages m"] | Sequence[Float[Array, " m"]],
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
    return _joint_standard_error(
        data,
        noise,
        weights_data=weights_data,
        weights_noise=weights_noise,
        log_partition=log_partition,
        magnification=magnification,
        noise_ratio=noise_ratio,
        block_size=block_size,
    )


@one_program(*PAIR, static=("block_size",), effect=Effect())
def _joint_standard_error(
    log_ratio_data, log_ratio_noise, *, weights_data, weights_noise, block_size, **options
) -> jax.Array:
    check_positive_int("block_size", block_size)
    problem, roots = solved_stages(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, **options
    )
    sides = side_influences(problem, roots)
    total = sum_of_influences(*sides)
    number = smallest_number(problem, sides, total, block_size)
    return joint_error(problem, roots, total, number, block_size)
