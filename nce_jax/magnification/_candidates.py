r"""A table of every candidate M, from the log ratios of one batch.

With :math:`P = \sigma(\log\kappa - u)` of the data, :math:`Q = \sigma(u - \log\kappa)` of the noise
and :math:`u = s - F(M)`, the gradient of the loss is
:math:`E_{noise}[\kappa Q\, \partial s] - E_{data}[P\, \partial s]`. To leading order its size is
the *acceptance* :math:`A = E_{data}[P] = E_{noise}[\kappa Q]`. Its variance is :math:`\nu / n`,
with :math:`\nu = E_{data}[P^2] + (n / m) E_{noise}[(\kappa Q)^2]`.

The second moment of the noise side is dominated by samples that a batch may not contain. Where
model and data agree, :math:`E_{noise}[(\kappa Q)^2] = \kappa E_{data}[P (1 - P)]`, and the *data*
lie where those samples are missing. So :math:`\nu` is computed from the data.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._numerics import sample_count, weighted_mean
from nce_jax.log_partition import Problem, acceptance_logits, solve_problem

MIN_EFFECTIVE = 10.0
"""An M above 1 is supported if it leaves at least this many effective noise samples. The importance
weights then have a relative error of at most a third."""


class Candidates(NamedTuple):
    """The table: one entry per candidate M, except for the two indices.

    Attributes:
      log_partition: F at this M.
      acceptance: A.
      variance: nu.
      overlooked: F at the largest supported M less F at this one, in nats: log of the model's mass
        that this M overlooks. Zero from the largest supported M on.
      overlooked_variance: the sampling variance of `overlooked`.
      largest_supported: index of the largest M that the noise samples support.
      clearest: index of the supported M whose gradient has the largest drift for its noise.
    """

    log_partition: jax.Array
    acceptance: jax.Array
    variance: jax.Array
    overlooked: jax.Array
    overlooked_variance: jax.Array
    largest_supported: jax.Array
    clearest: jax.Array


class SampleDerivatives(NamedTuple):
    """Derivatives of the loss by each log ratio, (n,) of the data and (m,) of the noise.

    Attributes:
      first_data: P, minus n times the first derivative.
      first_noise: kappa Q, m times the first derivative.
      second_data: P (1 - P), n times the second derivative.
      second_noise: kappa Q (1 - Q), m times the second derivative.
    """

    first_data: jax.Array
    first_noise: jax.Array
    second_data: jax.Array
    second_noise: jax.Array


def sample_derivatives(
    problem: Problem, initial: jax.Array
) -> tuple[jax.Array, jax.Array, SampleDerivatives]:
    """F, kappa and the derivatives of the loss at one M; the solve for F starts at `initial`."""
    root = solve_problem(problem, initial=initial).log_partition
    kappa = jnp.exp(problem.log_kappa)
    p, q = map(jax.nn.sigmoid, acceptance_logits(problem, root))
    return root, kappa, SampleDerivatives(p, kappa * q, p * (1 - p), kappa * q * (1 - q))


def tabulate(
    equation_at: Callable[[jax.Array], Problem], magnifications: jax.Array, initial: jax.Array
) -> Candidates:
    """Tabulates the candidates.

    Args:
      equation_at: `equation_at(M)`, the equation for F at that M.
      magnifications: the candidates, in ascending order.
      initial: where the solve for F starts, one per candidate; NaN leaves it to the solver.

    Returns:
      The table.
    """
    problem = equation_at(magnifications[0])
    count_data, count_noise = (
        sample_count(side.values, side.weights) for side in (problem.data, problem.noise)
    )
    sides = problem.data.weights, problem.noise.weights
    weights_data, weights_noise = (None if weights is None else weights[None] for weights in sides)

    root, kappa, derivatives = jax.vmap(
        lambda magnification, start: sample_derivatives(equation_at(magnification), start)
    )(magnifications, initial)
    p, kappa_q, second_data, second_noise = derivatives
    acceptance = weighted_mean(p, weights_data)
    moment_from_data = kappa * weighted_mean(second_data, weights_data)
    # The larger of both estimates: where model and data differ, either may miss mass that the other
    # has samples of.
    moment = jnp.maximum(moment_from_data, weighted_mean(kappa_q**2, weights_noise))
    effective_samples = count_noise * acceptance**2 / moment
    is_supported = (effective_samples >= MIN_EFFECTIVE) | (magnifications <= 1)
    indices = jnp.arange(magnifications.size)
    largest = jnp.max(jnp.where(is_supported, indices, 0))
    slope = weighted_mean(second_data, weights_data) + weighted_mean(second_noise, weights_noise)
    influence_data = (p - acceptance[:, None]) / slope[:, None]
    influence_noise = (kappa_q - weighted_mean(kappa_q, weights_noise)[:, None]) / slope[:, None]
    # To first order F(largest) - F(M) is a mean of differences of influences, data and noise
    # independent of each other.
    overlooked_variance = (
        weighted_mean((influence_data - influence_data[largest][None]) ** 2, weights_data)
        / count_data
        + weighted_mean((influence_noise - influence_noise[largest][None]) ** 2, weights_noise)
        / count_noise
    )
    variance = weighted_mean(p**2, weights_data) + count_data / count_noise * moment_from_data
    is_below = indices < largest
    return Candidates(
        log_partition=root,
        acceptance=acceptance,
        variance=variance,
        overlooked=jnp.where(is_below, root[largest] - root, 0),
        overlooked_variance=jnp.where(is_below, overlooked_variance, 0),
        largest_supported=largest,
        clearest=jnp.argmax(jnp.where(indices <= largest, acceptance**2 / variance, 0)),
    )
