"""Work, collectives and time of one fixed sweep over one device and more."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import nce_jax
from experiments.scaling.collectives import collectives
from experiments.scaling.config import Config
from nce_jax import models, noise, sweeps, training

QUANTITIES = ("flops", "bytes", "collectives", "seconds")
DISTANCE = 4.0
"""Of the data's mean from the noise's."""


def measure(config: Config, treatments: dict[str, training.Treatment]) -> dict[str, np.ndarray]:
    """(devices, treatment), by "sweep_" and the quantity: counted per device in the program;
    seconds for the whole grid.
    """
    table = [
        [_sweep(config, num, treated) for treated in treatments.values()]
        for num in config.num_devices
    ]
    return {f"sweep_{name}": np.array(table)[..., index] for index, name in enumerate(QUANTITIES)}


def make_lane(
    config: Config, treatment: training.Treatment
) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """The mean of a Gaussian, trained from fresh samples at every step, which all M of a seed
    share.
    """
    distribution, optimizer = noise.standard_normal(1), optax.sgd(0.1)

    def lane(magnification, seed):
        key_params, key_data, key_noise = jax.random.split(jax.random.key(seed), 3)
        theta = jax.random.normal(key_params, (1,))
        params, log_density_fn = models.exponential_family(
            models.linear_statistics, theta, log_base_measure=distribution.log_prob
        )
        criterion = nce_jax.criteria.nce(magnification=magnification)
        step = training.make_train_step(
            log_density_fn, distribution, optimizer, criterion=criterion, treatment=treatment
        )

        def draw(key):
            return DISTANCE + jax.random.normal(key, (config.sweep_batch_size, 1))

        def body(index, state):
            x_data = sweeps.shared(draw, jax.random.fold_in(key_data, index), step=index)
            return step(state, x_data, key_noise)[0]

        state = training.init_train_state(params, optimizer, treatment=treatment)
        state = jax.lax.fori_loop(0, config.sweep_steps, body, state)
        return {"theta": state.params, "log_partition": state.log_partition}

    return lane


def _sweep(config: Config, num_devices: int, treatment: training.Treatment) -> list[float]:
    mesh = Mesh(np.array(jax.devices()[:num_devices]), ("lane",))
    num_magnifications, num_seeds = config.sweep_lanes
    axes = {
        "magnification": jnp.geomspace(1, 100, num_magnifications),
        "seed": jnp.arange(num_seeds),
    }
    lane = make_lane(config, treatment)
    program = sweeps.compiled_sweep(lane, axes=axes, mesh=mesh)
    cost, told = program.cost_analysis(), collectives(program)
    return [
        cost["flops"],
        cost["bytes accessed"],
        len(told),
        _seconds(lane, mesh, axes, config.num_repeats),
    ]


def _seconds(
    lane: Callable[..., Any], mesh: Mesh, axes: dict[str, jax.Array], num_repeats: int
) -> float:
    """The median, from the call to the result on the host; the first call, which is not counted,
    makes what is kept.
    """
    taken = []
    for _ in range(num_repeats + 1):
        start = time.perf_counter()
        found = nce_jax.sweep(lane, axes=axes, mesh=mesh)
        taken.append(time.perf_counter() - start)
    assert found.num_chunks == 1  # else the program that was counted is not the one that ran
    assert not found.failed.any()
    return float(np.median(taken[1:]))
