"""The exact denoiser of the teacher, in units of the data's scale, and a network fitted to it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import eight_gaussians, perceptron, score_distillation
from experiments.one_step.config import Config


def denoise(config: Config, y: jax.Array, level: jax.Array) -> jax.Array:
    """E[x | y] of the mixture with the teacher's width, (n, 2) and (n,) to (n, 2).

    Of one mode it is the weighted mean of its center and y; the weights of the modes are those of
    the mixture of noised modes.
    """
    centers = jnp.asarray(eight_gaussians.centers(config)) / config.scale
    variance = (config.teacher_std / config.scale) ** 2
    total = (variance + level**2)[:, None]
    squares = jnp.sum((y[:, None] - centers[None]) ** 2, axis=-1)
    center = jax.nn.softmax(-squares / (2 * total), axis=1) @ centers
    return (level[:, None] ** 2 * center + variance * y) / total


def draw(config: Config, key: jax.Array, count: int) -> jax.Array:
    """Samples of the teacher, (count, 2), in units of the data's scale."""
    wrong = dataclasses.replace(config, std=config.teacher_std)
    return eight_gaussians.draw_data(wrong, key, count) / config.scale


def init_network(config: Config, key: jax.Array) -> Any:
    """Random weights of a denoising network."""
    return perceptron.init_mlp(key, (5, *config.hidden, 2))


def network(params: Any) -> score_distillation.Denoiser:
    """The denoiser of a network."""
    return score_distillation.preconditioned(
        lambda y, time: perceptron.mlp(params, perceptron.with_time(y, time))
    )


def fit(config: Config, key: jax.Array) -> Any:
    """A network fitted to the teacher at all noise levels, and where the generator is used."""
    optimizer = optax.adam(optax.cosine_decay_schedule(config.fit_rate, config.num_fit_steps))
    params = init_network(config, key)
    low, high = config.levels
    high = max(high, config.init_level)

    def loss(params: Any, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 3)
        x = draw(config, keys[0], 2 * config.batch_size)
        level = score_distillation.log_uniform_levels(keys[1], len(x), low, high)
        return score_distillation.denoising_loss(
            network(params), x, level, keys[2], target=lambda y, at: denoise(config, y, at)
        )

    def advance(state: Any, step: jax.Array) -> tuple[Any, None]:
        params, opt_state = state
        gradient = jax.grad(loss)(params, jax.random.fold_in(key, step))
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    steps = jnp.arange(config.num_fit_steps)
    return jax.lax.scan(advance, (params, optimizer.init(params)), steps)[0][0]
