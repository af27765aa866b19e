"""One solve for F of log-ratios spread over eight devices: gathered first, or left there and
reduced at every evaluation.
"""

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
"""Where the log-ratios lie while the equation is solved."""


def measure(config: Config) -> dict[str, np.ndarray]:
    """(samples, way): milliseconds of a solve and collectives in its loop."""
    mesh = training.make_mesh()
    table = [
        [_solve(config, mesh, size, place) for place in WAYS.values()]
        for size in config.exchange_sizes
    ]
    milliseconds, in_loops = np.moveaxis(np.array(table, float), -1, 0)
    names = {
        "exchange_sizes": np.array(config.exchange_sizes),
        "exchange_ways": np.array(list(WAYS)),
    }
    return names | {"exchange_milliseconds": milliseconds, "exchange_in_loops": in_loops}


def _solve(config: Config, mesh: Mesh, size: int, place: PartitionSpec) -> tuple[float, int]:
    """`size` counts the samples of both sides."""

    def solve(log_ratios: jax.Array) -> jax.Array:
        log_ratios = jax.lax.with_sharding_constraint(log_ratios, NamedSharding(mesh, place))
        return nce_jax.solve_log_partition(log_ratios, log_ratios - 1).log_partition

    split = NamedSharding(mesh, PartitionSpec("data"))
    log_ratios = jax.device_put(jax.random.normal(jax.random.key(config.seed), (size // 2,)), split)
    program = jax.jit(solve).lower(log_ratios).compile()
    taken = []
    for _ in range(config.num_repeats + 1):
        start = time.perf_counter()
        assert bool(jnp.isfinite(program(log_ratios)))
        taken.append(time.perf_counter() - start)
    return 1e3 * float(np.median(taken[1:])), sum(one.is_in_loop for one in collectives(program))
