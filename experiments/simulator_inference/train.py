"""Trains every loss on the same simulations, networks and batches, all seeds at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.simulator_inference.config import Config
from experiments.simulator_inference.simulator import MATRIX, Pairs
from nce_jax import models

LogRatioFn = Callable[[Any, jax.Array, jax.Array], jax.Array]
"""`log_ratio_fn(params, theta, x)`, (n,)."""


def losses(config: Config) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """Losses by name, as functions of the log ratios (n, K + K) of every x.

    The parameters of a row are its own, K - 1 independent ones, and K more independent ones.
    """
    size, second_start = config.num_classes, config.num_classes

    def contrastive(s: jax.Array) -> jax.Array:
        return nce_jax.losses.nre_c_loss(
            s[:, 0], s[:, second_start:], log_ratio_contrast=s[:, 1:size], gamma=config.gamma
        )

    return {
        "NRE-A": lambda s: nce_jax.losses.nre_a_loss(s[:, 0], s[:, second_start]),
        "NRE-A, M": lambda s: nce_jax.nce_loss(
            s[:, 0], s[:, second_start], magnification=config.magnification
        ),
        "balanced": lambda s: nce_jax.losses.balanced_nre_loss(
            s[:, 0], s[:, second_start], strength=config.strength
        ),
        "NRE-B": lambda s: nce_jax.losses.nre_b_loss(s[:, 0], s[:, 1:size]),
        "NRE-C": contrastive,
    }


def make_network(config: Config, key: jax.Array) -> tuple[Any, LogRatioFn]:
    params, energy = models.mlp_energy(key, MATRIX.size // 2 + 2, hidden=config.hidden)
    return params, lambda params, theta, x: energy(params, jnp.concatenate([theta, x], axis=-1))


def train(
    config: Config, loss: Callable[[jax.Array], jax.Array], pairs: Pairs, key: jax.Array
) -> Any:
    """The parameters after `num_steps` on batches drawn from the simulations."""
    key_network, key_batches = jax.random.split(key)
    params, log_ratio_fn = make_network(config, key_network)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.num_steps))

    def objective(params, batch):
        # Contrasting parameters are those of other pairs in the batch, which are independent of x.
        parameter_sets = [
            jnp.roll(batch.theta, shift, axis=0) for shift in range(2 * config.num_classes)
        ]
        s = jax.vmap(lambda theta: log_ratio_fn(params, theta, batch.x), out_axes=-1)(
            jnp.stack(parameter_sets)
        )
        return loss(s)

    def step(carry, key):
        params, state = carry
        chosen = jax.random.randint(key, (config.batch_size,), 0, len(pairs.theta))
        updates, state = optimizer.update(
            jax.grad(objective)(params, jax.tree.map(lambda leaf: leaf[chosen], pairs)), state
        )
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key_batches, config.num_steps)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
    return params
