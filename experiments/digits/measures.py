"""Measures at a checkpoint, on held-out images and fresh noise."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.digits.config import Config
from experiments.digits.data import Digits


class Evaluation(NamedTuple):
    """Measures of one model in nats, all with the same noise samples.

    Attributes:
      validation_loss: NCE loss at kappa = 1 on the validation images, with F solved on them and the
        evaluation noise.
      test_loss: the same on the test images.
      profiled_at_one: F*(1), the F of `test_loss`; it depends on the images and differs from log Z.
      profiled_at_own: F*(kappa) of the same samples at the kappa of the training.
      test_log_ratio: s of every test image, (images,).
      log_partition: the model's log Z, by importance sampling from the noise.
      log_partition_error: its standard error.
      effective_samples: Kish's effective sample size of those weights.
    """

    validation_loss: jax.Array
    test_loss: jax.Array
    profiled_at_one: jax.Array
    profiled_at_own: jax.Array
    test_log_ratio: jax.Array
    log_partition: jax.Array
    log_partition_error: jax.Array
    effective_samples: jax.Array


def evaluate(
    config: Config,
    digits: Digits,
    log_ratio_fn: Callable[[jax.Array], jax.Array],
    kappa: jax.Array,
    key: jax.Array,
) -> Evaluation:
    """Evaluates a model on noise drawn from `key`.

    The model is given as its log ratio s(x) = log density - log q.
    """
    s_noise = _noise_log_ratios(config, digits, log_ratio_fn, key)
    s_validation, s_test = log_ratio_fn(digits.x_validation), log_ratio_fn(digits.x_test)
    # A batch of three problems compiles one solver instead of three.
    s_images = jnp.stack([s_validation, s_test, s_test])
    kappas = jnp.stack([jnp.ones_like(kappa), jnp.ones_like(kappa), kappa])
    s_noises = jnp.broadcast_to(s_noise, (3, s_noise.size))
    profiled = nce_jax.solve_log_partition(s_images, s_noises, magnification=kappas).log_partition
    losses = nce_jax.nce_loss(s_images, s_noises, log_partition=profiled, magnification=kappas)
    importance = nce_jax.diagnostics.importance_log_partition(s_noise)
    return Evaluation(
        validation_loss=losses[0],
        test_loss=losses[1],
        profiled_at_one=profiled[1],
        profiled_at_own=profiled[2],
        test_log_ratio=s_test,
        log_partition=importance.log_partition,
        log_partition_error=importance.standard_error,
        effective_samples=importance.effective_sample_size,
    )


def _noise_log_ratios(
    config: Config, digits: Digits, log_ratio_fn: Callable, key: jax.Array
) -> jax.Array:
    """Log ratios of fresh noise, in chunks that limit the memory of the hidden layers."""
    keys = jax.random.split(key, config.num_evaluation_noise // config.evaluation_chunk)

    def chunk(key: jax.Array) -> jax.Array:
        return log_ratio_fn(digits.noise.sample(seed=key, sample_shape=(config.evaluation_chunk,)))

    return jnp.ravel(jax.lax.map(chunk, keys))
