"""Standard error of the profiled normalizer, by the infinitesimal jackknife."""

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._eager import PAIR, one_program
from nce_jax._numerics import jackknife_variance, stop_where
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.log_partition import (
    Problem,
    Samples,
    implicit_root,
    lacks_overlap,
    log_overlap,
    make_problem,
    solve_unless_given,
)


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
      The standard error in nats, (*batch). It is inf with a single sample or block on one side, or
      without overlap, and NaN where F* is, or where a given F is no root.

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
    root = solve_unless_given(problem, log_partition)
    has_no_overlap = lacks_overlap(problem, log_overlap(problem, root))
    problem = stop_where(has_no_overlap | jnp.isnan(root), problem)
    influences = _influences(problem, root)
    sides = zip(influences, (problem.data, problem.noise), strict=True)
    variance = sum(
        jackknife_variance(influence, side.weights, block_size) for influence, side in sides
    )
    return jnp.where(has_no_overlap, jnp.inf, jnp.sqrt(variance))


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
