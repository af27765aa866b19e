"""Training of all lanes of a method: every M and seed in one program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import eight_gaussians, settings
from experiments.one_step import players, teacher
from experiments.one_step.config import Config
from nce_jax import training


class Trace(NamedTuple):
    """What is recorded of a run at its checkpoints, (checkpoint,) each.

    Overlap of the critic's batches, F and M are means since the last checkpoint; NaN without one.
    """

    measures: eight_gaussians.Measures
    overlap: jax.Array
    log_partition: jax.Array
    magnification: jax.Array


def fit_starts(config: Config, keys: jax.Array) -> Any:
    """The networks with which the runs of each seed begin."""
    return jax.jit(jax.vmap(lambda key: teacher.fit(config, key)))(keys)


def measure_starts(config: Config, starts: Any, keys: jax.Array) -> eight_gaussians.Measures:
    """The measures of the generators before their first update, (seed,)."""
    return jax.jit(jax.vmap(lambda params, key: _measure(config, params, key)))(starts, keys)


def train(config: Config, method: players.Method, starts: Any, keys: jax.Array) -> Trace:
    """The traces of all lanes, (magnification, seed, checkpoint); a seed's keys are the same."""
    sizes = jnp.array(method.magnifications(config))
    of_seeds = jax.vmap(
        lambda size, params, key: _run(config, method, size, params, key), in_axes=(None, 0, 0)
    )
    run = jax.jit(jax.vmap(of_seeds, in_axes=(0, None, None)))
    return jax.tree.map(np.asarray, run(sizes, starts, keys))


def checkpoints(config: Config) -> np.ndarray:
    """Updates after which generators are measured."""
    every = settings.steps_between(config)
    return every * (1 + np.arange(config.num_checkpoints))


def _run(
    config: Config, method: players.Method, magnification: Any, params: Any, key: jax.Array
) -> Trace:
    keys = jax.random.split(key, 3)
    distillation = players.make_distillation(config, method, magnification)
    start = distillation.init(params, params, players.init_critic(config, keys[0]))
    every = settings.steps_between(config)

    def advance(state: Any, number: jax.Array) -> tuple[Any, Any]:
        key_data, key_step = jax.random.split(jax.random.fold_in(keys[1], number))
        x_data = eight_gaussians.draw_data(config, key_data, config.batch_size) / config.scale
        state, metrics = distillation.step(state, x_data, key_step)
        missing = {"overlap": jnp.nan, "log_partition": jnp.nan, "magnification": magnification}
        seen = {name: metrics.get(name) for name in missing}
        return state, {k: missing[k] if seen[k] is None else seen[k] for k in missing}

    def to_checkpoint(state: Any, first: jax.Array) -> tuple[Any, Trace]:
        state, seen = jax.lax.scan(advance, state, first + jnp.arange(every))
        averaged = training.averaged_params(state.players)
        measured = _measure(config, averaged, jax.random.fold_in(keys[2], first))
        return state, Trace(measured, **{name: value.mean() for name, value in seen.items()})

    return jax.lax.scan(to_checkpoint, start, every * jnp.arange(config.num_checkpoints))[1]


def _measure(config: Config, params: Any, key: jax.Array) -> eight_gaussians.Measures:
    keys = jax.random.split(key, 3)
    x = players.generate(config, params, keys[0], config.num_measured)
    data = eight_gaussians.draw_data(config, keys[1], config.num_measured)
    return eight_gaussians.measure(config, config.scale * x, data, keys[2])
