"""The critics of the digits, and the two players that each of them makes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, diffusion_steps, value_guidance
from experiments.common.critic_methods import METHODS, Method
from experiments.diffusion_digits import sampler
from experiments.diffusion_digits.config import CellSettings, Config
from nce_jax import critics, models, training


def magnifications(config: Config, name: str) -> tuple[float, ...]:
    """The M that a method is run with; 1 where there is none or a rule chooses."""
    if not METHODS[name].has_fixed_magnification:
        return (1.0,)
    return config.magnifications if name == "solved" else config.fewer_magnifications


def init_critic(settings: CellSettings, key: jax.Array, num_images: int) -> Any:
    """A critic of so many images per sample from random weights."""
    return _critic(settings, key, num_images)[0]


def log_ratio_fn(settings: CellSettings, num_images: int) -> Any:
    """The critic, (n, side, side, num_images) -> (n,): minus the energy of a contrastive one."""
    return _critic(settings, jax.random.key(0), num_images)[1]


def _critic(settings: CellSettings, key: jax.Array, num_images: int) -> tuple[Any, Any]:
    shape = (settings.side, settings.side, num_images)
    return models.conv_energy(key, shape, channels=settings.critic_channels)


def make_players(
    settings: CellSettings, method: Method, magnification: Any
) -> critics.TwoPlayerStep:
    """The two players of a method; M may be traced."""

    def sample_fn(params: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        path = sampler.sample_path(settings, params, key, len(x_data), settings.num_differentiated)
        return path.after[-1], jnp.mean(jnp.sum(_step_costs(settings, path), axis=0))

    return critics.make_two_player_step(
        sample_fn,
        _make_critic(settings, method, magnification),
        _sampler_optimizer(settings),
        form=method.form,
        has_loss=True,
    )


def init_value(settings: CellSettings, key: jax.Array) -> Any:
    """A value function of images and times from random weights."""
    return init_critic(settings, key, 2)


def make_guidance(settings: CellSettings, method: Method) -> Any:
    """Programs of value guidance, whose gradient passes through one step at a time."""
    optimizers = _sampler_optimizer(settings), optax.adam(settings.critic_rate, b1=0.5)
    critic = _make_critic(settings, method, 1.0)
    return value_guidance.make(_guided(settings), critic, *optimizers)


def _guided(settings: CellSettings) -> value_guidance.Guided:
    value_of = log_ratio_fn(settings, 2)

    def sample_path(params: Any, key: jax.Array, count: int) -> diffusion_steps.Path:
        return sampler.sample_path(settings, params, key, count, settings.length)

    def value_fn(value: Any, x: jax.Array, time: jax.Array) -> jax.Array:
        return value_of(value, jnp.concatenate([x, jnp.full_like(x, time)], axis=-1))

    return value_guidance.Guided(
        sample_path,
        partial(sampler.take_steps, settings),
        partial(_step_costs, settings),
        value_fn,
        log_ratio_fn(settings, 1),
    )


def _make_critic(settings: CellSettings, method: Method, magnification: Any) -> training.TrainStep:
    return critic_methods.make_critic(
        method,
        log_ratio_fn(settings, 1),
        optax.adam(settings.critic_rate, b1=0.5),
        magnification=magnification,
        strength=settings.strength,
    )


def _sampler_optimizer(settings: CellSettings) -> optax.GradientTransformation:
    optimizer = optax.adam(settings.sampler_rate, b1=0.5)
    return training.with_average(optimizer, settings.average_decay)


def _step_costs(settings: CellSettings, path: diffusion_steps.Path) -> jax.Array:
    return diffusion_steps.step_costs(
        path, path_weight=settings.path_weight, entropy_weight=settings.entropy_weight
    )
