"""What a batch says about every candidate M, from its log ratios alone.

With P = sigma(log kappa - u) of the data and Q = sigma(u - log kappa) of the noise, u = s - F(M), the gradient of the loss
is E_noise[kappa Q ds] - E_data[P ds]. To leading order its size is the *acceptance* A = E_data[P] = E_noise[kappa Q] and the
noise in it is nu = E_data[P^2] + (n / m) E_noise[(kappa Q)^2], over n. The second moment of the noise side is dominated by
samples that a batch may not contain; but where model and data agree, E_noise[(kappa Q)^2] = kappa E_data[P (1 - P)], and
the *data* are where those samples are missing. So nu is taken from the data.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.log_partition._equations import distances
from nce_jax.log_partition._solve import solve_problem
from nce_jax.log_partition._types import Problem
from nce_jax.numerics import sample_count, weighted_mean

MIN_EFFECTIVE = 10.0
"""Effective noise samples that M > 1 has to leave: the importance weights then err by a third at most."""


class Candidates(NamedTuple):
    """One entry per candidate M, except `largest`, the index of the largest that is supported by the noise samples.

    `acceptance`, `variance` and `effective_samples` are A, nu and the effective noise samples m A^2 / E[(kappa Q)^2].
    `unseen` is F at the largest supported M less F at this one: log of the model's mass that this M overlooks, with its
    sampling variance. `curvature_data` and `curvature_noise` weight every sample's share in the Hessian of the loss,
    `pull_data` and `pull_noise` its share in the gradient; (M, n) and (M, m).
    """

    log_partition: jax.Array
    acceptance: jax.Array
    variance: jax.Array
    effective_samples: jax.Array
    unseen: jax.Array
    unseen_variance: jax.Array
    largest: jax.Array
    pull_data: jax.Array
    pull_noise: jax.Array
    curvature_data: jax.Array
    curvature_noise: jax.Array


def examine(equation_at: Callable[[jax.Array], Problem], magnifications: jax.Array, initial: jax.Array) -> Candidates:
    """Tabulates the candidates; `equation_at(M)` is the equation for F at that M, `initial` where its solve starts."""
    problem = equation_at(magnifications[0])
    count_data, count_noise = (sample_count(side.values, side.weights) for side in (problem.data, problem.noise))
    sides = problem.data.weights, problem.noise.weights
    weights_data, weights_noise = (None if weights is None else weights[None] for weights in sides)

    def solve(magnification: jax.Array, initial: jax.Array) -> tuple[jax.Array, ...]:
        problem = equation_at(magnification)
        root = solve_problem(problem, initial=initial).log_partition
        kappa, (to_data, to_noise) = jnp.exp(problem.log_kappa), distances(problem, root)
        p, q = jax.nn.sigmoid(to_data), jax.nn.sigmoid(to_noise)
        return root, kappa, p, q, p * (1 - p), kappa * q * (1 - q)

    root, kappa, p, q, curve_data, curve_noise = jax.vmap(solve)(magnifications, initial)
    pull_noise = kappa[:, None] * q
    acceptance = weighted_mean(p, weights_data)
    # The larger of both views: where model and data differ, either may miss what the other sees.
    second_moment = kappa * weighted_mean(curve_data, weights_data)
    carried = jnp.maximum(second_moment, weighted_mean(pull_noise**2, weights_noise))
    effective = count_noise * acceptance**2 / carried
    supported = (effective >= MIN_EFFECTIVE) | (magnifications <= 1)
    largest = jnp.max(jnp.where(supported, jnp.arange(magnifications.size), 0))
    slope = weighted_mean(curve_data, weights_data) + weighted_mean(curve_noise, weights_noise)
    influence_data = (p - acceptance[:, None]) / slope[:, None]
    influence_noise = (pull_noise - weighted_mean(pull_noise, weights_noise)[:, None]) / slope[:, None]
    spread = (
        weighted_mean((influence_data - influence_data[largest][None]) ** 2, weights_data) / count_data
        + weighted_mean((influence_noise - influence_noise[largest][None]) ** 2, weights_noise) / count_noise
    )
    below = jnp.arange(magnifications.size) < largest
    return Candidates(
        log_partition=root,
        acceptance=acceptance,
        variance=weighted_mean(p**2, weights_data) + count_data / count_noise * second_moment,
        effective_samples=effective,
        unseen=jnp.where(below, root[largest] - root, 0),
        unseen_variance=jnp.where(below, spread, 0),
        largest=largest,
        pull_data=p,
        pull_noise=pull_noise,
        curvature_data=curve_data,
        curvature_noise=curve_noise,
    )
