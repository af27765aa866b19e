"""Steps of an epoch, by sampled words or by the full softmax, in one compiled program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.language_model import losses
from experiments.language_model.config import Config
from experiments.language_model.network import Params, empty, init, read
from nce_jax import noise, training


class State(NamedTuple):
    """Parameters, and the optimizer states of the table and of all other parameters."""

    params: Params
    table_state: Any
    core_state: Any


class Program(NamedTuple):
    """Static arguments of a compiled program; M and all random numbers are traced."""

    config: Config
    loss: str
    num_noise: int
    counts: tuple[int, ...]
    shape: tuple[int, int]

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        return self.shape[1] // self.config.length

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(
            optax.cosine_decay_schedule(
                self.config.learning_rate, self.config.num_epochs * self.num_steps
            )
        )

    def start(self, key: jax.Array, bias: jax.Array) -> State:
        params = init(self.config, bias, key)
        state = State(params, self.optimizer.init(params.table), self.optimizer.init(params.core))
        return jax.tree.map(jnp.copy, state)  # donated buffers must be distinct


@functools.cache
def compiled_epoch(program: Program):
    """Compiles an epoch: state, text, key and M give the next state and the F of every step.

    The state is donated.
    """
    text = (jax.ShapeDtypeStruct(program.shape, jnp.int32),) * 2
    key, m = jax.random.key(0), jnp.ones(())
    epoch = jax.jit(functools.partial(_epoch, program), donate_argnums=0)
    state = jax.eval_shape(
        program.start, key, jax.ShapeDtypeStruct((len(program.counts),), jnp.float32)
    )
    return epoch.lower(state, text, key, m).compile()


def _epoch(program: Program, state: State, text, key: jax.Array, magnification: jax.Array):
    length = program.config.length
    if program.loss == losses.FULL:
        update = functools.partial(_full_step, program)
    else:
        words = noise.unigram(np.array(program.counts), power=program.config.noise_power)
        update = functools.partial(_sampling_step, program, words, magnification)

    def step(carry, item):
        state, memory = carry
        index, key = item
        inputs, targets = (
            jax.lax.dynamic_slice_in_dim(side, index * length, length, axis=1) for side in text
        )
        state, memory, log_partition = update(state, memory, inputs, targets, key)
        return (state, memory), log_partition

    steps = jnp.arange(program.num_steps), jax.random.split(key, program.num_steps)
    (state, _), log_partitions = jax.lax.scan(
        step, (state, empty(program.config, program.shape[0])), steps
    )
    return state, log_partitions


def _sampling_step(
    program: Program, words, magnification, state: State, memory, inputs, targets, key
):
    """Trains on the gathered rows of the step's words, and writes them back."""
    key_noise, key_drop = jax.random.split(key)
    noise_ids, log_q = words.sample_and_log_prob(seed=key_noise, sample_shape=program.num_noise)
    log_noise = {"log_noise_targets": words.log_prob(targets.reshape(-1)), "log_noise_ids": log_q}
    rows = training.touched_rows(inputs, targets, noise_ids, num_rows=len(program.counts))
    input_rows, target_rows, noise_rows = rows.positions

    def objective(params: Params):
        hidden, last = read(
            program.config, params.core, params.table["embedding"][input_rows], memory, key_drop
        )
        batch = losses.Batch(
            hidden.reshape(-1, hidden.shape[-1]), target_rows.reshape(-1), noise_rows, log_noise
        )
        value, log_partition = losses.LOSSES[program.loss](
            params.table, batch, params.core["log_partition"], magnification
        )
        return value, (last, log_partition)

    small = state.params._replace(table=training.gather_rows(state.params.table, rows))
    gradient, (last, log_partition) = jax.grad(objective, has_aux=True)(small)
    optimizer = program.optimizer
    table, table_state = training.update_rows(
        optimizer, gradient.table, state.table_state, state.params.table, rows
    )
    core, core_state = _update(optimizer, gradient.core, state.core_state, state.params.core)
    return State(Params(table, core), table_state, core_state), last, log_partition


def _full_step(program: Program, state: State, memory, inputs, targets, key):
    """Trains on all rows, since every row has a gradient."""

    def objective(params: Params):
        hidden, last = read(
            program.config, params.core, params.table["embedding"][inputs], memory, key
        )
        return losses.full(
            params.table, hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
        ), last

    gradient, last = jax.grad(objective, has_aux=True)(state.params)
    optimizer = program.optimizer
    table, table_state = _update(optimizer, gradient.table, state.table_state, state.params.table)
    core, core_state = _update(optimizer, gradient.core, state.core_state, state.params.core)
    return State(Params(table, core), table_state, core_state), last, jnp.zeros(())


def _update(optimizer, gradient, state, params):
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state
