"""Networks on one-hot sequences: log ratios between ranges of y, and regression."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.offline_design.config import Config
from experiments.offline_design.tasks import NUM_LETTERS
from nce_jax import models, training


class Ranges(NamedTuple):
    """Ranges of designs sorted by y, as positions; the numerator ends where the others do.

    Attributes:
      numerator: first design of the numerator.
      denominator: first design of the denominator.
      end: one past the last design that may be seen.
    """

    numerator: Any
    denominator: Any
    end: Any


def encode(x: Any) -> jax.Array:
    """One-hot vectors of sequences, (n, length) -> (n, 4 length)."""
    return jax.nn.one_hot(jnp.asarray(x), NUM_LETTERS).reshape(len(x), -1)


def network(config: Config, length: int) -> Any:
    """The network as a function of parameters and one-hot vectors."""
    return models.mlp_energy(jax.random.key(0), NUM_LETTERS * length, hidden=config.hidden)[1]


def initial(config: Config, length: int, key: jax.Array) -> Any:
    """Initial parameters of the network."""
    return models.mlp_energy(key, NUM_LETTERS * length, hidden=config.hidden)[0]


def optimizer(config: Config, weight_decay: Any) -> optax.GradientTransformation:
    """AdamW with a learning rate that falls to zero along a cosine."""
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.num_steps)
    return optax.adamw(schedule, weight_decay=weight_decay)


def fit_ratio(
    config: Config,
    treatment: training.Treatment,
    x: jax.Array,
    ranges: Ranges,
    *,
    weight_decay: Any,
    magnification: Any,
    key: jax.Array,
) -> Any:
    """Parameters of the log ratio of the numerator's designs to the denominator's.

    Args:
      config: settings.
      treatment: of F.
      x: sequences sorted by y, (n, length).
      ranges: positions in x, which may be traced.
      weight_decay: of AdamW.
      magnification: M.
      key: of weights and batches.
    """
    length = x.shape[1]
    key_model, key_batch = jax.random.split(key)
    step = training.make_train_step(
        log_ratio_fn=network(config, length),
        optimizer=optimizer(config, weight_decay),
        criterion=nce_jax.criteria.nce(magnification=magnification),
        treatment=treatment,
    )

    def train_step(state: training.TrainState, _: None):
        key_data, key_noise = jax.random.split(jax.random.fold_in(key_batch, state.step))
        data, noise = (
            encode(x[jax.random.randint(key, (config.batch_size,), first, ranges.end)])
            for key, first in ((key_data, ranges.numerator), (key_noise, ranges.denominator))
        )
        return step(state, training.Batch(data, noise), key_batch)[0], None

    state = step.init(initial(config, length, key_model))
    return jax.lax.scan(train_step, state, None, length=config.num_steps)[0].params


def fit_regression(
    config: Config, x: jax.Array, y: jax.Array, end: Any, *, weight_decay: Any, key: jax.Array
) -> Any:
    """Parameters of a regression of y, standardized, on the designs before `end`."""
    length = x.shape[1]
    net = network(config, length)
    move = optimizer(config, weight_decay)
    key_model, key_batch = jax.random.split(key)

    def loss_fn(params: Any, batch: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.mean((net(params, batch) - target) ** 2)

    def train_step(state: Any, step: jax.Array):
        params, opt_state = state
        index = jax.random.randint(
            jax.random.fold_in(key_batch, step), (config.batch_size,), 0, end
        )
        gradient = jax.grad(loss_fn)(params, encode(x[index]), y[index])
        updates, opt_state = move.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    params = initial(config, length, key_model)
    state = params, move.init(params)
    return jax.lax.scan(train_step, state, jnp.arange(config.num_steps))[0][0]
