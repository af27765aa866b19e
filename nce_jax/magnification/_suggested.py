"""One M from log ratios, to be kept."""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_pair, as_scalar, check_positive
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition import make_problem
from nce_jax.magnification._candidates import tabulate

_GRID = np.geomspace(1.0, 1e6, 31)


def suggested_magnification(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    """The largest M that the noise samples of a batch support, from the log ratios of a model that
    fits the data roughly.

    At M the noise side of the gradient is a sum of weights kappa Q_j, kappa = noise_ratio M, and
    its effective samples are m E_data[P]^2 / (kappa E_data[P (1 - P)]), P = sigma(log kappa - u): a
    second moment taken from the data, which lie where the noise samples that would carry it are
    missing; or the one seen on the noise, where that is larger. Ten are asked for. This is as near
    to maximum likelihood as the samples allow, which is not the best M: for many steps M = 1 or
    `adaptive_magnification` ends at smaller errors.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), at parameters of which a batch of this
        size can tell: after a short pilot run, say. Where s is constant and m at least ten every M
        is supported.
      log_ratio_noise: s of the noise samples, (*batch, m), m as in training.
      noise_ratio: nu > 0, a number or one per batch entry.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      M between 1 and 1e6, (*batch), five values to a decade; 1 where even that leaves less than ten
      effective samples; NaN where a log ratio or weight is not finite.

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
