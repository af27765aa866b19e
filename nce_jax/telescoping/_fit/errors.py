r"""Evaluation of a fit on a set of pairs: every stage's diagnostics, and the joint errors.

`evaluate` takes the parameters as they are. `parameter_errors` adds the errors of parameters that
Newton's method has found, by the influences of the pairs (n of them) on all parameters and
normalizers,

.. math::
    \psi_i(\theta_k) = -\frac{1}{n} C_k^{-1} (g_{k,i} - \bar g_k), \qquad
    \psi_i(F_k) = \psi^0_i(F_k) + \bar J_k^\top \psi_i(\theta_k),

where :math:`g_{k,i}` is the contribution of pair i to the gradient of the profiled loss,
:math:`\psi^0` the influence on F for the parameters as they are (`pair_influences`), and C and
:math:`\bar J = dF_* / d\theta` are those of `curvature`. The covariance of all quantities is the
sum of the outer products of the influences, over pairs.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._bridges import stage_log_ratios
from nce_jax._numerics import matmul
from nce_jax._types import Params
from nce_jax.log_partition import solve_log_partition
from nce_jax.log_partition.problem import make_problem
from nce_jax.telescoping._errors import MeanLogRatio, StageDiagnostics, diagnose, mean_log_ratio
from nce_jax.telescoping._fit.curvature import (
    StageArrays,
    curvature_of,
    sigmoid_arguments,
    stage_arrays,
)
from nce_jax.telescoping._fit.misfit import misfit
from nce_jax.telescoping._fit.stage_model import (
    Chain,
    Moments,
    StageModel,
    centered_bridges,
    standardize,
)
from nce_jax.telescoping._influences import pair_influences
from nce_jax.telescoping._joint_error import joint_standard_error

Pairs = tuple[jax.Array, jax.Array]
"""Samples of data and of noise, (n, ...) each."""


class Evaluation(NamedTuple):
    """The evaluation of a fit for the parameters as they are.

    Attributes:
      stages: every stage's diagnostics.
      log_partition_standard_error: standard error of F, joint over stages.
      mean: the mean log ratio, an estimate of KL.
    """

    stages: StageDiagnostics
    log_partition_standard_error: jax.Array
    mean: MeanLogRatio


class StageEstimates(NamedTuple):
    """theta (K, P) and F (K,) of all stages, and the standardization that they presume."""

    theta: jax.Array
    log_partition: jax.Array
    moments: Moments


class ParameterErrors(NamedTuple):
    """Errors that include the error of the parameters.

    Attributes:
      covariance: of all theta_k, stage after stage, and then of all F_k.
      kl_standard_error: standard error of the mean log ratio.
      misfit: score of every stage's model, (K,), in standard errors.
    """

    covariance: jax.Array
    kl_standard_error: jax.Array
    misfit: jax.Array


@partial(jax.jit, static_argnames="model")
def evaluate(model: StageModel, params: Params, pairs: Pairs, chain: Chain) -> Evaluation:
    """Evaluates a fit for the parameters as they are.

    The pairs did not train it, or there are many more of them than parameters.
    """
    x, kappa = centered_bridges(model, pairs, chain), chain.kappa
    data, noise = stage_log_ratios(model.stages_fn, params, x)
    problem = make_problem(data, noise, magnification=kappa)
    solution = solve_log_partition(data, noise, magnification=kappa)
    roots = solution.log_partition
    total = jnp.sum(model.stages_fn(params, _at_every_stage(pairs[0], chain)), axis=0)
    return Evaluation(
        diagnose(problem, solution, pair_influences(problem, roots)),
        joint_standard_error(data, noise, log_partition=roots, magnification=kappa),
        mean_log_ratio(total, data, noise, log_partition=roots, magnification=kappa),
    )


def _at_every_stage(x_data: jax.Array, chain: Chain) -> jax.Array:
    """The data themselves as samples of every stage, (K, n, ...): the chain is evaluated there."""
    return jnp.broadcast_to(x_data, (chain.num_stages, *x_data.shape))


@partial(jax.jit, static_argnames="model")
def parameter_errors(
    model: StageModel,
    template: Params,
    estimates: StageEstimates,
    pairs: Pairs,
    chain: Chain,
    num_fitted: jax.Array | None,
) -> ParameterErrors:
    """Computes the errors that include those of the parameters, and the models' misfit.

    Args:
      model: the stages' model.
      template: initial parameters of one stage; only its structure matters.
      estimates: theta and F of all stages.
      pairs: the pairs of the evaluation.
      chain: the stages.
      num_fitted: how many pairs theta was fitted to, if these are others than `pairs`. The two
        parts of an influence are then independent, and the part through theta is scaled to that
        number. None means that theta was fitted to `pairs`, and the parts are added up.
    """
    x = centered_bridges(model, pairs, chain)
    z = standardize(estimates.moments, x[:-1]), standardize(estimates.moments, x[1:])
    data, noise = (stage_arrays(model, template, estimates.theta, side) for side in z)
    roots, log_kappa = estimates.log_partition, jnp.log(chain.kappa)
    scores = misfit((data, noise), z, roots, log_kappa)
    fixed, through = _influences((data, noise), roots, chain)
    of_mean, gradient = _mean_influence(model, template, estimates, pairs[0], chain)
    if num_fitted is None:
        total = fixed + through
        of_kl = [of_mean + matmul(gradient, total)]
        covariance = _covariance(total)
    else:
        scale = pairs[0].shape[0] / num_fitted
        of_kl = [of_mean + matmul(gradient, fixed), jnp.sqrt(scale) * matmul(gradient, through)]
        covariance = _covariance(fixed) + _covariance(through) * scale
    variance = sum(_covariance(part[None])[0, 0] for part in of_kl)
    return ParameterErrors(covariance, jnp.sqrt(variance), scores)


def _influences(
    arrays: tuple[StageArrays, StageArrays], roots: jax.Array, chain: Chain
) -> tuple[jax.Array, jax.Array]:
    """Influences on all theta_k and F_k, (K P + K, n), in two parts.

    The first part is the influence for the parameters as they are, the second that through the
    parameters.
    """
    problem = make_problem(arrays[0][0], arrays[1][0], magnification=chain.kappa)
    of_roots = pair_influences(problem, roots)
    of_theta, mean_jacobian = _parameter_influences(arrays, roots, jnp.log(chain.kappa))
    through = jnp.einsum("kp,kpn->kn", mean_jacobian, of_theta, precision="highest")
    flat = of_theta.reshape(-1, of_theta.shape[-1])
    fixed = jnp.concatenate([jnp.zeros_like(flat), of_roots])
    return fixed, jnp.concatenate([flat, through])


def _mean_influence(
    model: StageModel, template: Params, estimates: StageEstimates, x_data: jax.Array, chain: Chain
) -> tuple[jax.Array, jax.Array]:
    """Influences on the mean of S = sum_k s_k, and the gradient of mean S - F.

    Returns:
      The influences of the data on mean S for the parameters as they are, (n,), and the gradient in
      all theta_k and F_k, (K P + K,).
    """
    z = standardize(estimates.moments, _at_every_stage(x_data, chain))
    log_ratios, jacobian = stage_arrays(model, template, estimates.theta, z)
    total = jnp.sum(log_ratios, axis=0)
    of_mean = (total - jnp.mean(total)) / x_data.shape[0]
    in_roots = -jnp.ones_like(estimates.log_partition)
    return of_mean, jnp.concatenate([jnp.mean(jacobian, axis=1).ravel(), in_roots])


def _covariance(influences: jax.Array) -> jax.Array:
    """Covariance from influences (quantities, n), corrected for the fitted mean."""
    num_pairs = influences.shape[-1]
    return jnp.matmul(influences, influences.T, precision="highest") * (
        num_pairs / max(num_pairs - 1, 1)
    )


def _parameter_influences(
    arrays: tuple[StageArrays, StageArrays], roots: jax.Array, log_kappa: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r"""Influences of all pairs on theta, (K, P, n), and dF*/dtheta, (K, P).

    The contribution of pair i to the gradient of the profiled loss is :math:`g_i = \kappa Q_i
    (J(y_i) - \bar J) - P_i (J(x_i) - \bar J)`.
    """
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    curvature = curvature_of(arrays, roots, log_kappa)
    p, q = (jax.nn.sigmoid(a) for a in sigmoid_arguments(data, noise, roots, log_kappa))
    mean = curvature.mean_jacobian
    weighted_q = (jnp.exp(log_kappa)[:, None] * q)[..., None]
    gradient = weighted_q * (jacobian_noise - mean[:, None]) - p[..., None] * (
        jacobian_data - mean[:, None]
    )
    gradient = gradient - jnp.mean(gradient, axis=1, keepdims=True)
    return -curvature.solve(jnp.moveaxis(gradient, 1, 2)) / data.shape[-1], mean
