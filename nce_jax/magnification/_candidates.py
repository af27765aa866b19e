"""What a batch says about every candidate M, from its log ratios alone.

With P = sigma(log kappa - u) of the data and Q = sigma(u - log kappa) of the noise, u = s - F(M),
the gradient of the loss is E_noise[kappa Q ds] - E_data[P ds]. To leading order its size is the
*acceptance* A = E_data[P] = E_noise[kappa Q] and the noise in it is nu = E_data[P^2] + (n / m)
E_noise[(kappa Q)^2], over n. The second moment of the noise side is dominated by samples that a
batch may not contain; but where model and data agree, E_noise[(kappa Q)^2] = kappa E_data[P (1 -
P)], and the *data* are where those samples are missing. So nu is taken from the data.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.log_partition import Problem, acceptance_logits, solve_problem
from nce_jax.numerics import sample_count, weighted_mean

MIN_EFFECTIVE = 10.0
"""Effective noise samples that M > 1 has to leave: the importance weights then err by a third at
most."""


class Candidates(NamedTuple):
    """One entry per candidate M, except `largest`, the index of the largest that is supported by
    the noise samples.

    `acceptance`, `variance` and `effective_samples` are A, nu and the effective noise samples m A^2
    / E[(kappa Q)^2]. `unseen` is F at the largest supported M less F at this one: log of the
    model's mass that this M overlooks, with its sampling variance. `clearest` is the index of the
    supported M whose gradient has the largest drift for its noise.
    """

    log_partition: jax.Array
    acceptance: jax.Array
    variance: jax.Array
    effective_samples: jax.Array
    unseen: jax.Array
    unseen_variance: jax.Array
    largest: jax.Array
    clearest: jax.Array


class Shares(NamedTuple):
    """Every sample's share in the gradient of the loss, P and kappa Q, and in its Hessian; (n,) and
    (m,).
    """

    pull_data: jax.Array
    pull_noise: jax.Array
    curvature_data: jax.Array
    curvature_noise: jax.Array


def share(problem: Problem, initial: jax.Array) -> tuple[jax.Array, jax.Array, Shares]:
    """F, kappa and the shares at one M."""
    root = solve_problem(problem, initial=initial).log_partition
    kappa, (to_data, to_noise) = jnp.exp(problem.log_kappa), acceptance_logits(problem, root)
    p, q = jax.nn.sigmoid(to_data), jax.nn.sigmoid(to_noise)
    return root, kappa, Shares(p, kappa * q, p * (1 - p), kappa * q * (1 - q))


def examine(
    equation_at: Callable[[jax.Array], Problem], magnifications: jax.Array, initial: jax.Array
) -> Candidates:
    """Tabulates the candidates; `equation_at(M)` is the equation for F at that M, `initial` where
    its solve starts.
    """
    problem = equation_at(magnifications[0])
    count_data, count_noise = (
        sample_count(side.values, side.weights) for side in (problem.data, problem.noise)
    )
    sides = problem.data.weights, problem.noise.weights
    weights_data, weights_noise = (None if weights is None else weights[None] for weights in sides)

    root, kappa, shares = jax.vmap(lambda m, start: share(equation_at(m), start))(
        magnifications, initial
    )
    p, pull_noise, curve_data, curve_noise = shares
    acceptance = weighted_mean(p, weights_data)
    # The larger of both views: where model and data differ, either may miss what the other sees.
    second_moment = kappa * weighted_mean(curve_data, weights_data)
    carried = jnp.maximum(second_moment, weighted_mean(pull_noise**2, weights_noise))
    effective = count_noise * acceptance**2 / carried
    supported = (effective >= MIN_EFFECTIVE) | (magnifications <= 1)
    largest = jnp.max(jnp.where(supported, jnp.arange(magnifications.size), 0))
    slope = weighted_mean(curve_data, weights_data) + weighted_mean(curve_noise, weights_noise)
    influence_data = (p - acceptance[:, None]) / slope[:, None]
    influence_noise = (pull_noise - weighted_mean(pull_noise, weights_noise)[:, None]) / slope[
        :, None
    ]
    spread = (
        weighted_mean((influence_data - influence_data[largest][None]) ** 2, weights_data)
        / count_data
        + weighted_mean((influence_noise - influence_noise[largest][None]) ** 2, weights_noise)
        / count_noise
    )
    variance = weighted_mean(p**2, weights_data) + count_data / count_noise * second_moment
    places = jnp.arange(magnifications.size)
    clearness = jnp.where(places <= largest, acceptance**2 / variance, 0)
    below = places < largest
    return Candidates(
        log_partition=root,
        acceptance=acceptance,
        variance=variance,
        effective_samples=effective,
        unseen=jnp.where(below, root[largest] - root, 0),
        unseen_variance=jnp.where(below, spread, 0),
        largest=largest,
        clearest=jnp.argmax(clearness),
    )
