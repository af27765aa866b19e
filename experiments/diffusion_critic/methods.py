"""The critics that are compared, and the two players that each of them makes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, value_guidance
from experiments.common.critic_methods import Method
from experiments.common.perceptron import init_mlp, mlp, with_time
from experiments.diffusion_critic import sampler
from experiments.diffusion_critic.config import Config
from nce_jax import critics, training


def magnifications(config: Config, method: Method) -> tuple[float, ...]:
    """The M that a method is run with; 1 where there is none or a rule chooses."""
    return config.magnifications if method.has_fixed_magnification else (1.0,)


def log_ratio_fn(params: Any, x: jax.Array) -> jax.Array:
    """The critic, (n, 2) -> (n,): minus the energy of a contrastive one."""
    return mlp(params, x)[:, 0]


def init_critic(config: Config, key: jax.Array) -> Any:
    """A critic from random weights."""
    return init_mlp(key, (2, *config.hidden, 1))


def make_critic(config: Config, method: Method, magnification: Any) -> training.TrainStep:
    """The critic's train step."""
    return critic_methods.make_critic(
        method,
        log_ratio_fn,
        optax.adam(config.critic_rate, b1=0.5),
        magnification=magnification,
        strength=config.strength,
    )


def make_players(
    config: Config, length: int, method: Method, magnification: Any, rate: Any
) -> critics.TwoPlayerStep:
    """The two players of a method; M and the sampler's learning rate may be traced."""

    def sample_fn(params: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        path = sampler.sample_path(config, length, params, key, len(x_data))
        return path.after[-1], jnp.mean(jnp.sum(sampler.step_costs(config, path), axis=0))

    return critics.make_two_player_step(
        sample_fn,
        make_critic(config, method, magnification),
        sampler_optimizer(config, rate),
        form=method.form,
        has_loss=True,
    )


def init_value(config: Config, key: jax.Array) -> Any:
    """A value function of state and time from random weights."""
    return init_mlp(key, (5, *config.hidden, 1))


def make_guidance(config: Config, length: int, method: Method, rate: Any) -> Any:
    """Programs of value guidance; the sampler's learning rate may be traced."""
    optimizers = sampler_optimizer(config, rate), optax.adam(config.critic_rate, b1=0.5)
    critic = make_critic(config, method, 1.0)
    return value_guidance.make(_guided(config, length), critic, *optimizers)


def _guided(config: Config, length: int) -> value_guidance.Guided:
    return value_guidance.Guided(
        partial(sampler.sample_path, config, length),
        partial(sampler.take_steps, config, length),
        partial(sampler.step_costs, config),
        lambda value, x, time: mlp(value, with_time(x, time))[:, 0],
        log_ratio_fn,
    )


def sampler_optimizer(config: Config, rate: Any) -> optax.GradientTransformation:
    """Adam with an average of the parameters."""
    return training.with_average(optax.adam(rate, b1=0.5), config.average_decay)
