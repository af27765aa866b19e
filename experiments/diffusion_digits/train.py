"""Runs of one method and seed: a sampler tuned by a critic, or a one-step student."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import distillation
from experiments.common.critic_methods import Method
from experiments.diffusion_digits import methods, sampler, students
from experiments.diffusion_digits.config import CellSettings
from experiments.diffusion_digits.measures import Judge, measure, rows_of
from nce_jax import training

Arrays = dict[str, np.ndarray]
NUM_PICTURES = 20


def checkpoints(settings: CellSettings, num_updates: int) -> np.ndarray:
    """Updates after which a generator is measured."""
    every = num_updates // settings.num_checkpoints
    return every * (1 + np.arange(settings.num_checkpoints))


def tune(
    settings: CellSettings,
    method: Method,
    magnification: float,
    seed: int,
    teacher: Any,
    images: jax.Array,
    judge: Judge,
) -> Arrays:
    """The sampler of few steps, from the teacher, against a critic.

    Arrays (checkpoint,), among them the mean overlap and F of the critic since the last one.
    """
    begin, advance = _tuning(settings, method)
    keys = _keys(settings, seed)
    m, seen = jnp.asarray(magnification), []
    state, found = begin(teacher, m, keys[0]), []
    ends = checkpoints(settings, settings.num_updates)
    for number in range(int(ends[-1])):
        state, *values = advance(state, m, images, keys[1], jnp.asarray(number))
        seen.append(values)
        if number + 1 in ends:
            params = training.averaged_params(state)
            x = sampler.samples(settings, params, jax.random.fold_in(keys[2], number))
            overlap, log_partition, size = np.mean(np.asarray(seen), axis=0)
            more = {"overlap": overlap, "log_partition": log_partition, "magnification": size}
            found.append(measure(judge, x) | more)
            seen = []
    return _stacked(found) | {"pictures": x[:NUM_PICTURES].astype(np.float16)}


@cache
def _tuning(settings: CellSettings, method: Method) -> tuple[Any, Any]:
    """Programs of the first state and of an update, for all M."""

    def programs(magnification: jax.Array) -> tuple[Any, Any]:
        if method.is_guided:
            return methods.make_guidance(settings, method)
        players = methods.make_players(settings, method, magnification)
        return players.init, players

    def begin(teacher: Any, magnification: jax.Array, key: jax.Array) -> Any:
        params = [sampler.init_sampler(settings, teacher)]
        if method.is_guided:
            params.append(methods.init_value(settings, jax.random.fold_in(key, 1)))
        return programs(magnification)[0](*params, methods.init_critic(settings, key, 1))

    def advance(
        state: Any, magnification: jax.Array, images: jax.Array, key: jax.Array, number: jax.Array
    ) -> tuple[Any, ...]:
        key_rows, key_step = jax.random.split(key)
        x = rows_of(jax.random.fold_in(key_rows, number), images, settings.batch_size)
        state, metrics = programs(magnification)[1](state, x, key_step)
        size = metrics["magnification"] if method.is_adaptive else magnification
        return state, metrics["overlap"], metrics["log_partition"], size

    return jax.jit(begin), jax.jit(advance)


def distill(
    settings: CellSettings,
    method: Method,
    magnification: float,
    seed: int,
    teacher: Any,
    images: jax.Array,
    judge: Judge,
) -> Arrays:
    """A one-step student of the teacher; M = 0 is score distillation alone."""
    begin, advance, draw = _distilling(settings, method if magnification else None)
    keys = _keys(settings, seed)
    m = jnp.asarray(max(magnification, 1.0))
    state, found = begin(teacher, m, keys[0]), []
    ends = checkpoints(settings, settings.num_distillation_updates)
    for number in range(int(ends[-1])):
        state = advance(state, teacher, m, images, jax.random.fold_in(keys[1], number))
        if number + 1 in ends:
            net = training.averaged_params(state.players)
            key = jax.random.fold_in(keys[2], number)
            x = sampler.in_blocks(settings, lambda key, net=net: draw(net, key), key)
            found.append(measure(judge, x))
    return _stacked(found) | {"pictures": x[:NUM_PICTURES].astype(np.float16)}


@cache
def _distilling(settings: CellSettings, method: Method | None) -> tuple[Any, Any, Any]:
    def begin(teacher: Any, magnification: jax.Array, key: jax.Array) -> distillation.State:
        rule = students.make_distillation(settings, method, teacher, magnification)
        return rule.init(teacher, teacher, students.init_critic(settings, key))

    def advance(
        state: Any, teacher: Any, magnification: jax.Array, images: jax.Array, key: jax.Array
    ) -> distillation.State:
        key_rows, key_step = jax.random.split(key)
        x = rows_of(key_rows, images, settings.batch_size)
        rule = students.make_distillation(settings, method, teacher, magnification)
        return rule.step(state, x, key_step)[0]

    def draw(net: Any, key: jax.Array) -> jax.Array:
        return students.generate(settings, net, key, sampler.BLOCK)

    return jax.jit(begin), jax.jit(advance), jax.jit(draw)


def _keys(settings: CellSettings, seed: int) -> jax.Array:
    """Of weights, of updates and of measurements: the same for all methods of a seed."""
    return jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), seed), 3)


def _stacked(found: list[Arrays]) -> Arrays:
    return {name: np.stack([item[name] for item in found]) for name in found[0]}
