"""The critics of the digits, and the two players that each of them makes."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, diffusion_steps
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
        costs = diffusion_steps.step_costs(
            path, path_weight=settings.path_weight, entropy_weight=settings.entropy_weight
        )
        return path.after[-1], jnp.mean(jnp.sum(costs, axis=0))

    critic = critic_methods.make_critic(
        method,
        log_ratio_fn(settings, 1),
        optax.adam(settings.critic_rate, b1=0.5),
        magnification=magnification,
        strength=settings.strength,
    )
    optimizer = optax.adam(settings.sampler_rate, b1=0.5)
    return critics.make_two_player_step(
        sample_fn,
        critic,
        training.with_average(optimizer, settings.average_decay),
        form=method.form,
        has_loss=True,
    )
