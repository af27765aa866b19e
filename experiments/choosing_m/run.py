"""Trains on every problem: on a grid of M, by the adaptive rule, and at a constant from a pilot."""

import zlib
from pathlib import Path

import jax
import numpy as np

from experiments.choosing_m.config import PRESETS, Config
from experiments.choosing_m.statistics import RULES, headline
from experiments.choosing_m.train import at_fixed, by_rules, least_error
from experiments.common import (
    cli,
    magnification_problems,
    pieces,
    progress,
    results,
    settings,
    whitened_tables,
)
from experiments.common.magnification_problems import PROBLEMS
from nce_jax import magnification, training

COMPUTING = [
    *(Path(module.__file__) for module in (magnification_problems, whitened_tables)),
    Path(__file__).with_name("train.py"),
    *(
        path
        for room in (magnification, training)
        for path in sorted(Path(room.__file__).parent.glob("*.py"))
    ),
]
"""Files whose code determines the stored pieces: an interrupted run does not resume under another
rule."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_includes(config, "magnifications", 1)
    names = (*config.designed_on, *config.fresh)
    folder = pieces.folder("choosing_m", config, COMPUTING)
    results_by_problem = {
        name: _results_of(folder, config, name, key) for name in progress.track(names, "problems")
    }
    arrays = _arrays(config, results_by_problem)
    failed = {field: np.argwhere(~np.isfinite(arrays[field])) for field in ("grid", *RULES)}
    return results.Result(arrays, headline(arrays), failed, (folder,))


def _results_of(folder: Path, config: Config, name: str, key: jax.Array) -> dict[str, np.ndarray]:
    """Results of all runs of a problem, stored in two pieces: the grid and the rules."""
    problem, key_problem = PROBLEMS[name](), jax.random.fold_in(key, zlib.crc32(name.encode()))
    file = "".join(filter(str.isalnum, name))

    def grid():
        return {
            "grid": at_fixed(problem, config, key_problem),
            "reference": least_error(problem, config, key_problem),
        }

    on_grid = pieces.load_or_compute(folder / f"{file}-grid.npz", grid)
    by_rule = pieces.load_or_compute(
        folder / f"{file}-rules.npz", lambda: by_rules(problem, config, key_problem)._asdict()
    )
    jax.clear_caches()
    return {**on_grid, **by_rule}


def _arrays(
    config: Config, results_by_problem: dict[str, dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays of all problems; errors are in excess of the least."""
    runs, names = list(results_by_problem.values()), list(results_by_problem)
    excess = {
        field: np.stack([run[field] - run["reference"] for run in runs])
        for field in ("grid", *RULES)
    }
    paths = {
        f"path: {name}": np.quantile(run["path"], (0.1, 0.5, 0.9), axis=0)
        for name, run in results_by_problem.items()
    }
    return {**excess, **paths} | {
        "constant_magnification": np.stack([run["constant_magnification"] for run in runs]),
        "problems": np.array(names),
        "is_fresh": np.isin(names, config.fresh),
        "magnifications": np.array(config.magnifications),
        "references": np.array([run["reference"] for run in runs]),
        "budgets": np.array([PROBLEMS[name]().budgets for name in names]),
    }


if __name__ == "__main__":
    cli.main("choosing_m", PRESETS, experiment)
