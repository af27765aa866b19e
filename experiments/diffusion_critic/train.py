"""Training of all lanes of a method: every M, start and seed in one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import eight_gaussians, settings
from experiments.common.critic_methods import Method
from experiments.diffusion_critic import methods, sampler
from experiments.diffusion_critic.config import Config
from nce_jax import training

STARTS = ("random weights", "the teacher")


class Trace(NamedTuple):
    """What is recorded of a run at its checkpoints, (checkpoint,) each."""

    measures: eight_gaussians.Measures
    overlap: jax.Array
    log_partition: jax.Array


class Lane(NamedTuple):
    """One run: its sampler's first parameters and learning rate, M, and key."""

    params: Any
    rate: jax.Array
    magnification: jax.Array
    key: jax.Array


def fit_teachers(config: Config, length: int, keys: jax.Array) -> Any:
    """The teachers of all seeds."""

    def draw(key: jax.Array) -> jax.Array:
        return eight_gaussians.draw_data(config, key, config.batch_size) / config.scale

    return jax.jit(jax.vmap(lambda key: sampler.fit_teacher(config, length, key, draw)))(keys)


def measure_teachers(config: Config, length: int, teachers: Any, keys: jax.Array) -> Any:
    """The measures of the teachers themselves, as samplers of so many steps."""
    return jax.jit(jax.vmap(lambda params, key: _measure(config, length, params, key)))(
        teachers, keys
    )


def lanes_of(
    config: Config, length: int, magnifications: tuple[float, ...], teachers: Any, keys: jax.Array
) -> Lane:
    """Lanes (magnification, start, seed, ...); a seed has the same key in all of them."""
    scratch = jax.vmap(lambda key: sampler.init(config, length, key))(keys)
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), scratch, teachers)
    rates = jnp.array([config.scratch_rate, config.teacher_rate])
    shape = len(magnifications), len(STARTS), len(keys)
    return Lane(
        jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (shape[0], *leaf.shape)), params),
        jnp.broadcast_to(rates[None, :, None], shape),
        jnp.broadcast_to(jnp.array(magnifications)[:, None, None], shape),
        jnp.broadcast_to(keys, shape),
    )


def train(config: Config, length: int, method: Method, lanes: Lane) -> Trace:
    """The traces of all lanes, (magnification, start, seed, checkpoint)."""
    shape = lanes.rate.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(shape) :]), lanes)
    run = jax.jit(jax.vmap(lambda lane: _run(config, length, method, lane)))
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(*shape, -1), run(flat))


def checkpoints(config: Config) -> np.ndarray:
    """Steps after which samplers are measured."""
    every = settings.steps_between(config)
    return every * (1 + np.arange(config.num_checkpoints))


def _run(config: Config, length: int, method: Method, lane: Lane) -> Trace:
    keys = jax.random.split(lane.key, 4)
    state, step = _begin(config, length, method, lane, keys[0])
    every = settings.steps_between(config)

    def advance(state: Any, number: jax.Array) -> tuple[Any, Any]:
        key_data, key_step = jax.random.split(jax.random.fold_in(keys[1], number))
        x_data = eight_gaussians.draw_data(config, key_data, config.batch_size) / config.scale
        state, metrics = step(state, x_data, key_step)
        return state, (metrics["overlap"], metrics["log_partition"])

    def to_checkpoint(state: Any, first: jax.Array) -> tuple[Any, Trace]:
        state, seen = jax.lax.scan(advance, state, first + jnp.arange(every))
        params = training.averaged_params(state)
        measured = _measure(config, length, params, jax.random.fold_in(keys[2], first))
        return state, Trace(measured, *(values.mean() for values in seen))

    return jax.lax.scan(to_checkpoint, state, every * jnp.arange(config.num_checkpoints))[1]


def _begin(
    config: Config, length: int, method: Method, lane: Lane, key: jax.Array
) -> tuple[Any, Callable[..., Any]]:
    keys = jax.random.split(key)
    critic_params = methods.init_critic(config, keys[0])
    if method.is_guided:
        init, step = methods.make_guidance(config, length, method, lane.rate)
        return init(lane.params, methods.init_value(config, keys[1]), critic_params), step
    players = methods.make_players(config, length, method, lane.magnification, lane.rate)
    return players.init(lane.params, critic_params), players


def _measure(config: Config, length: int, params: Any, key: jax.Array) -> eight_gaussians.Measures:
    keys = jax.random.split(key, 3)
    path = sampler.sample_path(config, length, params, keys[0], config.num_measured)
    data = eight_gaussians.draw_data(config, keys[1], config.num_measured)
    return eight_gaussians.measure(config, config.scale * path.after[-1], data, keys[2])
