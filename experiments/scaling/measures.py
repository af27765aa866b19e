"""Work, traffic and time of one larger train step over one device and more; with those of a sweep
and of a solve.
"""

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
SCALINGS = ("weak", "strong")
QUANTITIES = ("flops", "bytes", "collectives", "in_loops", "collective_bytes", "seconds")


def measure(config: Config) -> dict[str, np.ndarray]:
    """(scaling, devices, treatment) of every quantity: counted per device in the compiled program,
    and seconds per step.
    """
    treatments = {"solved": training.solved(), "joint": training.joint_gradient()}
    table = np.empty((len(SCALINGS), len(config.num_devices), len(treatments), len(QUANTITIES)))
    for row, scaling in enumerate(SCALINGS):
        for column, num_devices in enumerate(config.num_devices):
            share = num_devices if scaling == "weak" else max(config.num_devices)
            batch_size = config.batch_size * share // max(config.num_devices)
            for place, treatment in enumerate(treatments.values()):
                table[row, column, place] = _step(config, num_devices, batch_size, treatment)
    counted = {name: table[..., index] for index, name in enumerate(QUANTITIES)}
    beside = sweep_cost.measure(config, treatments) | exchange.measure(config)
    return counted | beside | {"treatments": np.array(list(treatments))}


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
    cost, found = compiled.cost_analysis(), collectives(compiled)
    told = sum(operation.num_bytes for operation in found)
    return [
        cost["flops"],
        cost["bytes accessed"],
        len(found),
        sum(operation.is_in_loop for operation in found),
        told,
    ]


def _seconds(compiled: Any, state: Any, x_data: jax.Array, num_repeats: int) -> float:
    """The median step; what the devices do at the same time, two cores do one after another."""
    taken = []
    for _ in range(num_repeats):
        start = time.perf_counter()
        state, metrics = compiled(state, x_data, jax.random.key(2))
        jnp.asarray(metrics.loss).block_until_ready()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))
