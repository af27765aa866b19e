"""Trains a teacher, tunes its sampler of few steps by critics, and distills it into one step.

An interrupted run computes only the missing cells. Run it with `python -m
experiments.diffusion_digits.run --preset cpu`.
"""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common import (
    cli,
    critic_methods,
    diffusion_steps,
    distillation,
    pieces,
    progress,
    results,
    score_distillation,
    value_guidance,
)
from experiments.common.critic_methods import METHODS, student_label
from experiments.common.gray_images import gray_images
from experiments.common.settings import check_methods
from experiments.diffusion_digits import measures, sampler, train
from experiments.diffusion_digits.config import PRESETS, CellSettings, Config
from experiments.diffusion_digits.methods import magnifications
from experiments.diffusion_digits.network import init_unet
from experiments.diffusion_digits.statistics import headline

Arrays = dict[str, np.ndarray]
SOURCES = [
    *(
        Path(module.__file__)
        for module in (
            critic_methods,
            diffusion_steps,
            distillation,
            score_distillation,
            value_guidance,
        )
    ),
    *(
        Path(__file__).with_name(f"{name}.py")
        for name in ("measures", "methods", "network", "sampler", "students", "train")
    ),
]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays sampler_<measure>, (method, seed, checkpoint), and student_<measure> alike.

    Those of the baselines are <baseline>_<measure>: data, teacher and teacher_many.
    """
    check_methods(config.methods, METHODS)
    check_methods(config.student_methods, METHODS, "student_methods")
    settings = CellSettings(
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(CellSettings)}
    )
    folder = pieces.folder("diffusion_digits", settings, SOURCES)
    key_judge, key_teacher, key_samples = jax.random.split(key, 3)
    # Made where a cell needs them: not at all, if every cell is stored.
    images = cache(lambda: gray_images(config.images))
    device = cache(lambda: measures.as_images(settings, images().train))
    judge = measures.make_judge(settings, key_judge, images())
    teacher = _teacher(folder, settings, key_teacher, device)
    arrays = pieces.load_or_compute(
        folder / "baselines.npz",
        lambda: _baselines(settings, judge, teacher, images().train, key_samples),
    )
    cells: dict[tuple[str, str, int], Callable[[], Arrays]] = {}
    for seed in range(config.num_seeds):
        for name in config.methods:
            for m in magnifications(config, name):
                run = partial(train.tune, settings, METHODS[name], m, seed)
                cells["sampler", METHODS[name].label(m), seed] = partial(
                    run, teacher, device(), judge
                )
        for name in config.student_methods:
            for m in config.students:
                cells["student", student_label(m, name), seed] = partial(
                    train.distill, settings, METHODS[name], m, seed, teacher, device(), judge
                )
    arrays |= _stacked(_compute(folder, cells), config.num_seeds)
    arrays["sampler_updates"] = train.checkpoints(settings, config.num_updates)
    arrays["student_updates"] = train.checkpoints(settings, config.num_distillation_updates)
    kept = () if config.keep_pieces else (folder,)
    return results.Result(arrays, headline(arrays), _failed(arrays), kept)


def _teacher(folder: Path, settings: CellSettings, key: jax.Array, images: Callable) -> Any:
    """The teacher's weights, stored as numbered leaves."""

    def compute() -> Arrays:
        leaves = jax.tree.leaves(sampler.fit_teacher(settings, key, images()))
        return {f"leaf_{number}": np.asarray(leaf) for number, leaf in enumerate(leaves)}

    stored = pieces.load_or_compute(folder / "teacher.npz", compute)
    shapes = jax.eval_shape(lambda key: init_unet(key, settings.channels), key)
    leaves = [stored[f"leaf_{number}"] for number in range(len(stored))]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _baselines(
    settings: CellSettings, judge: measures.Judge, teacher: Any, train_levels: Any, key: jax.Array
) -> Arrays:
    """Training images, and the teacher as a sampler of few and of many steps."""
    rows = np.random.default_rng(settings.seed).choice(
        len(train_levels), settings.num_measured, replace=False
    )
    many = dataclasses.replace(settings, length=settings.num_many)
    sets = {"data": measures.shrink(settings, train_levels[rows])}
    for name, of in (("teacher", settings), ("teacher_many", many)):
        sets[name] = sampler.samples(settings, sampler.init_sampler(of, teacher), key)
    arrays = {"accuracy": np.asarray(judge.accuracy)}
    for name, x in sets.items():
        arrays |= {f"{name}_{key}": value for key, value in measures.measure(judge, x).items()}
        arrays[f"{name}_pictures"] = x[: train.NUM_PICTURES].astype(np.float16)
    return arrays


def _compute(folder: Path, cells: dict) -> dict[tuple[str, str, int], Arrays]:
    """All cells, two at a time: a small network does not occupy all cores."""

    def of_cell(item: tuple[tuple[str, str, int], Callable]) -> Arrays:
        (kind, name, seed), compute = item
        slug = "_".join("".join(c if c.isalnum() else " " for c in name).split())
        return pieces.load_or_compute(folder / f"{kind}-{slug}-{seed}.npz", compute)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 2)) as pool:
        found = progress.track(pool.map(of_cell, cells.items()), f"{len(cells)} cells")
        return dict(zip(cells, found, strict=True))


def _stacked(cells: dict[tuple[str, str, int], Arrays], num_seeds: int) -> Arrays:
    arrays: Arrays = {}
    for kind in ("sampler", "student"):
        names = list(dict.fromkeys(name for of, name, _ in cells if of == kind))
        arrays[f"{kind}_methods"] = np.array(names)
        fields = cells[kind, names[0], 0] if names else ()
        for field in fields:
            rows = [[cells[kind, name, seed][field] for seed in range(num_seeds)] for name in names]
            arrays[f"{kind}_{field}"] = np.array(rows)
    return arrays


def _failed(arrays: Arrays) -> Arrays:
    """Seeds without a finite final distance, by method."""
    return {
        str(method): lanes
        for kind in ("sampler", "student")
        for method, last in zip(
            arrays[f"{kind}_methods"], arrays.get(f"{kind}_frechet", ()), strict=True
        )
        if len(lanes := np.argwhere(~np.isfinite(last[:, -1])))
    }


if __name__ == "__main__":
    cli.main("diffusion_digits", PRESETS, experiment)
