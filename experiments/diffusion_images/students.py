"""A one-step student, distilled from a teacher's score, and its critic of noised images."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, score_distillation
from experiments.common.critic_methods import METHODS
from experiments.common.score_distillation import of_samples
from experiments.diffusion_images.config import Config
from experiments.diffusion_images.denoisers import Teacher
from experiments.diffusion_images.players import patch_ratios
from nce_jax import critics, training

SIGMA_DATA = 0.5
"""Standard deviation of the images that the scores are weighted for. SiD's."""


def init_student(teacher: Teacher, start: dict[str, jax.Array]) -> dict[str, Any]:
    """The student, the fake score, which begins as the teacher, and the teacher, which stays.

    It is a part of the state because constants of its size would be compiled into the step.
    """
    return {"net": start, "fake": teacher.weights, "teacher": teacher.weights}


def generate(
    config: Config, teacher: Teacher, net: Any, key: jax.Array, labels: jax.Array
) -> jax.Array:
    """Images of a student: the network denoises pure noise of one level."""
    shape = (len(labels), teacher.side, teacher.side, 3)
    y = config.init_level * jax.random.normal(key, shape)
    return teacher.denoise(net, y, jnp.full(len(labels), config.init_level), labels)


def make_student(
    config: Config, teacher: Teacher, name: str, magnification: float
) -> critics.TwoPlayerStep:
    """A one-step student, whose own part of the loss is score distillation, and its critic.

    The fake score is a part of the student's parameters: it learns from samples that are held
    fixed, at the same step. The origin's moves before. For M = 0 the critic, of M = 1, sees samples
    that pass no gradient on: it is trained, and its overlap reported, but nobody learns from it.
    """

    def sample_fn(params: Any, key: jax.Array, pair: Any) -> tuple[Any, jax.Array]:
        keys = jax.random.split(key, 5)
        labels, held = pair[1], jax.lax.stop_gradient(params)
        x = generate(config, teacher, params["net"], keys[0], labels)

        def denoiser(net: Any) -> score_distillation.Denoiser:
            return lambda y, level: teacher.denoise(net, y, level, labels)

        of_student = score_distillation.score_identity_loss(
            denoiser(held["teacher"]),
            denoiser(held["fake"]),
            x,
            sid_levels(keys[1], len(x)),
            keys[2],
            alpha=config.alpha,
        )
        of_fake = score_distillation.denoising_loss(
            denoiser(params["fake"]),
            jax.lax.stop_gradient(x),
            edm_levels(keys[3], len(x)),
            keys[4],
            scale=SIGMA_DATA,
        )
        return (x, labels), of_student + of_fake

    def ratios(params: dict[str, jax.Array], pair: Any) -> jax.Array:
        return patch_ratios(params, pair if magnification else jax.lax.stop_gradient(pair))

    critic = critic_methods.make_critic(
        METHODS[name],
        ratios,
        optax.adam(config.critic_rate),
        magnification=magnification or 1.0,
        strength=config.strength,
        is_spatial=True,
    )
    optimizer = optax.partition(
        {"moved": optax.adam(config.student_rate, b1=0.0), "held": optax.set_to_zero()},
        {"net": "moved", "fake": "moved", "teacher": "held"},
    )
    return critics.make_two_player_step(
        sample_fn,
        critic,
        training.with_average(optimizer, config.average_decay),
        critic_weight=config.student_critic_weight,
        has_loss=True,
        augment_fn=_with_noise,
    )


def _with_noise(key: jax.Array, pair: Any) -> Any:
    """Noised images with a channel of their level; levels are drawn alike on both sides."""
    key_level, key_noise = jax.random.split(key)
    x, labels = pair
    level = edm_levels(key_level, len(x))
    y = score_distillation.add_noise(key_noise, x, level)
    level = of_samples(level, x)
    seen = jnp.broadcast_to(jnp.log(level) / 4, (*x.shape[:-1], 1))
    return jnp.concatenate([y / jnp.sqrt(SIGMA_DATA**2 + level**2), seen], axis=-1), labels


def edm_levels(key: jax.Array, count: int) -> jax.Array:
    """Noise levels of EDM's training, (count,)."""
    return jnp.exp(1.2 * jax.random.normal(key, (count,)) - 1.2)


def sid_levels(key: jax.Array, count: int) -> jax.Array:
    """Noise levels of SiD's loss of the generator, (count,): .002 to about 24."""
    place = 1 - 0.8 * jax.random.uniform(key, (count,))
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    return (high + place * (low - high)) ** 7
