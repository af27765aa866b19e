"""Measures of a trained network: perplexity over all words, and the self-normalization error."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.language_model.config import Config
from experiments.language_model.network import Params, empty, read
from experiments.language_model.train import Trained, as_sequences

LENGTH = 64
"""Tokens per sequence read in one call."""


def evaluate(config: Config, trained: Trained, test: np.ndarray) -> dict[str, float]:
    """Perplexity of the test text, and mean and spread of log Z - F over its first contexts."""
    inputs, targets = (jnp.asarray(side) for side in as_sequences(test, config.test_places))
    loss, hidden = _read(config, trained.params, inputs, targets)
    contexts = hidden.reshape(-1, hidden.shape[-1])[: config.num_contexts]
    report = nce_jax.diagnostics.self_normalization(
        contexts, **trained.params.table, log_partition=trained.log_partition
    )
    return {
        "perplexity": float(np.exp(loss)),
        "log_z_mean": float(report.mean),
        "log_z_standard_deviation": float(report.standard_deviation),
    }


def _read(
    config: Config, params: Params, inputs: jax.Array, targets: jax.Array
) -> tuple[float, jax.Array]:
    """Mean loss of the full softmax, and the states at which it was taken."""
    total, states, memory = 0.0, [], empty(config, len(inputs))
    for start in range(0, inputs.shape[1], LENGTH):
        piece = (side[:, start : start + LENGTH] for side in (inputs, targets))
        loss, hidden, memory = _piece(config, params, memory, *piece)
        total += float(loss) * hidden.shape[0] * hidden.shape[1]
        states.append(hidden)
    return total / inputs.size, jnp.concatenate(states, axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _piece(
    config: Config, params: Params, memory: jax.Array, inputs: jax.Array, targets: jax.Array
) -> Any:
    hidden, memory = read(config, params.core, params.table["embedding"][inputs], memory)
    flat = hidden.reshape(-1, hidden.shape[-1])
    return (
        nce_jax.losses.full_softmax_loss(flat, targets.reshape(-1), **params.table),
        hidden,
        memory,
    )
