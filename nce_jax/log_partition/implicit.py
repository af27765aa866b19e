r"""The derivative of the root, in closed form, by the implicit function theorem.

Differentiating :math:`\operatorname{mean} P = \kappa \operatorname{mean} Q` at the root gives
:math:`\partial F_* / \partial s_k = v_k`, with normalized weights v_k in proportion to
:math:`w_k \sigma'(b - s_k)` over the pool. The rule is written with differentiable operations
of the root itself, so that derivatives of every order follow.
"""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._numerics import expand, weighted_sum
from nce_jax._types import Array, Float
from nce_jax.log_partition.equation import acceptance_logits
from nce_jax.log_partition.problem import Problem, Pull, Samples, as_lanes


def implicit_root(
    log_partition: Float[Array, "*batch"], problem: Problem
) -> Float[Array, "*batch"]:
    """Gives a root that was computed without derivatives the derivatives that a root has.

    The value is returned unchanged. Its derivative in every array of the problem, to any order,
    follows from the implicit function theorem in closed form, whichever way the root was found.

    Args:
      log_partition: the root of `problem`; this is not checked.
      problem: the equation, with the dependence on whatever is differentiated.

    Returns:
      The same root, (*batch).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5])
      >>> root = log_partition.solve_log_partition(s_data, s_noise).log_partition
      >>> def attached(s_data):
      ...     problem = log_partition.make_problem(s_data, s_noise)
      ...     return log_partition.implicit_root(root, problem)
      >>> print(jax.grad(attached)(s_data).round(4))
      [0.2077 0.3073]

    References:
      Krantz and Parks, The Implicit Function Theorem, 2002.
    """
    return _root(as_lanes("log_partition", log_partition, problem), problem)


@jax.custom_jvp
def _root(log_partition: jax.Array, problem: Problem) -> jax.Array:
    del problem
    return log_partition


@_root.defjvp
def _root_jvp(primals, tangents):
    log_partition, problem = primals
    root = _root(log_partition, problem)
    return root, _root_tangent(root, problem, tangents[1])


def _root_tangent(root: jax.Array, problem: Problem, tangent: Problem) -> jax.Array:
    log_kappa = problem.log_kappa
    data, minus_noise = acceptance_logits(problem, root)
    noise = -minus_noise
    log_slope_data = _log_slope(data, problem.data)
    log_slope_noise = log_kappa + _log_slope(noise, problem.noise)
    log_sample_slope = jnp.logaddexp(log_slope_data, log_slope_noise)
    log_slope, from_pull = _with_pull(root, log_sample_slope, problem.pull, tangent.pull)
    from_data = _side_tangent(data, problem.data, tangent.data, -log_slope)
    # The noise side of the equation is -kappa mean sigma(-d) = kappa (mean sigma(d) - 1): the same
    # expression, times kappa.
    from_noise = _side_tangent(noise, problem.noise, tangent.noise, log_kappa - log_slope)
    log_mean_q = jax.nn.logsumexp(
        jax.nn.log_sigmoid(-noise), axis=-1, b=problem.noise.weights
    ) - jnp.log(problem.noise.total)
    sample_part = 1 if problem.pull is None else jnp.exp(log_sample_slope - log_slope)
    from_kappa = (jnp.exp(log_kappa + log_mean_q - log_slope) - sample_part) * tangent.log_kappa
    return from_data + from_noise + from_kappa + from_pull


def _with_pull(
    root: jax.Array, log_slope: jax.Array, pull: Pull | None, tangent: Pull | None
) -> tuple[jax.Array, Any]:
    """Log of the slope of the whole equation, and the change of the root with the pull."""
    if pull is None or tangent is None:
        return log_slope, 0
    log_total = jnp.logaddexp(log_slope, jnp.log(pull.slope))
    moved = pull.slope * tangent.center + (pull.center - root) * tangent.slope
    return log_total, jnp.exp(-log_total) * moved


def _log_slope(logits: jax.Array, samples: Samples) -> jax.Array:
    log_terms = jax.nn.log_sigmoid(logits) + jax.nn.log_sigmoid(-logits)
    return jax.nn.logsumexp(log_terms, axis=-1, b=samples.weights) - jnp.log(samples.total)


def _side_tangent(
    logits: jax.Array, samples: Samples, tangent: Samples, log_scale: jax.Array
) -> jax.Array:
    """Change of the root with the log ratios and weights of one side.

    `log_scale` is the log of the side's factor in the equation over the slope.
    """
    log_scale = log_scale - jnp.log(samples.total)
    influence = jnp.exp(
        expand(log_scale) + jax.nn.log_sigmoid(logits) + jax.nn.log_sigmoid(-logits)
    )
    moved = weighted_sum(influence * tangent.values, samples.weights)
    if samples.weights is None:
        return moved
    return moved - _weight_tangent(logits, samples, tangent, log_scale)


def _weight_tangent(
    logits: jax.Array, samples: Samples, tangent: Samples, log_scale: jax.Array
) -> jax.Array:
    """The part of the weights: sum_k (da_k - w_k dA) sigma(d_k) / (A slope).

    It is computed from sigma or from sigma - 1, whichever is small.
    """
    small = jnp.exp(expand(log_scale) + jax.nn.log_sigmoid(logits))
    complement = -jnp.exp(expand(log_scale) + jax.nn.log_sigmoid(-logits))
    is_small = weighted_sum(jax.nn.sigmoid(logits), samples.weights) < samples.total / 2
    sigma = jnp.where(expand(is_small), small, complement)
    mean = weighted_sum(sigma, samples.weights) / samples.total
    return weighted_sum(sigma, tangent.weights) - mean * tangent.total
