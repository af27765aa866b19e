"""Overlap of model and noise at the root."""

import jax.numpy as jnp

from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import stop_where
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition import log_overlap, make_problem, solve_unless_given


@one_program(*PAIR, effect=Effect())
def overlap(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    log_partition: Scalars | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
) -> Float[Array, "*batch"]:
    r"""Overlap of model and noise at the root F*: 1 if they are equal, 0 if they are disjoint.

    It is :math:`O = \frac{1 + \kappa}{\kappa} E_{data}[\sigma(\log\kappa - u)]`, with
    :math:`u = s - F_*`. For data from the model it estimates the integral of the weighted harmonic
    mean of both densities. A value above 1 means that the ratios are inverted: data have lower log
    ratios than noise. Below 1 / (n + m) hardly any sample of one set is plausible under the other,
    and F* is no estimate of a log Z.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      log_partition: F* of `solve_log_partition` at the same kappa; None solves for it.
      magnification: M > 0, a number or one per batch entry.
      noise_ratio: nu > 0, as for `magnification`. At nu = m / n pymbar's overlap scalar estimates
        the same number.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.

    Returns:
      The overlap, (*batch); NaN where F* is, or where a given F is no root.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.overlap(s_data, s_noise):.4f}")
      0.5303

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, section
        IV.
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (overlap).
    """
    problem = make_problem(
        log_ratio_data, log_ratio_noise, weights_data, weights_noise, magnification, noise_ratio
    )
    root = solve_unless_given(problem, log_partition)
    return jnp.exp(log_overlap(stop_where(jnp.isnan(root), problem), root))
