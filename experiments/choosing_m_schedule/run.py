"""Trains on every problem under a schedule, with M fixed, and with all that chooses it.

Every budget is a run of its own. An interrupted run computes only the missing pieces.
"""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.choosing_m_schedule.config import PRESETS, Config
from experiments.choosing_m_schedule.problems import FURTHER, PROBLEMS
from experiments.choosing_m_schedule.statistics import headline, method_names
from experiments.choosing_m_schedule.train import Programs, Recipe, budgets, least_error
from experiments.common import (
    cli,
    magnification_problems,
    pieces,
    progress,
    results,
    settings,
    whitened_tables,
)
from nce_jax import magnification, training

Arrays = dict[str, np.ndarray]

KINDS = ("grid", "adaptive", "sufficient", "supported")
COMPUTING = [
    *(Path(module.__file__) for module in (magnification_problems, whitened_tables)),
    *(Path(__file__).with_name(f"{name}.py") for name in ("candidates", "problems", "train")),
    *(
        path
        for room in (magnification, training)
        for path in sorted(Path(room.__file__).parent.glob("*.py"))
    ),
]
"""Files whose code determines the stored pieces."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays `averaged` and `raw`, (problem, choice, seed, budget), of the parameters' errors.

    The choices are the fixed M, then the methods. `rates`, (problem, choice, seed, factor), are the
    errors of the averaged parameters at the medium budget and other peak rates, and `paths`,
    (problem, choice, budget, step), the medians of M. Errors are in excess of the least.
    """
    settings.check_least(config, 1, "num_seeds", "group_size")
    settings.check_includes(config, "magnifications", 1)
    settings.check_methods((*config.problems, *config.further), PROBLEMS | FURTHER)
    folder = pieces.folder("choosing_m_schedule", config, COMPUTING)
    names = (*config.problems, *config.further)
    # A program of so small networks occupies one core.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 2)) as pool:
        futures = [pool.submit(_results_of, folder, config, name, key) for name in names]
        found = [future.result() for future in progress.track(futures, "problems")]
    arrays = {field: np.stack([one[field] for one in found]) for field in found[0]} | {
        "problems": np.array(names),
        "is_further": np.isin(names, config.further),
        "magnifications": np.array(config.magnifications),
        "methods": np.array(method_names(config)),
        "rate_factors": np.array(config.rate_factors),
        "peak_rates": np.array([(PROBLEMS | FURTHER)[name].peak_rate for name in names]),
    }
    failed = {"averaged": np.argwhere(~np.isfinite(arrays["averaged"]))}
    return results.Result(arrays, headline(arrays), failed, (folder,))


def _results_of(folder: Path, config: Config, name: str, key: jax.Array) -> Arrays:
    """All runs of a problem: a piece for each kind of choice."""
    case = (PROBLEMS | FURTHER)[name]
    problem, key = case.make(), jax.random.fold_in(key, zlib.crc32(name.encode()))
    programs = Programs(problem, config)
    file = "".join(filter(str.isalnum, name))

    def load(kind: str) -> Arrays:
        return pieces.load_or_compute(
            folder / f"{file}-{kind}.npz",
            lambda: _runs_of(programs, kind, config, budgets(problem, config), case.peak_rate, key),
        )

    runs = [load(kind) for kind in KINDS]
    least = pieces.load_or_compute(
        folder / f"{file}-least.npz",
        lambda: {"least": least_error(problem, config, case.peak_rate, key)},
    )["least"]
    joined = {field: np.concatenate([run[field] for run in runs]) for field in runs[0]}
    excess = {field: joined[field] - least for field in ("averaged", "raw", "rates")}
    lengths = np.array(budgets(problem, config))
    return {**excess, "paths": joined["paths"], "least": least, "budgets": lengths}


def _runs_of(
    programs: Programs, kind: str, config: Config, lengths: tuple[int, ...], rate: float, key: Any
) -> Arrays:
    """Runs of a kind at all budgets, and at the medium one at other rates."""
    keys = jax.random.split(key, config.num_seeds)
    groups = [
        keys[first : first + config.group_size]
        for first in range(0, config.num_seeds, config.group_size)
    ]
    ends = [[programs.run(kind, Recipe(n, rate), group) for group in groups] for n in lengths]
    at_rates = [
        programs.run(kind, Recipe(lengths[1], factor * rate), groups[0]).averaged[..., 0]
        for factor in config.rate_factors
    ]

    def of_all(field: str) -> np.ndarray:
        """(choice, seed, budget, ...)."""
        parts = [np.concatenate([getattr(run, field) for run in row], axis=1) for row in ends]
        return np.stack(parts, axis=2)

    return {
        "averaged": of_all("averaged")[..., 0],
        "raw": of_all("raw")[..., 0],
        "rates": np.stack(at_rates, axis=-1),
        "paths": np.median(of_all("path"), axis=1),
    }


if __name__ == "__main__":
    cli.main("choosing_m_schedule", PRESETS, experiment)
