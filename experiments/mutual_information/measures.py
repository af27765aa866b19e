"""What a fit is worth on given data: its estimate, the errors of samples and parameters, and how
many samples carry them.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.mutual_information.natural_gradient import moments
from experiments.mutual_information.stages import Fit, Params, log_ratio, over_stages
from nce_jax import telescoping


class Worth(NamedTuple):
    """Of one set of data and as many noise samples; scalars."""

    value: jax.Array
    """Mean log ratio, in nats."""
    standard_error: jax.Array
    """Of the samples, for the parameters as they are."""
    influence_error: jax.Array
    """Standard deviation of a training pair's influence on the value, through the parameters, in
    the metric of `natural`."""
    effective_samples: jax.Array
    """Those that carry the equation for F, in the poorest stage and on the poorer side."""


def worth(fit: Fit, x: jax.Array, y: jax.Array) -> Worth:
    total = log_ratio(jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), fit.params), x)
    ratios = _ratios(fit.params, fit.schedule, x, y)
    if math.isinf(fit.magnification):
        value, error = _variational(*(side[0] for side in ratios), fit.log_partition)
        weights = jnp.zeros_like(ratios[0]), ratios[1]
    else:
        value, error, weights = _telescoped(total, *ratios, fit.magnification)
    effective = jnp.min(
        jnp.stack([nce_jax.diagnostics.effective_sample_size(side) for side in weights])
    )
    return Worth(value, error, _influence_error(fit.params, fit.schedule, weights, x, y), effective)


@jax.jit
def _ratios(
    params: Params, schedule: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def one(params, data, noise):
        return log_ratio(params, data), log_ratio(params, noise)

    return over_stages(one, params, schedule, x, y)


@jax.jit
def _telescoped(total: jax.Array, data: jax.Array, noise: jax.Array, magnification: float):
    """The estimate with every F_k solved for, and the logs of the weights P and Q in its
    equation.
    """
    roots = nce_jax.solve_log_partition(data, noise, magnification=magnification).log_partition
    mean = telescoping.mean_log_ratio(
        total, data, noise, log_partition=roots, magnification=magnification
    )
    shift = (roots + jnp.log(magnification))[:, None]
    return *mean, (-jax.nn.softplus(data - shift), -jax.nn.softplus(shift - noise))


@jax.jit
def _variational(
    data: jax.Array, noise: jax.Array, log_partition: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Donsker and Varadhan's bound, or with an F of its own that of Nguyen, Wainwright and
    Jordan.
    """
    used = (
        nce_jax.diagnostics.importance_log_partition(noise).log_partition
        if log_partition is None
        else log_partition
    )
    carried = jnp.exp(noise - used)
    value = jnp.mean(data) - used + 1 - jnp.mean(carried)
    return value, jnp.sqrt((jnp.var(data) + jnp.var(carried)) / len(data))


@jax.jit
def _influence_error(
    params: Params, schedule: jax.Array, log_weights, x: jax.Array, y: jax.Array
) -> jax.Array:
    """A change V of a stage's moments moves W by C^-1 V C^-1 / 2, and with W the sum at x_0 less
    F_k: by tr((A_0 - C) dW).

    So a pair counts with the quadratic form of U = C^-1 (A_0 - C) C^-1 / 2, under its two weights.
    The part of b is left out: it is one of d / 2 + 1.
    """
    at_data = x.T @ x / len(x)

    def one(weights, data, noise):
        shares = [jnp.exp(side - jnp.max(side)) for side in weights]
        sides = [
            moments(share, side)["quadratic"]
            for share, side in zip(shares, (data, noise), strict=True)
        ]
        metric = (sides[0] + sides[1]) / 2
        inverse = jnp.linalg.inv(metric)
        form = {
            "quadratic": inverse @ (at_data - metric) @ inverse / 2,
            "linear": jnp.zeros(x.shape[1]),
        }
        each = [log_ratio(form, side) for side in (data, noise)]
        scaled = [share / jnp.mean(share) for share in shares]
        centered = [w * (s - jnp.mean(w * s)) for w, s in zip(scaled, each, strict=True)]
        return centered[0] - centered[1]

    return jnp.std(jnp.sum(over_stages(one, log_weights, schedule, x, y), axis=0))
