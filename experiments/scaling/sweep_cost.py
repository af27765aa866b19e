"""Work, collectives and time of one fixed sweep, by number of devices."""

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
"""Distance of the data's mean from the noise's."""


def measure(config: Config, treatments: dict[str, training.Treatment]) -> dict[str, np.ndarray]:
    """All quantities as "sweep_<quantity>", (devices, treatment).

    Work is counted per device in the program, and seconds are of the whole grid.
    """
    table = [
        [_sweep(config, num_devices, treatment) for treatment in treatments.values()]
        for num_devices in config.num_devices
    ]
    return {f"sweep_{name}": np.array(table)[..., index] for index, name in enumerate(QUANTITIES)}


def make_lane(
    config: Config, treatment: training.Treatment
) -> Callable[[Any, Any], dict[str, jax.Array]]:
    """A lane that trains the mean of a Gaussian on fresh samples, shared by all M of a seed."""
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

        state = step.init(params)
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
    cost, operations = program.cost_analysis(), collectives(program)
    return [
        cost["flops"],
        cost["bytes accessed"],
        len(operations),
        _seconds(lane, mesh, axes, config.num_repeats),
    ]


def _seconds(
    lane: Callable[..., Any], mesh: Mesh, axes: dict[str, jax.Array], num_repeats: int
) -> float:
    """Median seconds from the call to the result on the host.

    The first call, which compiles, is not counted.
    """
    durations = []
    for _ in range(num_repeats + 1):
        start = time.perf_counter()
        result = nce_jax.sweep(lane, axes=axes, mesh=mesh)
        durations.append(time.perf_counter() - start)
    assert result.num_chunks == 1  # otherwise another program ran than the one that was counted
    assert not result.failed.any()
    return float(np.median(durations[1:]))
