"""A short epoch of the MNIST experiment at its preset `gpu`, or of its enlarged digits."""

import dataclasses
import os
import time
from pathlib import Path

import jax
import numpy as np
import optax

import nce_jax
from benchmarks.device_check.parts import Size, Skipped
from benchmarks.rows import Amount, Report, spread
from experiments.common.mnist_images import SETS, VARIABLE
from experiments.common.published import cache_folder
from experiments.mnist import preprocessing, train
from experiments.mnist.config import PRESETS, Config
from nce_jax import training

BLOCK = {"full": 25, "small": 2}
SECONDS = {"full": 40.0, "small": 5.0}
"""No block of steps is begun after that long."""


def run(size: Size) -> Report:
    """Steps with F solved by Newton's method, one epoch of them or as many as there is time for."""
    config = _config(size)
    with jax.enable_x64(False):
        data = preprocessing.load(config.images, jax.random.key(0))
        epoch = len(data.train) // config.batch_size if size == "full" else 3 * BLOCK[size]
        seconds, metrics = _train(config, data, epoch, size)
    # The first block compiles.
    amounts = [Amount("step", "s", spread(np.array(seconds[1:] or seconds) / BLOCK[size]))]
    last = metrics[-1]
    details = {
        "images": config.images,
        "width": config.width,
        "batch": config.batch_size,
        "steps": len(seconds) * BLOCK[size],
        "steps_of_an_epoch": epoch,
        "seconds_of_the_first_block": seconds[0],
        "loss": [float(each.loss) for each in metrics],
        "evaluations": [int(each.num_evaluations) for each in metrics],
        "failures": [] if np.isfinite(float(last.loss)) else ["the loss is not finite"],
    }
    return Report(details=details, amounts=amounts)


def _config(size: Size) -> Config:
    if size == "small":
        return dataclasses.replace(PRESETS["smoke"], batch_size=4)
    config = PRESETS["gpu"]
    if not are_there(config.images):
        raise Skipped(f"the files of {config.images} are neither in {VARIABLE} nor in the cache")
    return config


def are_there(name: str) -> bool:
    """Whether all files of a set are on disk, so that none has to be downloaded."""
    folders = [Path(os.environ[VARIABLE]).expanduser()] if os.environ.get(VARIABLE) else []
    files = [file for split in SETS[name].values() for file in split]
    return all(
        any((folder / file.folder / file.name).is_file() for folder in [*folders, cache_folder()])
        for file in files
    )


def _train(
    config: Config, data: preprocessing.Data, epoch: int, size: Size
) -> tuple[list[float], list[training.Metrics]]:
    """Seconds of every block of steps, and the metrics of its last step."""
    params, log_ratio_fn = train.make_model(config, jax.random.key(1))
    step = training.make_train_step(
        noise=data.noise,
        optimizer=optax.adam(config.learning_rate),
        log_ratio_fn=log_ratio_fn,
        criterion=nce_jax.criteria.nce(),
        treatment=training.solved(),
    )
    compiled, state = training.jit_train_step(step, step.init(params)), step.init(params)
    batch = preprocessing.batch_fn(data.train, config.batch_size, jax.random.key(2))
    seconds, metrics, begun = [], [], time.perf_counter()
    for first in range(0, epoch - BLOCK[size] + 1, BLOCK[size]):
        start = time.perf_counter()
        for number in range(first, first + BLOCK[size]):
            state, last = compiled(state, batch(number), jax.random.key(3))
        metrics.append(jax.block_until_ready(last))
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - begun > SECONDS[size]:
            break
    return seconds, metrics
