"""Gradient descent on all stages at once, for models with many parameters: F solved on every batch,
iterates averaged.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._types import Params
from nce_jax.log_partition import solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.telescoping._bridges import stage_log_ratios
from nce_jax.telescoping._fit.model import Spec


class Descent(NamedTuple):
    """Where a descent stands: the iterate, the average of those that count, and how many they
    are.
    """

    params: Params
    opt_state: optax.OptState
    average: Params
    num_averaged: jax.Array


def start_descent(params: Params, optimizer: optax.GradientTransformation) -> Descent:
    """Before the first step."""
    return Descent(params, optimizer.init(params), params, jnp.int32(0))


@partial(jax.jit, static_argnames=("spec", "optimizer", "batch_size", "is_averaging"))
def descend(
    spec: Spec,
    optimizer: optax.GradientTransformation,
    moments: dict[str, jax.Array],
    state: Descent,
    x: jax.Array,
    kappa: jax.Array,
    *,
    batch_size: int,
    is_averaging: bool,
) -> Descent:
    """One step per batch of x, (K + 1, batches * batch_size, ...), on the mean of the K profiled
    losses.
    """
    batches = jnp.moveaxis(x.reshape(x.shape[0], -1, batch_size, *x.shape[2:]), 1, 0)

    def loss(params: Params, batch: jax.Array) -> jax.Array:
        data, noise = stage_log_ratios(spec.stages_fn, {"model": params, **moments}, batch)
        # The first derivative needs no derivative of F at the root (envelope theorem).
        roots = solve_log_partition(
            *jax.lax.stop_gradient((data, noise)), magnification=kappa
        ).log_partition
        return jnp.mean(nce_loss(data, noise, log_partition=roots, magnification=kappa))

    def body(state: Descent, batch: jax.Array) -> tuple[Descent, None]:
        updates, opt_state = optimizer.update(
            jax.grad(loss)(state.params, batch), state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        count = state.num_averaged + 1 if is_averaging else jnp.int32(0)
        share = 1 / jnp.maximum(count, 1)
        average = jax.tree.map(
            lambda old, new: old + (new - old) * share.astype(new.dtype), state.average, params
        )
        return Descent(params, opt_state, average, count), None

    return jax.lax.scan(body, state, batches)[0]
