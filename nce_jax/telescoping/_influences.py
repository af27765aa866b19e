"""Influences of pairs of samples on the normalizers of all stages, and the error of their sum."""

import jax
import jax.numpy as jnp

from nce_jax._numerics import expand, jackknife_variance, weighted_mean
from nce_jax.log_partition.equation import acceptance_logits, lacks_overlap, log_overlap
from nce_jax.log_partition.problem import Problem


def joint_error(
    problem: Problem, roots: jax.Array, influence: jax.Array, block_size: int = 1
) -> jax.Array:
    """Standard error from the influences of the pairs, (n,); inf where any stage has no overlap."""
    has_gap = jnp.any(lacks_overlap(problem, log_overlap(problem, roots)))
    weights = None if problem.data.weights is None else problem.data.weights[0]
    error = jnp.sqrt(jackknife_variance(influence, weights, block_size))
    return jnp.where(has_gap, jnp.inf, error)


def pair_influences(problem: Problem, roots: jax.Array) -> jax.Array:
    r"""Influence of pair i on F_k through the stage's data and noise together, (K, n).

    .. math::
        \psi_{k,i} = -\frac{R_{k,i} - \operatorname{mean}_i R_{k,i}}{n H_k},
        \qquad R_{k,i} = P_{k,i} - \kappa Q_{k,i}

    The influences on every F_k sum to zero. With weights, which both sides share, the mean is a
    weighted one, and 1 / n becomes the normalized weight.
    """
    kappa, weights = jnp.exp(problem.log_kappa), problem.data.weights
    data, noise = acceptance_logits(problem, roots)
    slope = _mean_slope(data, weights) + kappa * _mean_slope(noise, weights)
    terms = _small_part(data, weights) - expand(kappa) * _small_part(noise, weights)
    # Without overlap the slope is zero, and `joint_error` returns infinity.
    slope = jnp.maximum(slope, jnp.finfo(slope.dtype).tiny)
    centered = terms - expand(weighted_mean(terms, weights))
    shares = 1 if weights is None else weights
    return -shares * centered / expand(slope * problem.data.total)


def _mean_slope(distance: jax.Array, weights: jax.Array | None) -> jax.Array:
    return weighted_mean(jax.nn.sigmoid(distance) * jax.nn.sigmoid(-distance), weights)


def _small_part(distance: jax.Array, weights: jax.Array | None) -> jax.Array:
    """sigma or sigma - 1, whichever is the smaller one and so keeps its digits.

    The two differ by a constant, which is removed with the mean.
    """
    sigma = jax.nn.sigmoid(distance)
    is_small = expand(weighted_mean(sigma, weights)) < 0.5
    return jnp.where(is_small, sigma, -jax.nn.sigmoid(-distance))
