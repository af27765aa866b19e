"""Whether the stages' models contain the truth: score tests in directions that they do not have.

Where u = log p / q + const, E_data[P h] = kappa E_noise[Q h] for *every* function h, P = sigma(log
kappa - u), Q = 1 - P. Fitting makes it hold along J = du/dtheta and 1 alone. With h' what is left
of h after its regression on (1, J) with the weights of the curvature, the mean of P h' - kappa Q h'
is zero to first order in the errors of theta and F, whichever pairs they come from, and its own
error is that of a plain mean (Rao's score test of the model enlarged by h).

For h = sigma(u - log kappa') it is, but for a factor, F*(kappa') - F*(kappa) with theta at its
optimum: a normalizer that depends on kappa betrays the model. A function of u alone sees no model
that is coarse yet calibrated (u = 0 for all x, say), hence a function of the distance from the
stage's center.
"""

import statistics
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params
from nce_jax.telescoping._fit.model import Spec, bridges_of, standardize
from nce_jax.telescoping._fit.newton import curvature_of

FALSE_ALARMS = 0.001
"""Share of the fits of true models that may be flagged, all stages and functions together
(Bonferroni)."""
_LOG_FACTOR = float(np.log(3))
_TOLERANCE, _TOLERANCE_DESCENT = 0.01, 0.05
"""Root mean square change of a stage's log ratio, in nats, that counts as none: Newton's own, and
what descents leave."""
_NUM_FUNCTIONS = 3
_MOST_PAIRS = 16384
"""Are looked at: the test is to cost little beside the fit, and what these do not show is small."""


def is_misfit(scores: np.ndarray) -> np.ndarray:
    """Which stages fail, (K,), at `FALSE_ALARMS` for all of them together."""
    return scores > -statistics.NormalDist().inv_cdf(
        FALSE_ALARMS / (2 * _NUM_FUNCTIONS * len(scores))
    )


def misfit(
    arrays: Any,
    z: Any,
    roots: jax.Array,
    log_kappa: jax.Array,
    tolerance: jax.Array | float = _TOLERANCE,
) -> jax.Array:
    """The largest |score| of every stage in standard errors, (K,); 0 where all are below the
    tolerance, or hidden.
    """
    count = min(z[0].shape[1], _MOST_PAIRS)
    arrays, z = jax.tree.map(lambda leaf: leaf[:, :count], (arrays, z))
    curvature = curvature_of(arrays, roots, log_kappa)
    slope = curvature.slope[:, None]
    values, jacobian, z = (
        jnp.concatenate(sides, axis=1) for sides in (*zip(*arrays, strict=True), z)
    )
    distance, is_data = values - (roots + log_kappa)[:, None], jnp.arange(2 * count) < count
    p, q = jax.nn.sigmoid(-distance), jax.nn.sigmoid(distance)
    factor = jnp.where(is_data, p, jnp.exp(log_kappa)[:, None] * q)
    weights = (factor * jnp.where(is_data, q, p))[..., None] / count
    jacobian, functions = jacobian - curvature.mean_jacobian[:, None], _functions(distance, z)
    functions = functions - (jnp.sum(weights * functions, axis=1) / slope)[:, None]
    slopes = curvature.solve(
        jnp.einsum("knp,knr->kpr", jacobian, weights * functions, precision="highest")
    )
    rest = functions - jnp.einsum("knp,kpr->knr", jacobian, slopes, precision="highest")
    each = factor[..., None] * rest
    each = each[:, :count] - each[:, count:]
    size = jnp.sqrt(jnp.sum(weights * rest**2, axis=1) / slope)
    score, error = jnp.abs(jnp.mean(each, axis=1)), jnp.std(each, axis=1) / jnp.sqrt(count)
    # Functions lie between 0 and 1: what is left of one that the model has already is rounding.
    is_seen = (size > 1e-3) & (score > tolerance * size * slope)
    return jnp.max(jnp.where(is_seen, score / jnp.where(is_seen, error, 1), 0), axis=-1)


def _functions(distance: jax.Array, z: jax.Array) -> jax.Array:
    """h of every sample, (K, n, 3), from u - log kappa and the samples as the models see them."""
    square = jnp.mean(jnp.square(z.reshape(*z.shape[:2], -1)), axis=-1)
    shifted = jax.nn.sigmoid(distance - _LOG_FACTOR), jax.nn.sigmoid(distance + _LOG_FACTOR)
    return jnp.stack([*shifted, square / (1 + square)], axis=-1)


@partial(jax.jit, static_argnames="spec")
def descent_misfit(
    spec: Spec,
    params: Params,
    roots: jax.Array,
    pairs: tuple[jax.Array, jax.Array],
    schedule: jax.Array,
    kappa: jax.Array,
) -> jax.Array:
    """`misfit` of models with many parameters: of their directions the log ratio itself stands for
    all.

    Errors of the others are then part of what is seen, hence the wider tolerance.
    """
    x = bridges_of(spec, pairs, schedule)
    sides = [spec.stages_fn(params, side) for side in (x[:-1], x[1:])]
    arrays = [(s, s[..., None]) for s in sides]
    z = [standardize(params, side) for side in (x[:-1], x[1:])]
    return misfit(arrays, z, roots, jnp.log(kappa), _TOLERANCE_DESCENT)
