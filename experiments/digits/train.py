"""One lane: a model trained from one seed at one kappa, evaluated at checkpoints."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.digits import data, model
from experiments.digits.config import Config
from experiments.digits.measures import Evaluation, evaluate
from nce_jax import Status, training


class Lane(NamedTuple):
    """Results of one lane, per checkpoint.

    Attributes:
      evaluation: measures of the model.
      train_loss: mean since the previous checkpoint, at the lane's own kappa, in nats.
      num_failed: number of training steps whose solve for F failed (not finite, or out of steps).
      num_no_overlap: number of training steps whose batch had no overlap with the noise; F is
        still the minimizer there.
    """

    evaluation: Evaluation
    train_loss: jax.Array
    num_failed: jax.Array
    num_no_overlap: jax.Array


def train_lane(
    config: Config,
    digits: data.Digits,
    treatment: training.Treatment,
    key: jax.Array,
    *,
    magnification: jax.Array,
    noise_ratio: jax.Array | float,
    num_noise: int | None,
) -> Lane:
    """Trains and evaluates one lane.

    All draws depend on `key` and the step number alone, so that lanes of one seed share them.
    """
    key_model, key_batch, key_noise, key_evaluation = jax.random.split(key, 4)
    net = model.make(config, digits, key_model)
    optimizer = optax.adam(config.learning_rate)
    criterion = nce_jax.criteria.nce(magnification=magnification, noise_ratio=noise_ratio)
    step = training.make_train_step(
        net.log_density_fn,
        digits.noise,
        optimizer,
        criterion=criterion,
        treatment=treatment,
        num_noise=num_noise,
    )

    def train_step(state: training.TrainState, _: None):
        x_data = _batch(config, digits, jax.random.fold_in(key_batch, state.step))
        return step(state, x_data, key_noise)

    def until_checkpoint(state: training.TrainState, key: jax.Array):
        state, metrics = jax.lax.scan(
            train_step, state, None, length=config.num_steps // config.num_checkpoints
        )
        kappa = magnification * noise_ratio
        evaluation = evaluate(
            config, digits, lambda x: net.log_ratio_fn(state.params, x), kappa, key
        )
        failed = (metrics.status == Status.NONFINITE) | (metrics.status == Status.MAX_STEPS)
        no_overlap = metrics.status == Status.NO_OVERLAP
        return state, Lane(evaluation, metrics.loss.mean(), failed.sum(), no_overlap.sum())

    state = step.init(net.params)
    keys = jax.random.split(key_evaluation, config.num_checkpoints)
    return jax.lax.scan(until_checkpoint, state, keys)[1]


def _batch(config: Config, digits: data.Digits, key: jax.Array) -> jax.Array:
    """Images drawn with replacement and dequantized anew."""
    key_index, key_level = jax.random.split(key)
    index = jax.random.randint(key_index, (config.batch_size,), 0, len(digits.train_levels))
    return data.dequantize(
        key_level, jnp.take(digits.train_levels, index, axis=0), config.logit_margin
    )
