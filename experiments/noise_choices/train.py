"""Trains against one noise from checkpoint to checkpoint, and times every step."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.noise_choices.config import Config
from experiments.noise_choices.problems import Problem, kernel, make_model
from nce_jax import adaptive_noise, samplers, training

TIMED = 20
"""Windows of fewer steps are not timed unless they are the last: the call overhead would
dominate."""


class Run(NamedTuple):
    """A training run at its checkpoints.

    Attributes:
      params: parameters of the model.
      log_partition: F, solved on the last batch before the checkpoint.
      overlap: mean overlap of data and noise since the previous checkpoint.
      unsolved: number of steps since then whose status was not CONVERGED.
      seconds: seconds per step of the timed windows.
      noise: the final noise, with the diagnostics of a self-noise.
    """

    params: Any
    log_partition: np.ndarray
    overlap: np.ndarray
    unsolved: np.ndarray
    seconds: np.ndarray
    noise: Any


def checkpoints(config: Config, problem: Problem) -> np.ndarray:
    return np.unique(np.geomspace(1, problem.num_steps, config.num_checkpoints).round().astype(int))


def make_runner(config: Config, problem: Problem, noise: Any) -> Callable[[jax.Array, float], Run]:
    """Builds `run(key, magnification)`, compiled once; `noise` None stands for the self-noise."""
    advance, initial_state = (_self_noise if noise is None else _fixed_noise)(config, problem)
    checkpoint_steps = checkpoints(config, problem)

    def run(key: jax.Array, magnification: float) -> Run:
        key_begin, key_steps = jax.random.split(key)
        state, rows, seconds = _strong(initial_state(key_begin)), [], []
        for first, last in zip([0, *checkpoint_steps[:-1]], checkpoint_steps, strict=True):
            start = time.process_time()
            arguments = key_steps, magnification, np.int32(first), np.int32(last)
            state, record = jax.block_until_ready(advance(state, noise, *arguments))
            if last - first >= TIMED or last == checkpoint_steps[-1]:
                seconds.append((time.process_time() - start) / (last - first))
            rows.append((state.params, *(np.asarray(value) for value in record)))
        columns = zip(*rows, strict=True)
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *next(columns))
        return Run(
            params,
            *map(np.stack, columns),
            np.array(seconds),
            state.noise if noise is None else noise,
        )

    # Compiles before any step is timed.
    arguments = jax.random.key(0), config.magnifications[0], np.int32(0), np.int32(1)
    advance(_strong(initial_state(jax.random.key(0))), noise, *arguments)
    return run


def _strong(state: Any) -> Any:
    """Removes weak types, which the steps do not preserve and which would cost a recompilation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)


def _fixed_noise(config: Config, problem: Problem) -> tuple[Callable, Callable]:
    optimizer = optax.adam(config.learning_rate)
    _, log_density_fn = make_model(config, problem, jax.random.key(0))

    def make_step(noise: Any, criterion: nce_jax.criteria.Criterion) -> Callable:
        return training.make_train_step(
            log_density_fn, noise, optimizer, criterion=criterion, treatment=training.solved()
        )

    def begin(key: jax.Array) -> training.TrainState:
        params, log_density_fn = make_model(config, problem, key)
        return training.make_train_step(log_density_fn, problem.gaussian, optimizer).init(params)

    return _advance(problem, make_step), begin


def _self_noise(config: Config, problem: Problem) -> tuple[Callable, Callable]:
    optimizer, moves = optax.adam(config.learning_rate), kernel(config, problem)
    _, log_density_fn = make_model(config, problem, jax.random.key(0))

    def make_step(
        noise: None, criterion: nce_jax.criteria.Criterion
    ) -> adaptive_noise.SelfNoiseStep:
        return adaptive_noise.make_self_noise_step(
            log_density_fn, optimizer, kernel=moves, refresh_every=config.refresh_every,
            num_steps=config.refresh_moves, criterion=criterion, treatment=training.solved(),
        )  # fmt: skip

    @jax.jit
    def first_noise(key: jax.Array, params: Any) -> adaptive_noise.SelfNoise:
        # The model still is its base measure: all weights are one, and no annealing is needed.
        return adaptive_noise.self_noise(
            key, log_density_fn, params, problem.gaussian, kernel=moves,
            schedule=samplers.linear_schedule(1), num_samples=config.buffer_size, num_steps=1,
        )  # fmt: skip

    def begin(key: jax.Array) -> adaptive_noise.SelfNoiseState:
        params = make_model(config, problem, key)[0]
        train = make_step(None, nce_jax.criteria.nce())
        return train.init(params, first_noise(key, params))

    return _advance(problem, make_step), begin


def _advance(
    problem: Problem, make_step: Callable[[Any, nce_jax.criteria.Criterion], Callable]
) -> Callable:
    """Builds `advance(state, noise, key, magnification, first, last)`, a window of steps.

    It returns the state, and F, overlap and unsolved steps of the window.
    """

    @jax.jit
    def advance(state, noise, key, magnification, first, last):
        step = make_step(noise, nce_jax.criteria.nce(magnification=magnification))
        key_data, key_step = jax.random.split(key)

        def one_step(index, carry):
            state, _, overlap, unsolved = carry
            rows = jax.random.randint(
                jax.random.fold_in(key_data, index), (problem.batch_size,), 0, len(problem.x_train)
            )
            state, metrics = step(state, problem.x_train[rows], key_step)
            fields = metrics if isinstance(metrics, dict) else metrics._asdict()
            is_unsolved = fields["status"] != nce_jax.Status.CONVERGED
            return (
                state,
                fields["log_partition"],
                overlap + fields["overlap"],
                unsolved + is_unsolved,
            )

        carry = state, jnp.zeros(()), jnp.zeros(()), jnp.zeros((), jnp.int32)
        state, log_partition, overlap, unsolved = jax.lax.fori_loop(first, last, one_step, carry)
        return state, (log_partition, overlap / (last - first), unsolved)

    return advance
