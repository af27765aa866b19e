"""Training runs as a pure function of a start and a key, so that one sweep compiles all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.gaussian_16d.config import Config
from experiments.gaussian_16d.problem import Problem, Start
from nce_jax import models, noise, training

Treatments = dict[str, training.Treatment]


class Trace(NamedTuple):
    """Losses, parameters, F and status by step.

    Entry k belongs to theta after k updates, and to the F at which its loss was taken.
    """

    loss: jax.Array
    params: jax.Array
    log_partition: jax.Array
    status: jax.Array


def treatments(raised_rate: float) -> Treatments:
    """The paper's treatments of F and Newton's method.

    A learning rate of F on the paper's scale is half of it on ours.
    """
    return {
        "NCE": training.joint_gradient(),
        "NCE, raised rate": training.joint_gradient(optax.sgd(raised_rate / 2)),
        "BAR": training.bar_step(),
        "binary search": training.solved(nce_jax.bisection()),
        "Newton": training.solved(nce_jax.newton()),
    }


def make_run(
    named: Treatments, problem: Problem, config: Config, num_steps: int
) -> Callable[..., dict[str, Trace]]:
    """Builds `run(start, key)`, which trains every treatment on the same draws.

    The draws depend on the key alone, not on the start.
    """
    dim, deviations = config.dim, jnp.sqrt(problem.variances)
    noise_distribution, optimizer = noise.standard_normal(dim), optax.sgd(config.learning_rate / 2)

    def run(start, key) -> dict[str, Trace]:
        start, (key_params, key_data, key_noise) = Start(*start), jax.random.split(key, 3)
        center = jnp.concatenate([jnp.full(dim, start.square), jnp.zeros(dim)])
        params, log_density_fn = models.exponential_family(
            models.quadratic_statistics,
            center + start.scale * jax.random.normal(key_params, (2 * dim,)),
        )
        steps, states = {}, {}
        for name, treatment in named.items():
            steps[name] = training.make_train_step(
                log_density_fn, noise_distribution, optimizer, treatment=treatment
            )
            states[name] = steps[name].init(params, log_partition=start.log_partition)

        def body(states, index):
            x_data, x_noise = (
                jax.random.normal(jax.random.fold_in(key, index), (config.batch_size, dim))
                for key in (key_data, key_noise)
            )
            batch = training.Batch(deviations[None] * x_data, x_noise)
            stepped = {name: steps[name](state, batch, key_noise) for name, state in states.items()}
            traces = {
                name: Trace(
                    metrics.loss, states[name].params, metrics.log_partition, metrics.status
                )
                for name, (_, metrics) in stepped.items()
            }
            return {name: state for name, (state, _) in stepped.items()}, traces

        return jax.lax.scan(body, states, jnp.arange(num_steps + 1))[1]

    return run


def train(
    named: Treatments,
    problem: Problem,
    config: Config,
    num_steps: int,
    starts: list[Start],
    keys: jax.Array,
) -> dict[str, Trace]:
    """Trains every start with every key in one compilation.

    Returns NumPy leaves (start, key, step, ...) by treatment.
    """
    run = make_run(named, problem, config, num_steps)
    traces = jax.tree.map(
        np.asarray, nce_jax.sweep(run, axes={"start": jnp.array(starts), "key": keys}).values
    )
    # JAX returns dictionaries in alphabetical order.
    return {name: traces[name] for name in named}


def errors(trace: Trace, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Distance of theta, and F - F*, which together make the parameter distance."""
    theta = np.linalg.norm(trace.params - np.asarray(problem.params), axis=-1)
    return theta, trace.log_partition - float(problem.log_partition)


def overlap_at(
    params: jax.Array, problem: Problem, batch_size: int, key: Any
) -> dict[str, jax.Array]:
    """Overlap, effective sample size of the noise for Z, and F*, on a fresh batch."""
    dim = problem.variances.size
    _, log_density_fn = models.exponential_family(models.quadratic_statistics, params)
    key_data, key_noise = jax.random.split(key)
    x_data = jnp.sqrt(problem.variances)[None] * jax.random.normal(key_data, (batch_size, dim))
    noise_distribution = noise.standard_normal(dim)
    x_noise, log_q = noise_distribution.sample_and_log_prob(
        seed=key_noise, sample_shape=(batch_size,)
    )
    ratios = (
        log_density_fn(params, x_data) - noise_distribution.log_prob(x_data),
        log_density_fn(params, x_noise) - log_q,
    )
    root = nce_jax.solve_log_partition(*ratios).log_partition
    return {
        "overlap": nce_jax.overlap(*ratios, log_partition=root),
        "effective_sample_size": nce_jax.diagnostics.effective_sample_size(ratios[1]),
        "root": root,
    }
