"""A run to be killed: `python kill_me.py <folder>`; prints a line when it is through."""

import sys

import jax
import jax.numpy as jnp
import optax

from nce_jax import models, noise, training


def run(folder: str | None) -> training.FitResult:
    """400 steps that leave a checkpoint every 10, on data that the key shuffles."""
    params, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=(8,))
    optimizer = optax.adam(1e-2)
    step = training.make_train_step(
        log_density_fn, noise.standard_normal(2), optimizer, treatment=training.bar_step()
    )
    state = step.init(params)
    x_data = 1 + jax.random.normal(jax.random.key(1), (300, 2))
    options = {
        "num_steps": 400,
        "batch_size": 64,
        "checkpoint_every": 10,
        "log_every": 10,
        "progress": False,
    }
    return training.fit(
        step, state, x_data, jax.random.key(2), folder=folder, resume=folder is not None, **options
    )


if __name__ == "__main__":
    final = run(sys.argv[1])
    print("through", float(jnp.sum(final.state.log_partition)), flush=True)
