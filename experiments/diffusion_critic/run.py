"""Trains every sampler against every critic, and measures the samples by step.

An interrupted run computes only the missing methods. Run it with `python -m
experiments.diffusion_critic.run`.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import (
    cli,
    critic_methods,
    diffusion_steps,
    eight_gaussians,
    perceptron,
    pieces,
    progress,
    results,
    settings,
    value_guidance,
)
from experiments.common.critic_methods import METHODS
from experiments.common.eight_gaussians import Measures, draw_data, measure
from experiments.diffusion_critic import train
from experiments.diffusion_critic.config import PRESETS, Config
from experiments.diffusion_critic.methods import magnifications
from experiments.diffusion_critic.statistics import headline

Arrays = dict[str, np.ndarray]

COMPUTING = [
    *(
        Path(module.__file__)
        for module in (critic_methods, diffusion_steps, eight_gaussians, perceptron, value_guidance)
    ),
    *(Path(__file__).with_name(f"{name}.py") for name in ("methods", "sampler", "train")),
]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays T<length>_<measure>, (method, start, seed, checkpoint), in the order of `methods`.

    T<length>_teacher_<measure> is (seed,), and data_<measure> that of fresh data against data.
    Further fields are the overlap of critic's batches and its F, means since the last checkpoint.
    """
    settings.check_methods(config.methods, METHODS)
    settings.check_least(config, 1, "num_seeds", "batch_size")
    key_data, key_seeds = jax.random.split(key)
    keys = jax.random.split(key_seeds, config.num_seeds)
    folder = pieces.folder("diffusion_critic", config, COMPUTING)
    arrays: Arrays = {
        "lengths": np.array(config.lengths),
        "steps": train.checkpoints(config),
        "starts": np.array(train.STARTS),
        "methods": np.array(
            [
                METHODS[name].label(m)
                for name in config.methods
                for m in magnifications(config, METHODS[name])
            ]
        ),
        **_of_data(config, key_data),
    }
    for length in config.lengths:
        teachers = train.fit_teachers(config, length, keys)
        measured = train.measure_teachers(config, length, teachers, keys)
        arrays |= _named(f"T{length}_teacher", measured)
        arrays |= _train_all(config, folder, length, teachers, keys)
    return results.Result(arrays, headline(arrays), _failed(arrays), (folder,))


def _of_data(config: Config, key: jax.Array) -> Arrays:
    keys = jax.random.split(key, 3)
    sets = (draw_data(config, k, config.num_measured) for k in keys[:2])
    return _named("data", measure(config, *sets, keys[2]))


def _train_all(config: Config, folder: Path, length: int, teachers: Any, keys: jax.Array) -> Arrays:
    """The traces of all methods; a lane of so small networks occupies one core."""

    def of_method(name: str) -> Arrays:
        def compute() -> Arrays:
            method = METHODS[name]
            lanes = train.lanes_of(config, length, magnifications(config, method), teachers, keys)
            trace = train.train(config, length, method, lanes)
            more = {"overlap": trace.overlap, "log_partition": trace.log_partition}
            return trace.measures._asdict() | more

        path = folder / f"{length}-{name.replace(', ', '-').replace(' ', '_')}.npz"
        return pieces.load_or_compute(path, compute)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        futures = [pool.submit(of_method, name) for name in config.methods]
        traces = [
            future.result()
            for future in progress.track(futures, f"diffusion_critic, {length} steps")
        ]
    return {f"T{length}_{name}": np.concatenate([t[name] for t in traces]) for name in traces[0]}


def _named(prefix: str, measured: Measures) -> Arrays:
    return {f"{prefix}_{name}": np.asarray(value) for name, value in measured._asdict().items()}


def _failed(arrays: Arrays) -> Arrays:
    """Starts and seeds without a finite final distance, by number of steps and method."""
    return {
        f"T = {length}, {method}": lanes
        for length in arrays["lengths"]
        for method, last in zip(
            arrays["methods"], arrays[f"T{length}_sliced"][..., -1], strict=True
        )
        if len(lanes := np.argwhere(~np.isfinite(last)))
    }


if __name__ == "__main__":
    cli.main("diffusion_critic", PRESETS, experiment)
