"""Work, traffic and time of a train step, a sweep and a solve, by number of devices."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.scaling import exchange, sweep_cost
from experiments.scaling.collectives import collectives
from experiments.scaling.config import Config
from nce_jax import models, noise, training

DIM = 64
"""Dimension of the data."""
SCALINGS = ("weak", "strong")
QUANTITIES = ("flops", "bytes", "collectives", "in_loops", "collective_bytes", "seconds")


def measure(config: Config) -> dict[str, np.ndarray]:
    """All quantities by (scaling, devices, treatment), and those of the sweep and the solve.

    Work and traffic are counted per device in the compiled program, and seconds are per step.
    """
    treatments = {"solved": training.solved(), "joint": training.joint_gradient()}
    table = np.empty((len(SCALINGS), len(config.num_devices), len(treatments), len(QUANTITIES)))
    for row, scaling in enumerate(SCALINGS):
        for column, num_devices in enumerate(config.num_devices):
            batch_devices = num_devices if scaling == "weak" else max(config.num_devices)
            batch_size = config.batch_size * batch_devices // max(config.num_devices)
            for index, treatment in enumerate(treatments.values()):
                table[row, column, index] = _step(config, num_devices, batch_size, treatment)
    counted = {name: table[..., column] for column, name in enumerate(QUANTITIES)}
    other_measures = sweep_cost.measure(config, treatments) | exchange.measure(config)
    return counted | other_measures | {"treatments": np.array(list(treatments))}


def _step(
    config: Config, num_devices: int, batch_size: int, treatment: training.Treatment
) -> list[float]:
    mesh = training.make_mesh(devices=jax.devices()[:num_devices])
    params, log_density_fn = models.mlp_energy(
        jax.random.key(config.seed), DIM, hidden=(config.width, config.width)
    )
    optimizer = optax.adam(1e-3)
    step = training.make_train_step(
        log_density_fn, noise.standard_normal(DIM), optimizer, treatment=treatment, mesh=mesh
    )
    state = training.shard_state(step.init(params), mesh)
    x_data = jax.device_put(
        0.1 + jax.random.normal(jax.random.key(1), (batch_size, DIM)),
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")),
    )
    compiled = (
        training.jit_train_step(step, state).lower(state, x_data, jax.random.key(2)).compile()
    )
    return [*_counted(compiled), _seconds(compiled, state, x_data, config.num_repeats)]


def _counted(compiled: Any) -> list[float]:
    cost, operations = compiled.cost_analysis(), collectives(compiled)
    num_bytes = sum(operation.num_bytes for operation in operations)
    return [
        cost["flops"],
        cost["bytes accessed"],
        len(operations),
        sum(operation.is_in_loop for operation in operations),
        num_bytes,
    ]


def _seconds(compiled: Any, state: Any, x_data: jax.Array, num_repeats: int) -> float:
    """Median seconds of a step.

    Virtual devices share two cores, so that work of different devices is partly sequential.
    """
    durations = []
    for _ in range(num_repeats):
        start = time.perf_counter()
        state, metrics = compiled(state, x_data, jax.random.key(2))
        jnp.asarray(metrics.loss).block_until_ready()
        durations.append(time.perf_counter() - start)
    return float(np.median(durations))
