"""The derivative of the root, in closed form, by the implicit function theorem.

Differentiating sum_i w_i P_i = kappa sum_j w_j Q_j at the root gives dF/ds_k = v_k, the normalized
weights v_k proportional to w_k sigma'(b - s_k) over the pool. The rule is written with
differentiable operations of the root itself, so that derivatives of every order follow.
"""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax.log_partition.problem import Problem, Pull, Samples
from nce_jax.numerics import expand, weighted_sum


@jax.custom_jvp
def implicit_root(log_partition: jax.Array, problem: Problem) -> jax.Array:
    """Returns `log_partition`, which must be the root of `problem`, and gives it the root's
    derivatives.
    """
    del problem
    return log_partition


@implicit_root.defjvp
def _implicit_root_jvp(primals, tangents):
    log_partition, problem = primals
    root = implicit_root(log_partition, problem)
    return root, _root_tangent(root, problem, tangents[1])


def _root_tangent(root: jax.Array, problem: Problem, tangent: Problem) -> jax.Array:
    log_kappa = problem.log_kappa
    data, noise = (_distance(root, side, log_kappa) for side in (problem.data, problem.noise))
    log_slope_data = _log_slope(data, problem.data)
    log_slope_noise = log_kappa + _log_slope(noise, problem.noise)
    log_own_slope = jnp.logaddexp(log_slope_data, log_slope_noise)
    log_slope, from_pull = _with_pull(root, log_own_slope, problem.pull, tangent.pull)
    from_data = _side_tangent(data, problem.data, tangent.data, -log_slope)
    # The noise side of the equation is -kappa mean sigma(-d) = kappa (mean sigma(d) - 1): the same
    # expression, times kappa.
    from_noise = _side_tangent(noise, problem.noise, tangent.noise, log_kappa - log_slope)
    log_mean_q = jax.nn.logsumexp(
        jax.nn.log_sigmoid(-noise), axis=-1, b=problem.noise.weights
    ) - jnp.log(problem.noise.total)
    own_share = 1 if problem.pull is None else jnp.exp(log_own_slope - log_slope)
    from_kappa = (jnp.exp(log_kappa + log_mean_q - log_slope) - own_share) * tangent.log_kappa
    return from_data + from_noise + from_kappa + from_pull


def _with_pull(
    root: jax.Array, log_slope: jax.Array, pull: Pull | None, tangent: Pull | None
) -> tuple[jax.Array, Any]:
    """The slope of the whole equation, on the log scale, and the root's change when a regularizer's
    pull changes.
    """
    if pull is None or tangent is None:
        return log_slope, 0
    log_total = jnp.logaddexp(log_slope, jnp.log(pull.slope))
    moved = pull.slope * tangent.center + (pull.center - root) * tangent.slope
    return log_total, jnp.exp(-log_total) * moved


def _distance(root: jax.Array, samples: Samples, log_kappa: jax.Array) -> jax.Array:
    return (expand(root) - samples.values) + expand(log_kappa)


def _log_slope(distance: jax.Array, samples: Samples) -> jax.Array:
    log_terms = jax.nn.log_sigmoid(distance) + jax.nn.log_sigmoid(-distance)
    return jax.nn.logsumexp(log_terms, axis=-1, b=samples.weights) - jnp.log(samples.total)


def _side_tangent(
    distance: jax.Array, samples: Samples, tangent: Samples, log_scale: jax.Array
) -> jax.Array:
    """The root's change when one side's log-ratios and weights change; `log_scale` carries kappa
    and the slope.
    """
    log_scale = log_scale - jnp.log(samples.total)
    influence = jnp.exp(
        expand(log_scale) + jax.nn.log_sigmoid(distance) + jax.nn.log_sigmoid(-distance)
    )
    moved = weighted_sum(influence * tangent.values, samples.weights)
    if samples.weights is None:
        return moved
    return moved - _weight_tangent(distance, samples, tangent, log_scale)


def _weight_tangent(
    distance: jax.Array, samples: Samples, tangent: Samples, log_scale: jax.Array
) -> jax.Array:
    """The same for weights: sum_k (da_k - w_k dA) sigma(d_k) / (A slope), from whichever of sigma,
    sigma - 1 is small.
    """
    small = jnp.exp(expand(log_scale) + jax.nn.log_sigmoid(distance))
    complement = -jnp.exp(expand(log_scale) + jax.nn.log_sigmoid(-distance))
    is_small = weighted_sum(jax.nn.sigmoid(distance), samples.weights) < samples.total / 2
    sigma = jnp.where(expand(is_small), small, complement)
    mean = weighted_sum(sigma, samples.weights) / samples.total
    return weighted_sum(sigma, tangent.weights) - mean * tangent.total
