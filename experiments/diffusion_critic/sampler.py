"""A diffusion sampler of T steps, in units of the data's scale, and its denoising teacher.

A network predicts x_0, from which the mean of a step follows; the standard deviations are
parameters but for the last step's.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import diffusion_steps
from experiments.common.diffusion_steps import Path, Schedule, Steps
from experiments.common.perceptron import init_mlp, mlp, with_time
from experiments.diffusion_critic.config import Config

Params = dict[str, Any]


def make_schedule(config: Config, length: int) -> Schedule:
    """The cosine schedule with so many steps."""
    return diffusion_steps.make_schedule(length, config.last_scale)


def init(config: Config, length: int, key: jax.Array) -> Params:
    """A sampler from random weights, with the scales of the schedule."""
    return {
        "net": init_mlp(key, (5, *config.hidden, 2)),
        "log_scale": jnp.asarray(make_schedule(config, length).log_scale[:-1]),
    }


def sample_path(config: Config, length: int, params: Params, key: jax.Array, count: int) -> Path:
    """So many paths of the sampler, differentiable in its parameters."""
    key_start, key_steps = jax.random.split(key)
    start = jax.random.normal(key_start, (count, 2))
    return diffusion_steps.follow(
        _predictor(params), start, _make_steps(config, length, params, key_steps)
    )


def take_steps(
    config: Config, length: int, params: Params, key: jax.Array, before: jax.Array
) -> Path:
    """The same steps from given states, with the draws of `sample_path` by the same key."""
    steps = _make_steps(config, length, params, jax.random.split(key)[1])
    predict = _predictor(params)
    after = jax.vmap(lambda x, step: diffusion_steps.move(predict, x, step))(before, steps)
    return Path(before, after, steps.log_scale)


def _predictor(params: Params) -> diffusion_steps.Predictor:
    return lambda x, time: mlp(params["net"], with_time(x, time))


def _make_steps(config: Config, length: int, params: Params, key: jax.Array) -> Steps:
    return diffusion_steps.make_steps(make_schedule(config, length), params["log_scale"], key)


def step_costs(config: Config, path: Path) -> jax.Array:
    """The cost of each step of each path, (T, n): its length less its entropy, weighted."""
    return diffusion_steps.step_costs(
        path, path_weight=config.path_weight, entropy_weight=config.entropy_weight
    )


def denoising_loss(
    config: Config, length: int, params: Params, key: jax.Array, x: jax.Array
) -> jax.Array:
    """The mean squared error of x_0 predicted from x_t, at uniform t."""
    schedule = make_schedule(config, length)
    key_time, key_noise = jax.random.split(key)
    index = jax.random.randint(key_time, x.shape[:1], 0, length)
    signal, noise, time = (
        jnp.asarray(field)[index] for field in (schedule.signal, schedule.noise, schedule.time)
    )
    noised = signal[:, None] * x + noise[:, None] * jax.random.normal(key_noise, x.shape)
    return jnp.mean((mlp(params["net"], with_time(noised, time)) - x) ** 2)


def fit_teacher(config: Config, length: int, key: jax.Array, draw_data: Any) -> Params:
    """A sampler by denoising alone, with the scales of the schedule."""
    schedule = optax.cosine_decay_schedule(2e-3, config.num_teacher_steps)
    optimizer = optax.adam(schedule)
    params = init(config, length, key)

    def advance(state: Any, step: jax.Array) -> tuple[Any, None]:
        params, opt_state = state
        keys = jax.random.split(jax.random.fold_in(key, step))
        gradient = jax.grad(denoising_loss, argnums=2)(
            config, length, params, keys[0], draw_data(keys[1])
        )
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    steps = jnp.arange(config.num_teacher_steps)
    return jax.lax.scan(advance, (params, optimizer.init(params)), steps)[0][0]
