"""Training: truncated backpropagation through time with steps that update few rows.

A step updates only the rows of the words that occur in it.
"""

import itertools
import time
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.language_model import losses
from experiments.language_model.config import Config
from experiments.language_model.network import Params
from experiments.language_model.steps import Program, compiled_epoch
from experiments.language_model.text import Corpus


class Method(NamedTuple):
    """A loss of `losses`, K, M, and the initial biases.

    Biases start at log frequencies, or all at -log V ("equal").
    """

    loss: str
    num_noise: int
    magnification: float = 1.0
    start: Literal["frequencies", "equal"] = "frequencies"


class Trained(NamedTuple):
    """Parameters, the mean F of the last epoch, and the seconds that all steps took."""

    params: Params
    log_partition: float
    seconds: float


def methods(config: Config) -> list[Method]:
    """Every K, M and treatment of F, and the middle K at M = 1 from equal biases."""
    grid = [Method(losses.FULL, 0), *(Method(losses.SAMPLED, count) for count in config.num_noise)]
    grid += [
        Method(*settings)
        for settings in itertools.product(losses.NCE, config.num_noise, config.magnifications)
    ]
    equal = [Method(losses.FULL, 0), *(Method(name, config.middle) for name in losses.LOSSES)]
    return grid + [method._replace(start="equal") for method in equal]


def as_sequences(ids: np.ndarray, num_sequences: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits a text into sequences of equal length: tokens and next tokens, (sequences, tokens)."""
    length = (len(ids) - 1) // num_sequences
    inputs, targets = (
        ids[shift : shift + num_sequences * length].reshape(num_sequences, length)
        for shift in (0, 1)
    )
    return inputs, targets


def train(config: Config, corpus: Corpus, method: Method, key: jax.Array) -> Trained:
    """Trains one network; seconds exclude compilation."""
    key_start, key_steps = jax.random.split(key)
    text = tuple(jnp.asarray(side) for side in as_sequences(corpus.train, config.batch_size))
    program = Program(
        config, method.loss, method.num_noise, tuple(corpus.counts.tolist()), text[0].shape
    )
    epoch, state = (
        compiled_epoch(program),
        program.start(key_start, _bias(corpus.counts, method.start)),
    )
    m = jnp.asarray(method.magnification)
    keys = jax.random.split(key_steps, config.num_epochs)
    start = time.perf_counter()
    for key_epoch in keys:
        state, log_partitions = epoch(state, text, key_epoch, m)
    jax.block_until_ready(state)
    return Trained(state.params, float(log_partitions.mean()), time.perf_counter() - start)


def _bias(counts: np.ndarray, start: str) -> jax.Array:
    flat = counts if start == "frequencies" else np.ones_like(counts)
    return jnp.asarray(np.log(flat / flat.sum()), jnp.float32)
