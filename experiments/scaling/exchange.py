"""A solve for F of log ratios on eight devices: gathered first, or reduced at every evaluation."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import nce_jax
from experiments.scaling.collectives import collectives
from experiments.scaling.config import Config
from nce_jax import training

WAYS = {"gather": PartitionSpec(), "reduce": PartitionSpec("data")}
"""Sharding of the log ratios during the solve."""


def measure(config: Config) -> dict[str, np.ndarray]:
    """Milliseconds of a solve and collectives in its loop, (samples, way)."""
    mesh = training.make_mesh()
    table = [
        [_solve(config, mesh, size, sharding) for sharding in WAYS.values()]
        for size in config.exchange_sizes
    ]
    milliseconds, in_loops = np.moveaxis(np.array(table, float), -1, 0)
    names = {
        "exchange_sizes": np.array(config.exchange_sizes),
        "exchange_ways": np.array(list(WAYS)),
    }
    return names | {"exchange_milliseconds": milliseconds, "exchange_in_loops": in_loops}


def _solve(config: Config, mesh: Mesh, size: int, sharding: PartitionSpec) -> tuple[float, int]:
    """Milliseconds and collectives of one solve; `size` counts the samples of both sides."""

    def solve(log_ratios: jax.Array) -> jax.Array:
        log_ratios = jax.lax.with_sharding_constraint(log_ratios, NamedSharding(mesh, sharding))
        return nce_jax.solve_log_partition(log_ratios, log_ratios - 1).log_partition

    split = NamedSharding(mesh, PartitionSpec("data"))
    log_ratios = jax.device_put(jax.random.normal(jax.random.key(config.seed), (size // 2,)), split)
    program = jax.jit(solve).lower(log_ratios).compile()
    durations = []
    for _ in range(config.num_repeats + 1):
        start = time.perf_counter()
        assert bool(jnp.isfinite(program(log_ratios)))
        durations.append(time.perf_counter() - start)
    return 1e3 * float(np.median(durations[1:])), sum(
        operation.is_in_loop for operation in collectives(program)
    )
