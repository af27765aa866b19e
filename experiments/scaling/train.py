"""Trains on all devices of all processes, for `make two-processes`; resumes when interrupted.

python -m experiments.common.processes --num-processes 2 --devices 4 -- experiments.scaling.train
--num-steps 400
"""

from pathlib import Path

import jax
import optax
import tyro

from experiments.common import processes
from experiments.common.endings import one_line
from nce_jax import models, noise, toys, training


def main(
    num_steps: int = 400,
    folder: Path = Path("build/runs/scaling"),
    batch_size: int = 512,
    checkpoint_every: int = 50,
) -> None:
    """Fit a perceptron to the ring of eight Gaussians.

    Args:
        num_steps: total number of steps, including those of earlier calls.
        folder: folder of the checkpoints and metrics; a new folder starts anew.
        batch_size: number of data samples, and of noise samples, per step over all devices.
        checkpoint_every: number of steps between checkpoints, and between records of metrics.
    """
    processes.join()
    mesh = training.make_mesh()
    params, log_density_fn = models.mlp_energy(jax.random.key(0), 2)
    x_data = toys.gaussians().sample(jax.random.key(1), 16_384)
    optimizer, distribution = optax.adam(1e-3), noise.fitted_gaussian(x_data)
    step = training.make_train_step(log_density_fn, distribution, optimizer, mesh=mesh)
    state = training.shard_state(step.init(params), mesh)
    options = {"batch_size": batch_size, "folder": folder, "resume": True}
    options |= {"checkpoint_every": checkpoint_every, "log_every": checkpoint_every}
    result = training.fit(step, state, x_data, jax.random.key(2), num_steps=num_steps, **options)
    if jax.process_index() == 0:
        last = {name: values[-1] for name, values in result.history.items()}
        print(
            f"{jax.process_count()} processes, {jax.device_count()} devices, step {num_steps}:",
            end=" ",
        )
        print(
            f"loss {last['loss']:.6f}, F {last['log_partition']:.6f}, overlap {last['overlap']:.4f}"
        )


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
