"""A constant M from the log ratios of one batch."""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_pair, as_scalar, check_positive
from nce_jax._eager import PAIR, one_program
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition import make_problem
from nce_jax.magnification._candidates import tabulate

_GRID = np.geomspace(1.0, 1e6, 31)
"""The candidates: five in a decade."""


@one_program(*PAIR, effect=Effect())
def suggested_magnification(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""The largest M that the noise samples of a batch support, for a model that fits roughly.

    At M the noise side of the gradient is a sum with weights :math:`\kappa Q_j`,
    :math:`\kappa = \nu M`. Their effective number of samples is
    :math:`m E_{data}[P]^2 / (\kappa E_{data}[P (1 - P)])`, :math:`P = \sigma(\log\kappa - u)`. The
    second moment in the denominator is computed from the data, which lie where the noise samples
    that would dominate it are missing; where the estimate from the noise is larger, it is used
    instead. M is supported if ten effective samples are left. This M is as near to maximum
    likelihood as the samples allow, which is not the best M: over many steps M = 1 or
    `adaptive_magnification` ends at smaller errors.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), at parameters after a short pilot run. If
        s is constant and m at least ten, every M is supported.
      log_ratio_noise: s of the noise samples, (*batch, m), with m as in training.
      noise_ratio: nu > 0, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      M between 1 and 1e6, (*batch), from five values in a decade. It is 1 where even M = 1 leaves
      fewer than ten effective samples. It is NaN where a log ratio or a weight is NaN, a weight is
      infinite, or the loss is, as of data at s = -inf or noise at s = +inf.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_data, key_noise = jax.random.split(jax.random.key(0))
      >>> x_data = 3 + jax.random.normal(key_data, (512,))
      >>> x_noise = jax.random.normal(key_noise, (512,))
      >>> print(f"{nce_jax.suggested_magnification(3 * x_data, 3 * x_noise):.1f}")
      63.1

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (choosing M).
      Ionides, Truncated importance sampling, 2008.
    """
    check_positive("noise_ratio", noise_ratio)
    data, noise, weights_data, weights_noise = as_pair(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise
    )
    ratio = as_scalar("noise_ratio", noise_ratio, data)

    def choose(data, noise, ratio, weights_data, weights_noise) -> jax.Array:
        grid = jnp.asarray(_GRID, data.dtype)

        def equation_at(magnification):
            return make_problem(data, noise, weights_data, weights_noise, magnification, ratio)

        table = tabulate(equation_at, grid, jnp.full(grid.shape, jnp.nan, data.dtype))
        return jnp.where(jnp.isfinite(table.acceptance[0]), grid[table.largest_supported], jnp.nan)

    for _ in data.shape[:-1]:
        choose = jax.vmap(choose)
    return choose(data, noise, ratio, weights_data, weights_noise)
