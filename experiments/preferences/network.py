"""The language model: a gated recurrent unit that predicts the next character."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx


class Answers(NamedTuple):
    """Answers, (answer, place), and their log probabilities given the prompts, (answer,)."""

    tokens: jax.Array
    log_prob: jax.Array


class Network(nnx.Module):
    """Embedding, gated recurrent unit and output layer."""

    def __init__(self, num_characters: int, width: int, *, rngs: nnx.Rngs) -> None:
        """A network of random weights."""
        self.embedding = nnx.Embed(num_characters, width, rngs=rngs)
        self.unit = nnx.GRUCell(width, width, rngs=rngs)
        self.output = nnx.Linear(width, num_characters, rngs=rngs)

    def step(self, state: jax.Array, token: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Reads one character of each sequence: the new states, and the logits of the next one."""
        state, out = self.unit(state, self.embedding(token))
        return state, self.output(out)


class Model(NamedTuple):
    """A network as functions of its parameters; sequences are (sequence, place)."""

    graph: Any
    width: int

    def read(self, params: Any, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The last states, and the logits after every character, (place, sequence, character)."""

        def step(state: jax.Array, token: jax.Array) -> tuple[jax.Array, jax.Array]:
            return nnx.merge(self.graph, params).step(state, token)

        return jax.lax.scan(step, jnp.zeros((len(tokens), self.width)), tokens.T)

    def log_prob(self, params: Any, prompts: jax.Array, answers: jax.Array) -> jax.Array:
        """Log probabilities of whole answers given their prompts, (sequence,)."""
        tokens = jnp.concatenate([prompts, answers], axis=1)
        logits = self.read(params, tokens[:, :-1])[1][prompts.shape[1] - 1 :]
        terms = jax.nn.log_softmax(logits)
        return jnp.take_along_axis(terms, answers.T[..., None], axis=-1).sum(axis=(0, 2))

    def sample(self, params: Any, key: jax.Array, prompts: jax.Array, length: int) -> Answers:
        """One answer to every prompt."""
        state, logits = self.read(params, prompts)

        def step(carry: Any, key: jax.Array) -> tuple[Any, Any]:
            state, logits = carry
            token = jax.random.categorical(key, logits)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), token[:, None], axis=-1)
            return nnx.merge(self.graph, params).step(state, token), (token, log_prob[:, 0])

        keys = jax.random.split(key, length)
        tokens, log_prob = jax.lax.scan(step, (state, logits[-1]), keys)[1]
        return Answers(tokens.T, log_prob.sum(axis=0))


def make(num_characters: int, width: int, key: jax.Array) -> tuple[Model, Any]:
    """A model and its random parameters."""
    graph, params = nnx.split(Network(num_characters, width, rngs=nnx.Rngs(key)))
    return Model(graph, width), params
