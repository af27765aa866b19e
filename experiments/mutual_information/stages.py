"""The full quadratic log ratio of every stage of a chain, and the result of a fit."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax import telescoping

Params = dict[str, jax.Array]


class Fit(NamedTuple):
    """Parameters of K stages, their schedule, and kappa (infinite for DV and NWJ)."""

    params: Params
    schedule: jax.Array
    magnification: float = math.inf
    log_partition: jax.Array | None = None
    """F, where the method learns F instead of solving for it."""


def log_ratio(params: Params, x: jax.Array) -> jax.Array:
    """x' W x + b' x of one stage, without its F."""
    return jnp.sum((x @ params["quadratic"]) * x, axis=-1) + x @ params["linear"]


def zeros(num_stages: int, dim: int) -> Params:
    return {"quadratic": jnp.zeros((num_stages, dim, dim)), "linear": jnp.zeros((num_stages, dim))}


def bridge(ends: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Data and noise of the stage between the levels a_k and a_k+1."""
    inner = telescoping.bridges(
        x, y, noise_levels=jnp.concatenate([jnp.zeros(1), ends, jnp.ones(1)])
    )
    return inner[1], inner[2]


def pairs(schedule: jax.Array) -> jax.Array:
    """(K, 2): the levels at both ends of every stage."""
    return jnp.stack([schedule[:-1], schedule[1:]], axis=-1)


def map_stages(
    function: Callable[..., Any], tree: Any, schedule: jax.Array, x: jax.Array, y: jax.Array
) -> Any:
    """Applies `function(tree[k], x_k, x_k+1)` to one stage at a time, to limit memory."""
    return jax.lax.map(
        lambda stage: function(stage[0], *bridge(stage[1], x, y)), (tree, pairs(schedule))
    )
