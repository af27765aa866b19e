r"""A test of the stages' models: score tests in directions that the models do not have.

Let u = log p / q + const be the log ratio of a stage, :math:`P = \sigma(\log\kappa - u)` of its
data and :math:`Q = \sigma(u - \log\kappa)` of its noise. If u is right, then

.. math::
    E_{\text{data}}[P h] = \kappa\, E_{\text{noise}}[Q h]

for *every* function h, since both sides are :math:`\int h\, \kappa p q / (p + \kappa q)`. A fit
makes the equation hold for h = 1 and for the components of :math:`J = \partial u / \partial\theta`
alone. The test takes other functions h and removes from each of them what the fit has adjusted
already: its regression on (1, J) with the weights w of the curvature (see `curvature`),

.. math::
    h' = h - \bar h - B (J - \bar J), \qquad
    \bar h = \frac{E_w[h]}{H}, \qquad B = E_w[h (J - \bar J)^\top]\, C^{-1}.

Then the statistic

.. math::
    T = \operatorname{mean}_i \big[ P(x_i)\, h'(x_i) - \kappa\, Q(y_i)\, h'(y_i) \big]

has no first derivative in :math:`\theta` and F. Their errors do not enter, whichever pairs they
come from, and the standard error of T is that of a plain mean over pairs. This is Rao's score test
of the model enlarged by h.

There are three functions h. The first two are :math:`\sigma(u - \log\kappa')` at :math:`\kappa' =
3 \kappa` and :math:`\kappa / 3`, for which T is proportional, to first order, to
:math:`F_*(\kappa') - F_*(\kappa)` with :math:`\theta` following: a normalizer that depends on
:math:`\kappa` reveals a misfit. Functions of u alone cannot reveal a model that is coarse but
calibrated (u = 0 everywhere, for example), hence the third: a function of the distance from the
center of the stage.
"""

import statistics
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params
from nce_jax.telescoping._fit.curvature import Curvature, StageArrays, curvature_of
from nce_jax.telescoping._fit.stage_model import Chain, StageModel, centered_bridges, standardize

FALSE_ALARMS = 0.001
"""The fraction of fits of true models that may be flagged, all stages and functions together
(Bonferroni)."""

_LOG_FACTOR = float(np.log(3))
"""Distance of log kappa' from log kappa in the first two functions."""

_TOLERANCE = 0.01
"""A misfit that changes the log ratios of a stage by less than this number of nats, root mean
square, counts as none."""

_TOLERANCE_DESCENT = 0.05
"""The same for gradient descent, which leaves larger errors in the parameters."""

_NUM_FUNCTIONS = 3
"""Number of functions h that are tested in every stage."""

_MAX_TESTED_PAIRS = 16384
"""The test uses at most this number of pairs, so that it costs little compared with the fit; a
misfit that these do not reveal is small."""

_MIN_RESIDUAL = 1e-3
"""A function h, which lies between 0 and 1, counts as contained in the model where the root mean
square of h' is below this: the rest is rounding."""


def is_misfit(scores: np.ndarray) -> np.ndarray:
    """Which stages fail the test, (K,), at the level `FALSE_ALARMS` for all of them together."""
    return scores > misfit_limit(len(scores))


def misfit_limit(num_stages: int) -> float:
    """The score beyond which a stage fails the test, in standard errors."""
    level = FALSE_ALARMS / (2 * _NUM_FUNCTIONS * num_stages)
    return -statistics.NormalDist().inv_cdf(level)


class _Pool(NamedTuple):
    """Data and noise of every stage on one axis of length 2 n, data first.

    Attributes:
      distance: u - log kappa, (K, 2n).
      jacobian: J, (K, 2n, P).
      z: standardized samples, (K, 2n, ...).
      factors: P of the data and kappa Q of the noise, (K, 2n).
      weights: w / n, (K, 2n, 1): sums over the axis are E_w.
    """

    distance: jax.Array
    jacobian: jax.Array
    z: jax.Array
    factors: jax.Array
    weights: jax.Array


def misfit(
    arrays: tuple[StageArrays, StageArrays],
    z: tuple[jax.Array, jax.Array],
    roots: jax.Array,
    log_kappa: jax.Array,
    tolerance: jax.Array | float = _TOLERANCE,
) -> jax.Array:
    """The largest |T| of every stage, in standard errors, (K,).

    Functions whose misfit is below the tolerance, or that the model contains, do not count; a stage
    without any others has 0.

    Args:
      arrays: log ratios and derivatives of data and of noise.
      z: standardized samples of data and of noise, (K, n, ...) each.
      roots: F_k, (K,).
      log_kappa: (K,).
      tolerance: in nats.
    """
    num_pairs = min(z[0].shape[1], _MAX_TESTED_PAIRS)
    arrays, z = jax.tree.map(lambda leaf: leaf[:, :num_pairs], (arrays, z))
    curvature = curvature_of(arrays, roots, log_kappa)
    slope = curvature.slope[:, None]
    pool = _pooled(arrays, z, roots, log_kappa)
    residuals = _residual_functions(pool, curvature)

    # T is the mean of these differences over pairs.
    terms = pool.factors[..., None] * residuals
    differences = terms[:, :num_pairs] - terms[:, num_pairs:]
    statistic = jnp.abs(jnp.mean(differences, axis=1))
    error = jnp.std(differences, axis=1) / jnp.sqrt(num_pairs)

    # A component c h' of u, missing from the model, has T = c E_w[h'^2]. It changes u by c times
    # the root mean square of h', and so by T / (H * rms).
    rms = jnp.sqrt(jnp.sum(pool.weights * residuals**2, axis=1) / slope)
    counts = (rms > _MIN_RESIDUAL) & (statistic > tolerance * rms * slope)
    return jnp.max(jnp.where(counts, statistic / jnp.where(counts, error, 1), 0), axis=-1)


def _pooled(
    arrays: tuple[StageArrays, StageArrays],
    z: tuple[jax.Array, jax.Array],
    roots: jax.Array,
    log_kappa: jax.Array,
) -> _Pool:
    num_pairs = z[0].shape[1]
    values, jacobian, z_pooled = (
        jnp.concatenate(sides, axis=1) for sides in (*zip(*arrays, strict=True), z)
    )
    distance = values - (roots + log_kappa)[:, None]
    is_data = jnp.arange(2 * num_pairs) < num_pairs
    p, q = jax.nn.sigmoid(-distance), jax.nn.sigmoid(distance)
    factors = jnp.where(is_data, p, jnp.exp(log_kappa)[:, None] * q)
    weights = (factors * jnp.where(is_data, q, p))[..., None] / num_pairs
    return _Pool(distance, jacobian, z_pooled, factors, weights)


def _residual_functions(pool: _Pool, curvature: Curvature) -> jax.Array:
    """h' of every sample, (K, 2n, 3): h less its weighted regression on (1, J)."""
    jacobian = pool.jacobian - curvature.mean_jacobian[:, None]
    functions = _functions(pool.distance, pool.z)
    means = jnp.sum(pool.weights * functions, axis=1) / curvature.slope[:, None]
    functions = functions - means[:, None]
    moments = jnp.einsum("knp,knr->kpr", jacobian, pool.weights * functions, precision="highest")
    coefficients = curvature.solve(moments)
    return functions - jnp.einsum("knp,kpr->knr", jacobian, coefficients, precision="highest")


def _functions(distance: jax.Array, z: jax.Array) -> jax.Array:
    """h of every sample, (K, 2n, 3), from u - log kappa and the samples as the models see them."""
    square = jnp.mean(jnp.square(z.reshape(*z.shape[:2], -1)), axis=-1)
    shifted = jax.nn.sigmoid(distance - _LOG_FACTOR), jax.nn.sigmoid(distance + _LOG_FACTOR)
    return jnp.stack([*shifted, square / (1 + square)], axis=-1)


@partial(jax.jit, static_argnames="model")
def descent_misfit(
    model: StageModel,
    params: Params,
    roots: jax.Array,
    pairs: tuple[jax.Array, jax.Array],
    chain: Chain,
) -> jax.Array:
    """`misfit` of models with many parameters, where the log ratio itself stands for all of J.

    The derivatives in many parameters are too many to remove. What their errors contribute is then
    part of T, hence the wider tolerance.
    """
    x = centered_bridges(model, pairs, chain)
    log_ratios = [model.stages_fn(params, side) for side in (x[:-1], x[1:])]
    data, noise = ((values, values[..., None]) for values in log_ratios)
    z = standardize(params, x[:-1]), standardize(params, x[1:])
    return misfit((data, noise), z, roots, jnp.log(chain.kappa), _TOLERANCE_DESCENT)
