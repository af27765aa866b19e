"""The single-stage methods, and their own diagnostics at the end of training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.chasm_1d.config import Config
from nce_jax import training


class Trace(NamedTuple):
    """theta and F by step, and diagnostics of the end point on a fresh batch.

    The diagnostics are the overlap, F* with its error and status, and log Z.
    """

    theta: jax.Array
    log_partition: jax.Array
    overlap: jax.Array
    root: jax.Array
    standard_error: jax.Array
    status: jax.Array
    log_z: jax.Array
    log_z_error: jax.Array
    effective_samples: jax.Array


def methods(magnification: float) -> dict[str, tuple[training.Treatment, float]]:
    """Treatment of F, and M, by name."""
    return {
        "NCE": (training.joint_gradient(), 1.0),
        "BAR": (training.bar_step(), 1.0),
        "binary search": (training.solved(nce_jax.bisection()), 1.0),
        "N2CE": (training.solved(), magnification),
    }


def log_ratio(theta: jax.Array, x: jax.Array) -> jax.Array:
    """T = [x, -1] without F: the model is the tilted noise, so that F = theta^2 / 2."""
    return theta * x[:, 0]


def train(config: Config, keys: jax.Array) -> dict[str, Trace]:
    """Traces by method, NumPy leaves (key, ...): theta0 ~ N(0, 1), F0 = 0, SGD."""
    optimizer, named = optax.sgd(config.learning_rate / 2), methods(config.magnification)
    criteria = {
        name: nce_jax.criteria.nce(magnification=magnification)
        for name, (_, magnification) in named.items()
    }
    steps = {
        name: training.make_train_step(
            optimizer=optimizer,
            log_ratio_fn=log_ratio,
            criterion=criteria[name],
            treatment=treatment,
        )
        for name, (treatment, _) in named.items()
    }

    def draw(key):
        x_data, x_noise = jax.random.normal(key, (2, config.batch_size, 1))
        return config.separation + x_data, x_noise

    def run(key) -> dict[str, Trace]:
        key_theta, key_steps, key_diagnosis = jax.random.split(key, 3)
        theta = jax.random.normal(key_theta)
        states = {name: step.init(theta) for name, step in steps.items()}

        def body(states, index):
            batch = training.Batch(*draw(jax.random.fold_in(key_steps, index)))
            states = {
                name: steps[name](state, batch, key_steps)[0] for name, state in states.items()
            }
            return states, {
                name: (state.params, state.log_partition) for name, state in states.items()
            }

        states, paths = jax.lax.scan(body, states, jnp.arange(config.num_steps))
        pair = draw(key_diagnosis)
        return {name: Trace(*paths[name], *_diagnose(states[name].params, pair)) for name in named}

    traces = jax.tree.map(np.asarray, nce_jax.sweep(run, axes={"key": keys}).values)
    return {name: traces[name] for name in named}


def _diagnose(theta, pair) -> tuple[jax.Array, ...]:
    """Diagnostics of theta's log ratios: overlap, F* at kappa = 1, and log Z from the noise.

    F* would be log Z if the data came from the model.
    """
    sides = [log_ratio(theta, x) for x in pair]
    solution = nce_jax.solve_log_partition(*sides)
    root = {"log_partition": solution.log_partition}
    error = nce_jax.log_partition_standard_error(*sides, **root)
    return (
        nce_jax.overlap(*sides, **root),
        *root.values(),
        error,
        solution.status,
        *nce_jax.diagnostics.importance_log_partition(sides[1])[:3],
    )
