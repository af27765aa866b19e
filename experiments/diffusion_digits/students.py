"""One-step students: score distillation alone, and with a critic of images with noise."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, score_distillation
from experiments.common.critic_methods import Method
from experiments.common.distillation import Distillation
from experiments.diffusion_digits import methods
from experiments.diffusion_digits.config import CellSettings
from experiments.diffusion_digits.sampler import denoiser
from nce_jax import training


def generate(settings: CellSettings, net: Any, key: jax.Array, count: int) -> jax.Array:
    """Samples of a student: the network denoises pure noise of one level."""
    y = settings.init_level * jax.random.normal(key, (count, settings.side, settings.side, 1))
    return denoiser(settings, net)(y, jnp.full(count, settings.init_level))


def init_critic(settings: CellSettings, key: jax.Array) -> Any:
    """A critic of images with a channel of their noise level, from random weights."""
    return methods.init_critic(settings, key, 2)


def make_distillation(
    settings: CellSettings, method: Method | None, teacher: Any, magnification: Any
) -> Distillation:
    """How a student of a teacher's weights learns; without a method it has no critic."""
    low, high = settings.levels
    return Distillation(
        generate=partial(generate, settings),
        denoiser=partial(denoiser, settings),
        teacher=denoiser(settings, teacher),
        draw_levels=partial(score_distillation.log_uniform_levels, low=low, high=high),
        optimizer=training.with_average(_adam(settings), settings.average_decay),
        fake_optimizer=_adam(settings),
        critic=None if method is None else _make_critic(settings, method, magnification),
        critic_inputs=_critic_inputs,
        critic_weight=settings.student_critic_weight,
    )


def _make_critic(settings: CellSettings, method: Method, magnification: Any) -> training.TrainStep:
    return critic_methods.make_critic(
        method,
        methods.log_ratio_fn(settings, 2),
        optax.adam(settings.critic_rate, b1=0.5),
        magnification=magnification,
        strength=settings.strength,
    )


def _critic_inputs(y: jax.Array, level: jax.Array) -> jax.Array:
    level = score_distillation.of_samples(level, y)
    seen = jnp.broadcast_to(jnp.log(level) / 4, y.shape)
    return jnp.concatenate([y / jnp.sqrt(1 + level**2), seen], axis=-1)


def _adam(settings: CellSettings) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(settings.student_rate, b1=0.0, b2=0.999)
    )
