"""What a fit is worth on a set of pairs: every stage's diagnostics, and the joint errors."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._types import Params
from nce_jax.log_partition import solve_log_partition
from nce_jax.log_partition.problem import make_problem
from nce_jax.telescoping._bridges import stage_log_ratios
from nce_jax.telescoping._errors import (
    MeanLogRatio,
    StageDiagnostics,
    diagnose,
    joint_standard_error,
    mean_log_ratio,
    pair_influences,
)
from nce_jax.telescoping._fit.misfit import misfit
from nce_jax.telescoping._fit.model import Spec, bridges_of, standardize
from nce_jax.telescoping._fit.newton import curvature_of, stage_arrays, stage_distances


class Worth(NamedTuple):
    """The stages' diagnostics, F's joint error, and the mean log ratio, for the parameters as they
    are.
    """

    stages: StageDiagnostics
    standard_error: jax.Array
    mean: MeanLogRatio


class FullWorth(NamedTuple):
    """What the parameters' own error adds: the covariance of all theta_k, then all F_k, and the
    mean log ratio's error.

    `misfit` (K,) is what the test of every stage's model says, in standard errors.
    """

    covariance: jax.Array
    mean_standard_error: jax.Array
    misfit: jax.Array


@partial(jax.jit, static_argnames="spec")
def evaluate(
    spec: Spec,
    params: Params,
    pairs: tuple[jax.Array, jax.Array],
    schedule: jax.Array,
    kappa: jax.Array,
) -> Worth:
    """On pairs that did not train the parameters, or of which there are many more than
    parameters.
    """
    data, noise = stage_log_ratios(spec.stages_fn, params, bridges_of(spec, pairs, schedule))
    problem = make_problem(data, noise, magnification=kappa)
    solution = solve_log_partition(data, noise, magnification=kappa)
    known: dict[str, Any] = {"log_partition": solution.log_partition, "magnification": kappa}
    total = jnp.sum(spec.stages_fn(params, _everywhere(pairs[0], schedule)), axis=0)
    return Worth(
        diagnose(problem, solution, pair_influences(problem, solution.log_partition)),
        joint_standard_error(data, noise, **known),
        mean_log_ratio(total, data, noise, **known),
    )


def _everywhere(x_data: jax.Array, schedule: jax.Array) -> jax.Array:
    """The data as every stage sees them, (K, n, ...)."""
    return jnp.broadcast_to(x_data, (schedule.shape[0] - 1, *x_data.shape))


@partial(jax.jit, static_argnames="spec")
def full_worth(
    spec: Spec,
    template: Params,
    theta: jax.Array,
    moments: dict[str, jax.Array],
    roots: jax.Array,
    pairs: tuple[jax.Array, jax.Array],
    schedule: jax.Array,
    kappa: jax.Array,
    num_fitted: jax.Array | None,
) -> FullWorth:
    """Influences of pairs on (theta, F): psi(theta_k) = -C_k^-1 g_k,i, psi(F_k) = its own +
    (dF_k/dtheta_k)' psi(theta_k).

    `num_fitted` pairs, others than these, stand behind theta: its part is then independent of F's
    own, and scaled. None says that these very pairs do, and both parts are one.
    """
    x, num_pairs = bridges_of(spec, pairs, schedule), pairs[0].shape[0]
    z = [standardize(moments, side) for side in (x[:-1], x[1:])]
    arrays = [stage_arrays(spec, template, theta, side) for side in z]
    scores = misfit(arrays, z, roots, jnp.log(kappa))
    own = pair_influences(make_problem(arrays[0][0], arrays[1][0], magnification=kappa), roots)
    of_theta, slope = _parameter_influence(arrays, roots, jnp.log(kappa))
    through = jnp.einsum("kp,kpn->kn", slope, of_theta, precision="highest")
    flat = of_theta.reshape(-1, num_pairs)
    total, jacobian = stage_arrays(
        spec, template, theta, standardize(moments, _everywhere(pairs[0], schedule))
    )
    total = jnp.sum(total, axis=0)
    of_mean = (total - jnp.mean(total)) / num_pairs
    gradient = jnp.concatenate([jnp.mean(jacobian, axis=1).ravel(), -jnp.ones_like(roots)])
    parts = [jnp.concatenate([jnp.zeros_like(flat), own]), jnp.concatenate([flat, through])]
    if num_fitted is None:
        both = parts[0] + parts[1]
        return FullWorth(
            _square(both), jnp.sqrt(_square(of_mean[None] + (gradient @ both)[None])[0, 0]), scores
        )
    scale = num_pairs / num_fitted
    means = (of_mean + gradient @ parts[0])[None], (gradient @ parts[1])[None]
    variance = (_square(means[0]) + _square(means[1]) * scale)[0, 0]
    return FullWorth(_square(parts[0]) + _square(parts[1]) * scale, jnp.sqrt(variance), scores)


def _square(influences: jax.Array) -> jax.Array:
    """Covariance from influences (quantities, n), corrected for the mean that they had taken
    off.
    """
    num_pairs = influences.shape[-1]
    return jnp.matmul(influences, influences.T, precision="highest") * (
        num_pairs / max(num_pairs - 1, 1)
    )


def _parameter_influence(
    arrays, roots: jax.Array, log_kappa: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """-C^-1 g_i / n of every pair, (K, P, n), and dF*/dtheta, (K, P)."""
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    curvature = curvature_of(arrays, roots, log_kappa)
    p, q = (jax.nn.sigmoid(d) for d in stage_distances(data, noise, roots, log_kappa))
    mean = curvature.mean_jacobian
    weighted_q = (jnp.exp(log_kappa)[:, None] * q)[..., None]
    gradient = weighted_q * (jacobian_noise - mean[:, None]) - p[..., None] * (
        jacobian_data - mean[:, None]
    )
    gradient = gradient - jnp.mean(gradient, axis=1, keepdims=True)
    return -curvature.solve(jnp.moveaxis(gradient, 1, 2)) / data.shape[-1], mean
