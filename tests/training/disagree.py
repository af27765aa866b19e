"""One of several processes that give `fit` different things: says what becomes of each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.common import processes
from nce_jax import models, noise, training


def fit(batches, key, num_steps=2, **options):
    mesh = training.make_mesh()
    params, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=(8,))
    optimizer = optax.sgd(1e-2)
    step = training.make_train_step(log_density_fn, noise.standard_normal(2), optimizer, mesh=mesh)
    state = training.shard_state(step.init(params), mesh)
    training.fit(
        step, state, batches, jax.random.key(key), num_steps=num_steps, progress=False, **options
    )


def main() -> None:
    processes.join()
    rank = jax.process_index()
    shared, local = (jax.random.normal(jax.random.key(seed), (64, 2)) for seed in (1, 2 + rank))
    split = NamedSharding(training.make_mesh(), PartitionSpec("data"))
    shards = jax.make_array_from_process_local_data(split, np.asarray(local))
    attempts = {
        "the same": lambda: fit(shared, 0, batch_size=16),
        "a share of each": lambda: fit(lambda step: shards, 0),
        "keys": lambda: fit(shared, rank, batch_size=16),
        "numbers of steps": lambda: fit(shared, 0, 2 + rank, batch_size=16),
        "samples": lambda: fit(local, 0, batch_size=16),
        "sizes": lambda: fit(jnp.ones((64 + 16 * rank, 2)), 0, batch_size=16),
        "batches": lambda: fit(lambda step: local, 0),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
            print(f"{name}: trained", flush=True)
        except ValueError as error:
            print(f"{name}: {error}", flush=True)


if __name__ == "__main__":
    main()
