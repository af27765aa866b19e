"""A sampler of few steps and its critic.

Batches are pairs of images, (n, side, side, 3) from -1 to 1, and classes, (n,). A denoiser of noise
levels is one of the cosine schedule: x_t over its signal is an image with noise of level tan(a t).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, diffusion_steps
from experiments.common.critic_methods import METHODS
from experiments.common.diffusion_steps import LAST_ANGLE
from experiments.common.networks import layers
from experiments.common.networks import shapes as shapes_of
from experiments.diffusion_images.config import Config
from experiments.diffusion_images.denoisers import Teacher
from nce_jax import critics, training


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

        # The activations of all steps would not fit a device: each is computed once more instead.
        return jax.checkpoint(predict)

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
    optimizer = optax.partition(
        {"net": optax.adam(config.sampler_rate), "log_scale": optax.adam(config.scale_rate)},
        {"net": "net", "log_scale": "log_scale"},
    )
    return critics.make_two_player_step(
        sample_fn,
        critic,
        training.with_average(optimizer, config.average_decay),
        form=METHODS[name].form,
        has_loss=True,
    )
