"""The teacher, a denoiser that predicts x_0 at any time, and the sampler that it makes.

The cosine schedule has signal cos(a t) and noise sin(a t), so that x_t / signal is an image with
noise of level tan(a t): a denoiser of noise levels is the same network.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common import diffusion_steps
from experiments.common.diffusion_steps import LAST_ANGLE, Path
from experiments.common.score_distillation import Denoiser, of_samples
from experiments.diffusion_digits.config import TeacherSettings
from experiments.diffusion_digits.measures import rows_of
from experiments.diffusion_digits.network import init_unet, unet_fn

BLOCK = 100
"""Number of samples that are drawn at once."""


def denoiser(settings: TeacherSettings, net: Any) -> Denoiser:
    """`denoise(y, level)` of images with noise, (n, side, side, 1), and their levels, (n,)."""
    apply = unet_fn(settings.channels)

    def denoise(y: jax.Array, level: jax.Array) -> jax.Array:
        signal = of_samples(1 / jnp.sqrt(1 + level**2), y)
        return apply(net, signal * y, jnp.arctan(level) / LAST_ANGLE)

    return denoise


def denoising_loss(settings: TeacherSettings, net: Any, key: jax.Array, x: jax.Array) -> jax.Array:
    """The mean squared error of x_0 predicted from x_t, at uniform t, weighted.

    The weight, 1 + signal / noise up to 5, is between that of x_0 and that of the noise.
    """
    key_time, key_noise = jax.random.split(key)
    time = jax.random.uniform(key_time, x.shape[:1])
    signal, noise = jnp.cos(LAST_ANGLE * time), jnp.sin(LAST_ANGLE * time)
    seen = of_samples(signal, x) * x + of_samples(noise, x) * jax.random.normal(key_noise, x.shape)
    errors = jnp.mean((unet_fn(settings.channels)(net, seen, time) - x) ** 2, axis=(1, 2, 3))
    return jnp.mean(errors * (1 + jnp.minimum(signal / noise, 5.0)))


def fit_teacher(settings: TeacherSettings, key: jax.Array, images: jax.Array) -> Any:
    """Weights of the teacher, of images (n, side, side, 1)."""
    key_init, key_steps = jax.random.split(key)
    rate = optax.cosine_decay_schedule(settings.teacher_rate, settings.num_teacher_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    @jax.jit
    def advance(net: Any, state: Any, number: jax.Array) -> tuple[Any, Any]:
        keys = jax.random.split(jax.random.fold_in(key_steps, number))
        x = rows_of(keys[0], images, settings.teacher_batch)
        gradient = jax.grad(denoising_loss, argnums=1)(settings, net, keys[1], x)
        updates, state = optimizer.update(gradient, state, net)
        return optax.apply_updates(net, updates), state

    net = init_unet(key_init, settings.channels)
    state = optimizer.init(net)
    for number in range(settings.num_teacher_steps):
        net, state = advance(net, state, jnp.asarray(number))
    return net


def init_sampler(settings: TeacherSettings, net: Any) -> dict[str, Any]:
    """The parameters of the sampler of few steps that the teacher is, scales included."""
    schedule = diffusion_steps.make_schedule(settings.length, settings.last_scale)
    return {"net": net, "log_scale": jnp.asarray(schedule.log_scale[:-1])}


def sample_path(
    settings: TeacherSettings,
    params: dict[str, Any],
    key: jax.Array,
    count: int,
    num_differentiated: int,
) -> Path:
    """So many paths, (T, n, side, side, 1), or their last steps, which alone have a gradient."""
    key_start, key_steps = jax.random.split(key)
    steps = _make_steps(settings, params, key_steps)
    x = jax.random.normal(key_start, (count, settings.side, settings.side, 1))
    first = max(len(steps.time) - num_differentiated, 0)
    if first:
        held = jax.lax.stop_gradient(params)
        begin = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf[:first]), steps)
        x = diffusion_steps.follow(_predictor(settings, held["net"]), x, begin).after[-1]
    rest = jax.tree.map(lambda leaf: leaf[first:], steps)
    return diffusion_steps.follow(_predictor(settings, params["net"]), x, rest)


def take_steps(
    settings: TeacherSettings, params: dict[str, Any], key: jax.Array, before: jax.Array
) -> Path:
    """All steps from given states, with the draws of `sample_path` by the same key."""
    steps = _make_steps(settings, params, jax.random.split(key)[1])
    predict = _predictor(settings, params["net"])
    after = jax.vmap(lambda x, step: diffusion_steps.move(predict, x, step))(before, steps)
    return Path(before, after, steps.log_scale)


def _make_steps(
    settings: TeacherSettings, params: dict[str, Any], key: jax.Array
) -> diffusion_steps.Steps:
    length = len(params["log_scale"]) + 1
    schedule = diffusion_steps.make_schedule(length, settings.last_scale)
    return diffusion_steps.make_steps(schedule, params["log_scale"], key)


def _predictor(settings: TeacherSettings, net: Any) -> diffusion_steps.Predictor:
    apply = unet_fn(settings.channels)
    return lambda x, time: apply(net, x, jnp.broadcast_to(time, x.shape[:1]))


def samples(settings: TeacherSettings, params: dict[str, Any], key: jax.Array) -> np.ndarray:
    """`num_measured` samples of a sampler of any number of steps."""
    return in_blocks(settings, lambda key: _draw(settings)(params, key), key)


def in_blocks(settings: TeacherSettings, draw: Any, key: jax.Array) -> np.ndarray:
    """`num_measured` samples of `draw(key)`, which returns `BLOCK` of them."""
    keys = jax.random.split(key, -(-settings.num_measured // BLOCK))
    return np.concatenate([np.asarray(draw(key)) for key in keys])[: settings.num_measured]


@cache
def _draw(settings: TeacherSettings) -> Any:
    return jax.jit(lambda params, key: sample_path(settings, params, key, BLOCK, 1).after[-1])
