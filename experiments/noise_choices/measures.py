"""Measures of a model: by quadrature in the plane, by held-out likelihood on digits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_choices.config import Config
from experiments.noise_choices.problems import Problem, kernel, make_model
from nce_jax import adaptive_noise, likelihood, samplers

MOVES = 20
"""Number of transitions at the model after annealing, before Bennett's method takes its samples."""


class Square(NamedTuple):
    """Midpoints x (cells, 2) of a square's cells, their area, and the data's log density there.

    The log density is normalized over the cells.
    """

    x: jax.Array
    log_area: float
    log_data: jax.Array


class Evaluation(NamedTuple):
    """Measures of one model of the digits, in nats.

    Attributes:
      log_partition: log Z, annealed from the fitted Gaussian.
      log_partition_error: its standard error.
      effective_samples: effective sample size of its weights.
      bennett: a second estimate of log Z, by Bennett's method between chains at the model and the
        fitted Gaussian.
      bennett_error: its standard error.
      log_density: phi of the test images, (images,).
    """

    log_partition: jax.Array
    log_partition_error: jax.Array
    effective_samples: jax.Array
    bennett: jax.Array
    bennett_error: jax.Array
    log_density: jax.Array


def make_square(log_density: Callable, half_width: float, num_cells: int) -> Square:
    axis = half_width * ((2 * np.arange(num_cells) + 1) / num_cells - 1)
    x = jnp.asarray(
        np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), jnp.float32
    )
    log_area = 2 * float(np.log(2 * half_width / num_cells))
    log_data = log_density(x)
    return Square(x, log_area, log_data - log_integral(log_data, log_area))


def log_integral(log_density: jax.Array, log_area: float) -> jax.Array:
    return jax.nn.logsumexp(log_density) + log_area


def divergence(square: Square, log_density: jax.Array) -> tuple[jax.Array, jax.Array]:
    """KL(p* || p_theta) over the square, and the model's log Z there.

    Both are exact up to the discretization.
    """
    log_z = log_integral(log_density, square.log_area)
    data = jnp.exp(square.log_data + square.log_area)
    return jnp.sum(data * jnp.where(data > 0, square.log_data - (log_density - log_z), 0)), log_z


def plane_measurer(
    config: Config, problem: Problem
) -> Callable[[Any], tuple[jax.Array, jax.Array]]:
    """Function of parameters (checkpoint, ...): divergence and log Z, each (checkpoint,)."""
    assert problem.log_density is not None
    square = make_square(problem.log_density, config.half_width, config.num_cells)
    _, log_density_fn = make_model(config, problem, jax.random.key(0))
    return jax.jit(
        lambda stacked: jax.lax.map(
            lambda params: divergence(square, log_density_fn(params, square.x)), stacked
        )
    )


def digits_evaluator(config: Config, problem: Problem) -> Callable[[Any, jax.Array], Evaluation]:
    """A function of one model's parameters and a key that returns its measures."""
    _, log_density_fn = make_model(config, problem, jax.random.key(0))
    moves, size = kernel(config, problem), config.annealing_chains

    @jax.jit
    def evaluate(params: Any, key: jax.Array) -> Evaluation:
        key_annealing, key_base = jax.random.split(key)
        annealed = adaptive_noise.self_noise(
            key_annealing,
            log_density_fn,
            params,
            problem.gaussian,
            kernel=moves,
            schedule=samplers.linear_schedule(config.annealing_stages),
            num_samples=size,
            num_steps=MOVES,
        )
        x_base, log_base = problem.gaussian.sample_and_log_prob(seed=key_base, sample_shape=(size,))
        ratio_model = annealed.log_density - problem.gaussian.log_prob(annealed.x)
        bennett = likelihood.model_log_partition(
            ratio_model, log_density_fn(params, x_base) - log_base
        )
        return Evaluation(
            annealed.log_partition,
            annealed.standard_error,
            annealed.effective_sample_size,
            bennett.log_partition,
            bennett.standard_error,
            log_density_fn(params, problem.x_test),
        )

    return evaluate
