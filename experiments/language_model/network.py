"""The network: a gated recurrent unit whose inputs and outputs share one table of words."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.language_model.config import Config
from nce_jax import models


class Params(NamedTuple):
    """Trained parameters: `table` has a row and a bias per word, `core` the rest, including F."""

    table: dict[str, jax.Array]
    core: dict[str, Any]


def read(
    config: Config,
    core: dict[str, Any],
    rows: jax.Array,
    carry: jax.Array,
    key: jax.Array | None = None,
):
    """Reads rows (sequences, length, dim) from a state; returns all states and the last.

    With a key, inputs and states are dropped out.
    """
    keys = (None, None) if key is None else jax.random.split(key)
    # Rows have unit length on average, which suits an output layer; the recurrent unit needs larger
    # inputs.
    inputs = _drop(config, keys[0], rows * config.dim**0.5)
    unit = nnx.merge(_graph(config), core["unit"])
    last, states = nnx.RNN(unit)(inputs, initial_carry=carry, return_carry=True)
    return _drop(config, keys[1], states), last


def _drop(config: Config, key: jax.Array | None, values: jax.Array) -> jax.Array:
    if key is None:
        return values
    keep = 1 - config.dropout
    return jnp.where(jax.random.bernoulli(key, keep, values.shape), values / keep, 0)


def init(config: Config, bias: jax.Array, key: jax.Array) -> Params:
    rngs = nnx.Rngs(key)
    table = models.VocabularyHead(len(bias), config.dim, initial_bias=bias, rngs=rngs).table()
    unit = nnx.state(_unit(config, rngs))
    return Params(table, {"unit": unit, "log_partition": jnp.zeros(())})


def _unit(config: Config, rngs: nnx.Rngs) -> nnx.GRUCell:
    return nnx.GRUCell(config.dim, config.dim, rngs=rngs)


def _graph(config: Config) -> Any:
    return nnx.graphdef(nnx.eval_shape(lambda: _unit(config, nnx.Rngs(0))))


def empty(config: Config, num_sequences: int) -> jax.Array:
    """The state before any token is read."""
    return jnp.zeros((num_sequences, config.dim))
