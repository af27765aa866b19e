"""From a score of designs to candidates: the whole space, chains over sequences, or ascent."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.offline_design.tasks import NUM_LETTERS

ScoreFn = Callable[[jax.Array], jax.Array]
"""Scores of one-hot vectors, (n, 4 length) -> (n,)."""


def best_distinct(x: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The `count` distinct sequences of the highest scores, or fewer if there are no more."""
    x, first = np.unique(x, axis=0, return_index=True)
    order = np.argsort(-np.asarray(scores)[first], kind="stable")
    return x[order[:count]]


def gibbs_chains(
    score_fn: ScoreFn, x: jax.Array, key: jax.Array, *, num_sweeps: int, spread: Any
) -> jax.Array:
    """Chains over sequences for exp(score / temperature), the temperature falling to zero.

    Args:
      score_fn: the score.
      x: one sequence per chain, (n, length).
      key: a key.
      num_sweeps: number of updates of every site.
      spread: the first temperature, in units of the score.

    Returns:
      The last sequence of every chain, (n, length).
    """
    count, length = x.shape
    num_updates = num_sweeps * length

    def update(x: jax.Array, step: jax.Array):
        site = step % length
        key_step = jax.random.fold_in(key, step)
        options = (
            jnp.repeat(x[:, None], NUM_LETTERS, axis=1)
            .at[:, :, site]
            .set(jnp.arange(NUM_LETTERS, dtype=x.dtype))
        )
        vectors = jax.nn.one_hot(options, NUM_LETTERS).reshape(count * NUM_LETTERS, -1)
        temperature = spread * (1 - step / num_updates) + 1e-6
        logits = score_fn(vectors).reshape(count, NUM_LETTERS) / temperature
        letters = jax.random.categorical(key_step, logits)
        return x.at[:, site].set(letters.astype(x.dtype)), None

    return jax.lax.scan(update, x, jnp.arange(num_updates))[0]


def soft_ascent(score_fn: ScoreFn, x: jax.Array, *, num_steps: int) -> jax.Array:
    """Adam on the logits of soft one-hot vectors, up the score; the likeliest letters at the end.

    Args:
      score_fn: the score.
      x: sequences to start from, (n, length).
      num_steps: number of steps.
    """
    count, length = x.shape
    move = optax.adam(0.1)

    def loss_fn(logits: jax.Array) -> jax.Array:
        return -jnp.sum(score_fn(jax.nn.softmax(logits).reshape(count, -1)))

    def step(state: Any, _: None):
        logits, opt_state = state
        updates, opt_state = move.update(jax.grad(loss_fn)(logits), opt_state)
        return (optax.apply_updates(logits, updates), opt_state), None

    logits = 2 * jax.nn.one_hot(x, NUM_LETTERS).reshape(count, length, NUM_LETTERS)
    (logits, _), _ = jax.lax.scan(step, (logits, move.init(logits)), None, length=num_steps)
    return jnp.argmax(logits, axis=-1)
