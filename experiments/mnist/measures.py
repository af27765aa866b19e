"""Samples and likelihood of a trained energy, in coordinates where the noise is standard normal."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.mnist.config import Config
from experiments.mnist.preprocessing import LEVELS, SIDE, Data, in_blocks
from nce_jax import likelihood, noise, samplers


class Evaluation(NamedTuple):
    """Annealed log Z, bits per dimension of test images, and samples (chains, 784)."""

    log_partition: Any
    log_partition_bound: Any
    standard_error: Any
    effective_samples: Any
    bits: Any
    bits_error: Any
    acceptance: Any
    samples: Any
    sample_log_ratio: Any
    test_log_ratio: Any


def make_evaluation(
    config: Config, data: Data, log_ratio_fn
) -> Callable[[Any, jax.Array], Evaluation]:
    """A function of parameters and a key, compiled once for all methods.

    It anneals from the noise to the model, continues with Hamiltonian Monte Carlo, and computes the
    likelihood of the test images. Pixels at the border vary a thousandth as much as those in the
    middle, so that no step size suits both. x = mean + L z, with L the noise's Cholesky factor,
    makes the noise a standard normal in z and leaves log Z unchanged.
    """
    mean, factor = data.noise.mean(), data.noise.scale_tri
    white = noise.standard_normal(mean.size)
    x_test = data.test[: config.num_likelihood]
    log_q_test = data.noise.log_prob(x_test)

    def to_image(z: jax.Array) -> jax.Array:
        return mean + z @ factor.T

    def evaluate(params: Any, key: jax.Array) -> Evaluation:
        def log_density(z: jax.Array) -> jax.Array:
            return log_ratio_fn(params, to_image(z)) + white.log_prob(z)

        annealed, chains = _anneal(config, log_density, white, key)
        test_log_ratio = in_blocks(lambda x: log_ratio_fn(params, x), x_test)
        log_likelihood = likelihood.log_likelihood(
            test_log_ratio + log_q_test,
            log_partition=annealed.log_partition,
            log_partition_standard_error=annealed.standard_error,
        )
        images = to_image(chains.x)
        return Evaluation(
            log_partition=annealed.log_partition,
            log_partition_bound=annealed.bound,
            standard_error=annealed.standard_error,
            effective_samples=annealed.effective_sample_size,
            bits=likelihood.bits_per_dimension(
                log_likelihood.mean, num_dims=SIDE * SIDE, num_levels=LEVELS
            ),
            bits_error=log_likelihood.standard_error / (SIDE * SIDE * np.log(2)),
            acceptance=chains.acceptance_rate.mean(),
            samples=images,
            sample_log_ratio=log_ratio_fn(params, images),
            test_log_ratio=test_log_ratio,
        )

    compiled = jax.jit(evaluate)
    return lambda params, key: jax.tree.map(np.asarray, compiled(params, key))


def _anneal(
    config: Config, log_density, white, key: jax.Array
) -> tuple[samplers.AnnealedEstimate, samplers.Chains]:
    """Annealed importance sampling with a tuned step size, and chains from its end points."""
    key_start, key_tune, key_anneal, key_sample = jax.random.split(key, 4)
    starts = white.sample(seed=key_start, sample_shape=(config.num_chains,))
    tuned = samplers.adapt_step_size(
        key_tune,
        log_density,
        starts,
        kernel_fn=_hmc(config),
        step_size=0.1,
        num_steps=config.num_tuning,
    )
    kernel = _hmc(config)(tuned.step_size)
    annealed = samplers.annealed_importance_sampling(
        key_anneal,
        log_density,
        white,
        kernel=kernel,
        schedule=samplers.sigmoid_schedule(config.num_temperatures),
        num_samples=config.num_chains,
    )
    return annealed, samplers.sample_chains(
        key_sample, log_density, annealed.x, kernel=kernel, num_steps=config.num_mcmc
    )


def _hmc(config: Config):
    return lambda step_size: samplers.hmc(step_size, config.num_leapfrog)


def noise_bits(config: Config, data: Data) -> float:
    """Bits per dimension of the noise itself, which an energy has to improve on."""
    log_q = data.noise.log_prob(data.test[: config.num_likelihood])
    return float(
        likelihood.bits_per_dimension(log_q.mean(), num_dims=SIDE * SIDE, num_levels=LEVELS)
    )
