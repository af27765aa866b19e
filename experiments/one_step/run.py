"""Distills every generator against every critic, and measures the samples by update.

An interrupted run computes only the missing methods. Run it with `python -m
experiments.one_step.run`.
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
    distillation,
    eight_gaussians,
    perceptron,
    pieces,
    progress,
    results,
    score_distillation,
    settings,
)
from experiments.one_step import teacher, train
from experiments.one_step.config import PRESETS, Config
from experiments.one_step.players import METHODS
from experiments.one_step.statistics import headline

Arrays = dict[str, np.ndarray]

COMPUTING = [
    *(
        Path(module.__file__)
        for module in (
            critic_methods,
            distillation,
            eight_gaussians,
            perceptron,
            score_distillation,
        )
    ),
    *(Path(__file__).with_name(f"{name}.py") for name in ("players", "teacher", "train")),
]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays of measures, (method, seed, checkpoint), in the order of `methods`.

    start_<measure> is of the generators before their first update, (seed,); data_<measure> of data
    against other data, and teacher_<measure> of the teacher's own samples. Further fields are the
    overlap of the critic's batches, its F and M, means since the last checkpoint.
    """
    settings.check_methods(config.methods, METHODS)
    settings.check_least(config, 1, "num_seeds", "batch_size")
    settings.check_range(config, "levels")
    updates = train.checkpoints(config)
    key_sets, key_seeds = jax.random.split(key)
    keys = jax.random.split(key_seeds, config.num_seeds)
    folder = pieces.folder("one_step", config, COMPUTING)
    starts = train.fit_starts(config, keys)
    arrays = {
        "updates": updates,
        "methods": np.array(
            [
                METHODS[name].label(m)
                for name in config.methods
                for m in METHODS[name].magnifications(config)
            ]
        ),
        **_named("start", train.measure_starts(config, starts, keys)),
        **_of_sets(config, key_sets),
        **_train_all(config, folder, starts, keys),
    }
    return results.Result(arrays, headline(arrays), _failed(arrays), (folder,))


def _of_sets(config: Config, key: jax.Array) -> Arrays:
    """The measures of as many data, and of as many samples of the teacher, for every seed."""

    def of_seed(key: jax.Array) -> tuple[eight_gaussians.Measures, eight_gaussians.Measures]:
        keys = jax.random.split(key, 4)
        data, others = (eight_gaussians.draw_data(config, k, config.num_measured) for k in keys[:2])
        samples = config.scale * teacher.draw(config, keys[2], config.num_measured)
        return (
            eight_gaussians.measure(config, others, data, keys[3]),
            eight_gaussians.measure(config, samples, data, keys[3]),
        )

    of_data, of_teacher = jax.lax.map(of_seed, jax.random.split(key, config.num_seeds))
    return _named("data", of_data) | _named("teacher", of_teacher)


def _train_all(config: Config, folder: Path, starts: Any, keys: jax.Array) -> Arrays:
    """The traces of all methods; a lane of so small networks occupies one core."""

    def of_method(name: str) -> Arrays:
        def compute() -> Arrays:
            trace = train.train(config, METHODS[name], starts, keys)
            more = {k: getattr(trace, k) for k in ("overlap", "log_partition", "magnification")}
            return trace.measures._asdict() | more

        path = folder / f"{name.replace(', ', '-')}.npz"
        return pieces.load_or_compute(path, compute)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        futures = [pool.submit(of_method, name) for name in config.methods]
        traces = [future.result() for future in progress.track(futures, "one_step")]
    return {name: np.concatenate([t[name] for t in traces]) for name in traces[0]}


def _named(prefix: str, measured: eight_gaussians.Measures) -> Arrays:
    return {f"{prefix}_{name}": np.asarray(value) for name, value in measured._asdict().items()}


def _failed(arrays: Arrays) -> Arrays:
    """Seeds without a finite final distance, by method."""
    return {
        str(method): lanes
        for method, last in zip(arrays["methods"], arrays["sliced"][..., -1], strict=True)
        if len(lanes := np.argwhere(~np.isfinite(last)))
    }


if __name__ == "__main__":
    cli.main("one_step", PRESETS, experiment)
