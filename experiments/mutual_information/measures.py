"""Estimate of a fit on given data, with the errors due to samples and to parameters."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.mutual_information.natural_gradient import moments
from experiments.mutual_information.stages import Fit, Params, log_ratio, map_stages
from nce_jax import telescoping


class Measures(NamedTuple):
    """Measures on one set of data and as many noise samples; scalars."""

    value: jax.Array
    """Mean log ratio, in nats."""
    standard_error: jax.Array
    """Standard error due to the samples, at fixed parameters."""
    influence_error: jax.Array
    """Standard deviation of the influence of a training pair on the value, through the parameters,
    in the metric of `natural_gradient`."""
    effective_samples: jax.Array
    """Effective sample size in the equation for F, in the poorest stage and on its poorer side."""


def measure(fit: Fit, x: jax.Array, y: jax.Array) -> Measures:
    """Measures a fit on data x and noise y."""
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
    return Measures(
        value, error, _influence_error(fit.params, fit.schedule, weights, x, y), effective
    )


@jax.jit
def _ratios(
    params: Params, schedule: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def stage_ratios(params, data, noise):
        return log_ratio(params, data), log_ratio(params, noise)

    return map_stages(stage_ratios, params, schedule, x, y)


@jax.jit
def _telescoped(total: jax.Array, data: jax.Array, noise: jax.Array, magnification: float):
    """The estimate with every F_k solved for, and the logs of the weights P and Q."""
    roots = nce_jax.solve_log_partition(data, noise, magnification=magnification).log_partition
    mean = telescoping.mean_log_ratio(
        total, data, noise, log_partition=roots, magnification=magnification
    )
    shift = (roots + jnp.log(magnification))[:, None]
    return (
        mean.value,
        mean.standard_error,
        (-jax.nn.softplus(data - shift), -jax.nn.softplus(shift - noise)),
    )


@jax.jit
def _variational(
    data: jax.Array, noise: jax.Array, log_partition: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """The Donsker-Varadhan bound, or with a given F the bound of Nguyen, Wainwright and Jordan."""
    shift = (
        nce_jax.diagnostics.importance_log_partition(noise).log_partition
        if log_partition is None
        else log_partition
    )
    weights = jnp.exp(noise - shift)
    value = jnp.mean(data) - shift + 1 - jnp.mean(weights)
    return value, jnp.sqrt((jnp.var(data) + jnp.var(weights)) / len(data))


@jax.jit
def _influence_error(
    params: Params, schedule: jax.Array, log_weights, x: jax.Array, y: jax.Array
) -> jax.Array:
    """Standard deviation of a pair's influence on the estimate, through the parameters.

    A change V of a stage's moments changes W by C^-1 V C^-1 / 2, and W changes the sum at x_0, less
    F_k, by tr((A_0 - C) dW). A pair therefore contributes the quadratic form of U = C^-1 (A_0 - C)
    C^-1 / 2, under its two weights. The contribution of b is neglected: b is one of d / 2 + 1
    directions.
    """
    second_moment = x.T @ x / len(x)

    def stage_influence(weights, data, noise):
        unit_weights = [jnp.exp(log_weight - jnp.max(log_weight)) for log_weight in weights]
        sides = [
            moments(weight, side)["quadratic"]
            for weight, side in zip(unit_weights, (data, noise), strict=True)
        ]
        metric = (sides[0] + sides[1]) / 2
        inverse = jnp.linalg.inv(metric)
        form = {
            "quadratic": inverse @ (second_moment - metric) @ inverse / 2,
            "linear": jnp.zeros(x.shape[1]),
        }
        values = [log_ratio(form, side) for side in (data, noise)]
        scaled = [weight / jnp.mean(weight) for weight in unit_weights]
        centered = [w * (s - jnp.mean(w * s)) for w, s in zip(scaled, values, strict=True)]
        return centered[0] - centered[1]

    return jnp.std(jnp.sum(map_stages(stage_influence, log_weights, schedule, x, y), axis=0))
