"""The influences of samples on the normalizers F_k of stages, and the error of their sum."""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._numerics import (
    effective_samples,
    expand,
    jackknife_variance,
    rounding_variance,
    sample_count,
    stop_where,
    weighted_mean,
)
from nce_jax.log_partition import (
    MIN_EFFECTIVE_SAMPLES,
    Problem,
    Samples,
    acceptance_logits,
    lacks_overlap,
    log_overlap,
    make_problem,
    solve_unless_given,
)


def solved_stages(
    data, noise, weights_data, weights_noise, *, log_partition, magnification, noise_ratio
) -> tuple[Problem, jax.Array]:
    """The equations of all stages, and their roots."""
    if 0 in np.shape(data)[:1]:
        raise ValueError(f"log_ratio_data: expected at least one stage, got shape {np.shape(data)}")
    problem = make_problem(data, noise, weights_data, weights_noise, magnification, noise_ratio)
    roots = solve_unless_given(problem, log_partition)
    return stop_where(jnp.isnan(roots), problem), roots


def joint_error(
    problem: Problem, roots: jax.Array, influence: jax.Array, number: jax.Array, block_size: int
) -> jax.Array:
    """Standard error from the influences of the pairs, (n,).

    It is inf where any stage has no overlap, or where few samples determine the normalizers.
    """
    sides = problem.data, problem.noise
    counts = jnp.stack([sample_count(side.values, side.weights) for side in sides])
    # The mean is fitted on every side; the correction is that of the shortest one.
    shortest = jnp.arange(influence.shape[-1], dtype=counts.dtype) < jnp.min(counts)
    variance = jackknife_variance(influence, shortest.astype(influence.dtype), block_size)
    variance = variance + jnp.sum(rounding_variance(roots))
    has_gap = jnp.any(lacks_overlap(problem, log_overlap(problem, roots)))
    has_interval = ~has_gap & (number >= MIN_EFFECTIVE_SAMPLES)
    is_known = has_interval | jnp.isnan(variance)
    return jnp.where(is_known, jnp.sqrt(variance), jnp.inf)


def smallest_number(
    problem: Problem, sides: tuple[jax.Array, jax.Array], total: jax.Array, block_size: int
) -> jax.Array:
    """The effective number of samples behind F or behind any F_k, whichever is smallest.

    Args:
      problem: the stages.
      sides: the influences on every F_k.
      total: the influences on F, (n,).
      block_size: pairs per block.
    """
    weights = problem.data.weights, problem.noise.weights
    of_stages = effective_samples(*zip(sides, weights, strict=True), block_size=block_size)
    return jnp.minimum(jnp.min(of_stages), effective_samples((total, None), block_size=block_size))


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
