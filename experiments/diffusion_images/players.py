"""The two players: a sampler of few steps, or a one-step student, and its critic.

Batches are pairs of images, (n, side, side, 3) from -1 to 1, and classes, (n,). A denoiser of noise
levels is one of the cosine schedule: x_t over its signal is an image with noise of level tan(a t).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, diffusion_steps, score_distillation
from experiments.common.critic_methods import METHODS
from experiments.common.diffusion_steps import LAST_ANGLE
from experiments.common.networks import layers
from experiments.common.networks import shapes as shapes_of
from experiments.common.score_distillation import of_samples
from experiments.diffusion_images.config import Config
from experiments.diffusion_images.denoisers import Teacher
from nce_jax import critics, training

SIGMA_DATA = 0.5
"""Standard deviation of the images that the scores are weighted for. SiD's."""


def init_critic(config: Config, key: jax.Array, channels: int) -> dict[str, jax.Array]:
    """Random weights of a critic of images with so many channels."""
    shapes: shapes_of.Shapes = {}
    for number, width in enumerate(config.critic_channels):
        shapes |= shapes_of.conv(f"conv_{number}", channels, width)
        channels = width
    return layers.init(shapes | shapes_of.conv("output", channels, 1, side=1), key)


def patch_ratios(params: dict[str, jax.Array], pair: Any) -> jax.Array:
    """Log ratios of the patches of images, (n, height, width), by strided convolutions."""
    x = pair[0]
    for number in range(len(params) // 2 - 1):
        x = jax.nn.silu(layers.conv(params, f"conv_{number}", x, stride=2))
    return layers.conv(params, "output", x)[..., 0]


def log_ratio_fn(params: dict[str, jax.Array], pair: Any) -> jax.Array:
    """Log ratios of images, (n,): the sum over patches. The class is not seen, as in DxMI."""
    return patch_ratios(params, pair).sum(axis=(1, 2))


def init_sampler(config: Config, teacher: Teacher, length: int) -> dict[str, Any]:
    """The sampler of so many steps that a teacher is."""
    schedule = diffusion_steps.make_schedule(length, config.last_scale)
    return {"net": teacher.weights, "log_scale": jnp.asarray(schedule.log_scale[:-1])}


def sample_path(
    config: Config, teacher: Teacher, params: Any, key: jax.Array, labels: jax.Array, count: int
) -> diffusion_steps.Path:
    """Paths of given classes, or their last `count` steps, which alone have a gradient."""
    key_start, key_steps = jax.random.split(key)
    schedule = diffusion_steps.make_schedule(len(params["log_scale"]) + 1, config.last_scale)
    steps = diffusion_steps.make_steps(schedule, params["log_scale"], key_steps)
    x = jax.random.normal(key_start, (len(labels), teacher.side, teacher.side, 3))

    def predictor(net: Any) -> diffusion_steps.Predictor:
        def predict(x: jax.Array, time: jax.Array) -> jax.Array:
            angle = LAST_ANGLE * time
            levels = jnp.broadcast_to(jnp.tan(angle), x.shape[:1])
            return teacher.denoise(net, x / jnp.cos(angle), levels, labels)

        return predict

    first = max(len(schedule.time) - count, 0)
    if first:
        held = jax.lax.stop_gradient(params["net"])
        begin = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf[:first]), steps)
        x = diffusion_steps.follow(predictor(held), x, begin).after[-1]
    rest = jax.tree.map(lambda leaf: leaf[first:], steps)
    return diffusion_steps.follow(predictor(params["net"]), x, rest)


def make_sampler(
    config: Config, teacher: Teacher, name: str, magnification: float
) -> critics.TwoPlayerStep:
    """A sampler of few steps and its critic."""
    size = teacher.side**2 * 3

    def sample_fn(params: Any, key: jax.Array, pair: Any) -> tuple[Any, jax.Array]:
        count = config.num_differentiated
        path = sample_path(config, teacher, params, key, pair[1], count)
        # The weights are those of means over pixels, as DxMI has them.
        costs = diffusion_steps.step_costs(
            path, path_weight=config.path_weight / size, entropy_weight=config.entropy_weight / size
        )
        return (path.after[-1], pair[1]), jnp.mean(jnp.sum(costs, axis=0))

    critic = critic_methods.make_critic(
        METHODS[name],
        log_ratio_fn,
        optax.adam(config.critic_rate),
        magnification=magnification,
        strength=config.strength,
    )
    optimizer = training.with_average(optax.adam(config.sampler_rate), config.average_decay)
    form = METHODS[name].form
    return critics.make_two_player_step(sample_fn, critic, optimizer, form=form, has_loss=True)


def init_student(teacher: Teacher) -> dict[str, Any]:
    """Student and fake score, which begin as the teacher, and the teacher, which stays.

    It is a part of the state because constants of its size would be compiled into the step.
    """
    return dict.fromkeys(("net", "fake", "teacher"), teacher.weights)


def generate(
    config: Config, teacher: Teacher, net: Any, key: jax.Array, labels: jax.Array
) -> jax.Array:
    """Images of a student: the network denoises pure noise of one level."""
    shape = (len(labels), teacher.side, teacher.side, 3)
    y = config.init_level * jax.random.normal(key, shape)
    return teacher.denoise(net, y, jnp.full(len(labels), config.init_level), labels)


def make_student(config: Config, teacher: Teacher, magnification: float) -> critics.TwoPlayerStep:
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

    def augment_fn(key: jax.Array, pair: Any) -> Any:
        key_level, key_noise = jax.random.split(key)
        x, labels = pair
        level = edm_levels(key_level, len(x))
        y = score_distillation.add_noise(key_noise, x, level)
        level = of_samples(level, x)
        seen = jnp.broadcast_to(jnp.log(level) / 4, (*x.shape[:-1], 1))
        return jnp.concatenate([y / jnp.sqrt(SIGMA_DATA**2 + level**2), seen], axis=-1), labels

    def ratios(params: dict[str, jax.Array], pair: Any) -> jax.Array:
        return patch_ratios(params, pair if magnification else jax.lax.stop_gradient(pair))

    critic = critic_methods.make_critic(
        METHODS["solved"],
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
        augment_fn=augment_fn,
    )


def edm_levels(key: jax.Array, count: int) -> jax.Array:
    """Noise levels of EDM's training, (count,)."""
    return jnp.exp(1.2 * jax.random.normal(key, (count,)) - 1.2)


def sid_levels(key: jax.Array, count: int) -> jax.Array:
    """Noise levels of SiD's loss of the generator, (count,): .002 to about 24."""
    place = 1 - 0.8 * jax.random.uniform(key, (count,))
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    return (high + place * (low - high)) ** 7
