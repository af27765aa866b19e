"""Natural gradient on all stages of an N2CE chain, with d x d matrices only.

The statistics of a stage are x x' and x. Under a Gaussian with second moment C and mean zero the
Fisher information of x' W x + b' x is W -> 2 C W C, b -> C b, so that its inverse turns a gradient
(G, g) into (C^-1 G C^-1 / 2, C^-1 g).

At the truth the Hessian of N2CE weighs samples by kappa p q / (p + kappa q), and so do the
gradient's two sides: the data by P = kappa q / (p + kappa q), the noise by kappa Q = kappa p / (p +
kappa q). The difference of their second moments is the gradient, and their mean is the metric: the
preconditioner costs only an inverse.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.mutual_information.config import Config
from experiments.mutual_information.stages import Fit, Params, bridge, log_ratio, pairs, zeros
from nce_jax import telescoping


def fit(config: Config, x: jax.Array, key: jax.Array) -> Iterator[Fit]:
    """Natural gradient steps on all data with fresh noise; yields the fit after every step.

    The first step is the whole natural gradient from zero, and step t is min(rate, 1 / t) of it.
    """
    key_pilots, key_passes = jax.random.split(key)
    schedule = find_schedule(config, x, key_pilots)
    state = start(len(schedule) - 1, x.shape[1])
    for index in range(1, config.num_passes + 1):
        rate = 1.0 if index == 1 else min(config.most_rate, 1 / index)
        state = step(
            state, schedule, x, jax.random.fold_in(key_passes, index), rate, config.magnification
        )
        yield Fit(state[0], schedule, config.magnification)


def find_schedule(config: Config, x: jax.Array, key: jax.Array) -> jax.Array:
    """Splits stages until each has the required overlap after one step from zero.

    The step is fitted to most of the data, and the overlap is measured on the others.
    """
    count = config.num_held_out
    fitted, held_out, schedule = x[count:], x[:count], np.array([0.0, 1.0])
    y = jax.random.normal(jax.random.fold_in(key, 0), held_out.shape)
    while True:
        levels = jnp.asarray(schedule, x.dtype)
        first = start(len(schedule) - 1, x.shape[1])
        params, _ = step(
            first, levels, fitted, jax.random.fold_in(key, 1), 1.0, config.magnification
        )
        overlap = [
            float(_overlap(stage, ends, held_out, y)) for stage, ends in _stages(params, levels)
        ]
        finer = telescoping.refine_noise_levels(schedule, overlap, min_overlap=config.min_overlap)
        if len(finer) == len(schedule):
            return jnp.asarray(
                telescoping.even_noise_levels(schedule, overlap, min_overlap=config.min_overlap),
                x.dtype,
            )
        schedule = finer


@jax.jit
def _overlap(params: Params, ends: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    return nce_jax.overlap(*(log_ratio(params, side) for side in bridge(ends, x, y)))


def start(num_stages: int, dim: int) -> tuple[Params, jax.Array]:
    """Parameters and normalizers of all stages, all zero."""
    return zeros(num_stages, dim), jnp.zeros(num_stages)


def step(
    state: Any, schedule: jax.Array, x: jax.Array, key: jax.Array, rate: float, magnification: float
) -> Any:
    """One step of every stage, with one program for any number of stages."""
    y = jax.random.normal(key, x.shape)
    stages = [
        _step(stage, ends, x, y, rate, magnification) for stage, ends in _stages(state, schedule)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *stages)


def _stages(tree: Any, schedule: jax.Array) -> Iterator[tuple[Any, jax.Array]]:
    """Yields one stage at a time, so that pilots of any number of stages share programs."""
    for index, ends in enumerate(pairs(schedule)):
        yield jax.tree.map(lambda leaf: leaf[index], tree), ends  # noqa: B023


@jax.jit
def _step(
    state: Any, ends: jax.Array, x: jax.Array, y: jax.Array, rate: Any, magnification: Any
) -> Any:
    return stage_step(state, *bridge(ends, x, y), rate, magnification)


def stage_step(state: Any, data: jax.Array, noise: jax.Array, rate: Any, magnification: Any) -> Any:
    """A natural gradient step of one stage, with F solved for on the same samples."""
    params, log_partition = state
    criterion = nce_jax.criteria.nce(magnification=magnification)
    ratios = log_ratio(params, data), log_ratio(params, noise)
    root = criterion.profile(*ratios, initial=log_partition).log_partition
    pull, push = jax.grad(criterion.loss, argnums=(0, 1))(*ratios, log_partition=root)
    direction = natural_direction(moments(-pull, data), moments(push, noise))
    return jax.tree.map(lambda leaf, change: leaf + rate * change, params, direction), root


def moments(weights: jax.Array, x: jax.Array) -> Params:
    """Weighted means of the statistics x x' and x."""
    normalized = weights / jnp.sum(weights)
    return {"quadratic": (normalized[:, None] * x).T @ x, "linear": normalized @ x}


def natural_direction(data: Params, noise: Params) -> Params:
    """Difference of the sides' moments, preconditioned by their mean."""
    inverse = jnp.linalg.inv((data["quadratic"] + noise["quadratic"]) / 2)
    gap = jax.tree.map(jnp.subtract, data, noise)
    square = inverse @ gap["quadratic"] @ inverse / 2
    return {"quadratic": (square + square.T) / 2, "linear": inverse @ gap["linear"]}
