"""Tunes samplers of published denoisers by critics, and distills denoisers into one step.

Ready to run, not run: the presets `gpu` and `gpu-imagenet64` need files of weights and a GPU for
days. Run it with `python -m experiments.diffusion_images.run --preset gpu`; a killed run goes on
from its last checkpoint.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import (
    cli,
    critic_methods,
    diffusion_steps,
    networks,
    pieces,
    results,
    score_distillation,
)
from experiments.common.critic_methods import METHODS, student_label
from experiments.diffusion_images import data, denoisers, players, students
from experiments.diffusion_images.checks import check
from experiments.diffusion_images.config import PRESETS, Config
from experiments.diffusion_images.statistics import headline
from nce_jax import training

Arrays = dict[str, np.ndarray]
NUM_PICTURES = 24
SOURCES = [
    *(Path(module.__file__) for module in (critic_methods, diffusion_steps, score_distillation)),
    *sorted(Path(networks.__file__).parent.glob("*.py")),
    *(
        Path(__file__).with_name(f"{name}.py")
        for name in ("data", "denoisers", "players", "run", "students")
    ),
]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays sampler_<measure> and student_<measure>, (method, seed, checkpoint)."""
    images = data.load(config.images)
    teachers = _teachers(config)
    # Before anything is trained, too: its file is not missed after days.
    start = denoisers.load_start(config.student_start, config.student_teacher)
    check(config, images, teachers)
    # What a cell depends on; a run with more methods or seeds reads the cells that it has.
    every: dict[str, Any] = {"methods": (), "magnifications": (), "num_seeds": 0}
    cell = dataclasses.replace(config, **every, student_methods=(), student_magnifications=())
    folder = pieces.folder("diffusion_images", cell, SOURCES)
    features = denoisers.load_features(config.features)
    judge = data.make_judge(features, images, config.num_measured, config.seed)
    arrays: Arrays = {}
    for kind, name, rows in (
        ("sampler", config.sampler_teacher, _samplers(config)),
        ("student", config.student_teacher, _students(config)),
    ):
        run = _Run(config, folder, images, judge, teachers[name], start)
        if kind == "sampler":
            arrays |= run.baselines(key)
        arrays |= _of_kind(kind, run, rows)
        arrays[f"{kind}_updates"] = np.array(config.updates(kind))
    return results.Result(arrays, headline(arrays), _failed(arrays), (folder,))


def _teachers(config: Config) -> dict[str, denoisers.Teacher]:
    """Both denoisers: the student's file is not missed after days of the sampler's training."""
    names = {config.sampler_teacher, config.student_teacher}
    return {name: denoisers.load_teacher(name) for name in sorted(names)}


def _samplers(config: Config) -> dict[str, Callable]:
    """The step of every critic of the sampler, by label, as functions of the teacher."""
    return {
        METHODS[name].label(m): partial(players.make_sampler, config, name=name, magnification=m)
        for name in config.methods
        for m in (config.magnifications if METHODS[name].has_fixed_magnification else (1.0,))
    }


def _students(config: Config) -> dict[str, Callable]:
    return {
        student_label(m, name): partial(students.make_student, config, name=name, magnification=m)
        for name in config.student_methods
        for m in config.student_magnifications
    }


def _of_kind(kind: str, run: "_Run", rows: dict[str, Callable]) -> Arrays:
    arrays: Arrays = {f"{kind}_methods": np.array(list(rows))}
    found = [
        [run.cell(kind, label, make, seed) for seed in range(run.config.num_seeds)]
        for label, make in rows.items()
    ]
    for field in found[0][0] if found else ():
        arrays[f"{kind}_{field}"] = np.array([[seed[field] for seed in row] for row in found])
    return arrays


@dataclasses.dataclass
class _Run:
    """What all cells of a teacher share."""

    config: Config
    folder: Path
    images: data.Images
    judge: data.Judge
    teacher: denoisers.Teacher
    start: dict[str, jax.Array]
    """Of the student."""

    def baselines(self, key: jax.Array) -> Arrays:
        """The teacher as a sampler of few and of many steps."""
        arrays: Arrays = {}
        for name, length in (("few", self.config.length), ("many", self.config.num_many)):
            params = players.init_sampler(self.config, self.teacher, length)
            compute = partial(self._measure, "sampler", params, key)
            path = self.folder / f"teacher-{name}.npz"
            found = pieces.load_or_compute(path, compute)
            arrays |= {f"teacher_{name}_{field}": value for field, value in found.items()}
        return arrays

    def cell(self, kind: str, label: str, make: Callable, seed: int) -> Arrays:
        """One method and seed, trained in as many parts as there are measurements."""
        slug = "_".join("".join(c if c.isalnum() else " " for c in label).split())
        path = self.folder / f"{kind}-{slug}-{seed}.npz"
        return pieces.load_or_compute(path, lambda: self._train(kind, make, seed, path.stem))

    def _train(self, kind: str, make: Callable, seed: int, name: str) -> Arrays:
        config, step = self.config, make(teacher=self.teacher)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), seed), 3)
        if kind == "sampler":
            params = players.init_sampler(config, self.teacher, config.length)
            size, channels = config.batch_size, 3
        else:
            params = students.init_student(self.teacher, self.start)
            size, channels = config.student_batch, 4
        start = step.init(params, players.init_critic(config, keys[0], channels))
        found = []
        for num_steps in config.updates(kind):
            result = training.fit(
                step,
                start,
                data.batches(self.images, size, seed),
                keys[1],
                num_steps=num_steps,
                folder=self.folder / name,
                resume=True,
                checkpoint_every=config.checkpoint_every,
                log_every=min(config.checkpoint_every, 100),
            )
            made = self._measure(kind, training.averaged_params(result.state), keys[2])
            found.append(made | {"overlap": np.asarray(result.history["overlap"][-1])})
        stacked = {field: np.stack([item[field] for item in found]) for field in found[0]}
        return stacked | {"pictures": found[-1]["pictures"]}

    def _measure(self, kind: str, params: Any, key: jax.Array) -> Arrays:
        """The distance of samples, and some of them, by the averaged parameters."""
        config, teacher = self.config, self.teacher

        @jax.jit
        def draw(params: Any, key: jax.Array, labels: jax.Array) -> jax.Array:
            if kind == "sampler":
                return players.sample_path(config, teacher, params, key, labels, 1).after[-1]
            return students.generate(config, teacher, params["net"], key, labels)

        found = []
        for begin in range(0, config.num_measured, data.BLOCK):
            block_key = jax.random.fold_in(key, begin)
            rows = jax.random.randint(block_key, (data.BLOCK,), 0, len(self.images.labels))
            labels = jnp.asarray(self.images.labels[np.asarray(rows)].astype(np.int32))
            found.append(data.as_bytes(draw(params, block_key, labels)))
        x = np.concatenate(found)[: config.num_measured]
        return data.distance(self.judge, x) | {"pictures": x[:NUM_PICTURES]}


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
    cli.main("diffusion_images", PRESETS, experiment)
