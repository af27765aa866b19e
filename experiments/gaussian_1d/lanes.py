"""Training runs as a pure function of a case and a key, so that one sweep compiles all."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.gaussian_1d.treatments import Treatments
from nce_jax import models, noise, training


class Case(NamedTuple):
    """Numerical settings of a run: theta0 ~ shift + scale N(0, 1), F0 = share * theta0^2 / 2."""

    distance: float
    magnification: float = 1.0
    rate: float = 0.5  # on our loss, which is twice the paper's with a rate of 1
    shift: float = 0.0
    scale: float = 1.0
    share: float = 0.0  # 1 starts from the normalized model


class Trace(NamedTuple):
    """Losses, theta, F and status by step.

    Entry k belongs to theta after k updates, and to the F at which its loss was taken.
    """

    loss: jax.Array
    theta: jax.Array
    log_partition: jax.Array
    status: jax.Array


def make_run(named: Treatments, num_steps: int, batch_size: int) -> Callable[..., dict[str, Trace]]:
    """Builds `run(case, key)`, which trains every treatment on the same draws.

    The draws depend on the key alone, not on the case.
    """
    noise_distribution = noise.standard_normal(1)

    def run(case, key) -> dict[str, Trace]:
        case, (key_theta, key_data, key_noise) = Case(*case), jax.random.split(key, 3)
        theta = case.shift + case.scale * jax.random.normal(key_theta, (1,))
        # The base measure is the noise: theta = 0 gives the noise, theta = distance the data, and
        # log Z = theta^2 / 2.
        params, log_density_fn = models.exponential_family(
            models.linear_statistics, theta, log_base_measure=noise_distribution.log_prob
        )
        optimizer = optax.sgd(case.rate)
        criterion = nce_jax.criteria.nce(magnification=case.magnification)
        options = {"criterion": criterion, "noise": noise_distribution}
        steps, states = {}, {}
        for name, treatment_of_rate in named.items():
            treatment = treatment_of_rate(case.rate)
            steps[name] = training.make_train_step(
                log_density_fn, optimizer=optimizer, treatment=treatment, **options
            )
            log_partition = case.share * theta[0] ** 2 / 2
            states[name] = steps[name].init(params, log_partition=log_partition)

        def body(states, index):
            x_data, x_noise = (
                jax.random.normal(jax.random.fold_in(key, index), (batch_size, 1))
                for key in (key_data, key_noise)
            )
            batch = training.Batch(case.distance + x_data, x_noise)
            stepped = {name: steps[name](state, batch, key_noise) for name, state in states.items()}
            traces = {
                name: Trace(
                    metrics.loss, states[name].params[0], metrics.log_partition, metrics.status
                )
                for name, (_, metrics) in stepped.items()
            }
            return {name: state for name, (state, _) in stepped.items()}, traces

        return jax.lax.scan(body, states, jnp.arange(num_steps + 1))[1]

    return run


def train(
    named: Treatments, cases: Sequence[Case], keys: jax.Array, num_steps: int, batch_size: int
) -> dict[str, Trace]:
    """Trains every case with every key in one compilation.

    Returns NumPy leaves (case, key, step) by treatment.
    """
    run = make_run(named, num_steps, batch_size)
    traces = jax.tree.map(
        np.asarray, nce_jax.sweep(run, axes={"case": jnp.array(cases), "key": keys}).values
    )
    # JAX returns dictionaries in alphabetical order.
    return {name: traces[name] for name in named}


def parameter_distance(trace: Trace, cases: Sequence[Case]) -> np.ndarray:
    """Euclidean distance of (theta, F) to the data's (distance, distance^2 / 2)."""
    target = np.array([case.distance for case in cases])[:, None, None]
    return np.hypot(trace.theta - target, trace.log_partition - target**2 / 2)


def stored_steps(num_steps: int, count: int = 60) -> np.ndarray:
    """Steps that are stored: 0, the reported ones, and others evenly spaced on a log scale."""
    spaced = np.geomspace(1, num_steps, count).round().astype(int)
    return np.unique(
        np.concatenate([[0, *(step for step in REPORTED if step <= num_steps)], spaced])
    )


REPORTED = (50, 200, 1000)
"""Numbers of training steps at which distances are compared."""
