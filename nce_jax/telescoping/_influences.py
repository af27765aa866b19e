"""The influences of samples on the normalizers F_k of stages."""

import jax
import jax.numpy as jnp

from nce_jax._numerics import expand, weighted_mean
from nce_jax.log_partition import Problem, Samples, acceptance_logits


def pair_influences(problem: Problem, roots: jax.Array) -> jax.Array:
    r"""Influence of pair i on F_k through the stage's data and noise together, (K, n).

    .. math::
        \psi_{k,i} = -\frac{R_{k,i} - \operatorname{mean}_i R_{k,i}}{n H_k},
        \qquad R_{k,i} = P_{k,i} - \kappa Q_{k,i}

    The influences on every F_k sum to zero.
    """
    data, noise = side_influences(problem, roots)
    return data + noise


def side_influences(problem: Problem, roots: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The influences on F_k of a stage's data, (K, n), and of its noise, (K, m).

    Those of every side sum to zero.
    """
    kappa = jnp.exp(problem.log_kappa)
    sides = problem.data, problem.noise
    distances = acceptance_logits(problem, roots)
    slopes = [_mean_slope(*parts) for parts in zip(distances, sides, strict=True)]
    # Without overlap the slope is zero, and `joint_error` returns infinity.
    slope = jnp.maximum(slopes[0] + kappa * slopes[1], jnp.finfo(kappa.dtype).tiny)
    data, noise = (
        _deviations(distance, side) / expand(slope)
        for distance, side in zip(distances, sides, strict=True)
    )
    return -data, expand(kappa) * noise


def sum_of_influences(data: jax.Array, noise: jax.Array) -> jax.Array:
    """The influences on sum_k F_k, one per index of the samples, from (K, n) and (K, m).

    A sample that occurs in two stages has the same index in both.
    """
    totals = [jnp.sum(side, axis=0) for side in (data, noise)]
    longest = max(total.size for total in totals)
    data, noise = (jnp.pad(total, (0, longest - total.size)) for total in totals)
    return data + noise


def _mean_slope(distance: jax.Array, side: Samples) -> jax.Array:
    return weighted_mean(jax.nn.sigmoid(distance) * jax.nn.sigmoid(-distance), side.weights)


def _deviations(distance: jax.Array, side: Samples) -> jax.Array:
    """sigma less its mean, times the sample's share in the weights.

    It is computed from sigma or sigma - 1, whichever is the smaller one and so keeps its digits.
    """
    sigma = jax.nn.sigmoid(distance)
    is_small = expand(weighted_mean(sigma, side.weights)) < 0.5
    terms = jnp.where(is_small, sigma, -jax.nn.sigmoid(-distance))
    shares = 1 if side.weights is None else side.weights
    return shares * (terms - expand(weighted_mean(terms, side.weights))) / expand(side.total)
