"""Every problem, at every M of the grid, under the adaptive rule and at a constant chosen from a pilot run."""

import zlib

import jax
import numpy as np

from experiments.choosing_m.config import PRESETS, Config
from experiments.choosing_m.problems import PROBLEMS
from experiments.choosing_m.statistics import headline
from experiments.choosing_m.train import least_error, run
from experiments.common import cli, progress, results


def experiment(config: Config, key: jax.Array) -> results.Result:
    names = (*config.designed_on, *config.fresh)
    runs, references, paths = [], [], {}
    for name in progress.track(names, "problems"):
        problem, own = PROBLEMS[name](), jax.random.fold_in(key, zlib.crc32(name.encode()))
        found = run(problem, config, own)
        references.append(least_error(problem, config, own))
        paths[f"path: {name}"] = np.quantile(found.path, (0.1, 0.5, 0.9), axis=0)
        runs.append(found)
        jax.clear_caches()
    excess = {
        field: np.stack([getattr(found, field) - reference for found, reference in zip(runs, references, strict=True)])
        for field in ("grid", "adaptive", "constant")
    }
    arrays = {**excess, **paths} | {
        "constant_magnification": np.stack([found.constant_magnification for found in runs]),
        "problems": np.array(names),
        "is_fresh": np.isin(names, config.fresh),
        "magnifications": np.array(config.magnifications),
        "references": np.array(references),
        "budgets": np.array([PROBLEMS[name]().budgets for name in names]),
    }
    failed = {field: np.argwhere(~np.isfinite(values)) for field, values in excess.items()}
    return results.Result(arrays, headline(arrays), failed)


if __name__ == "__main__":
    cli.main("choosing_m", PRESETS, experiment)
