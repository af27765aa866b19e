"""Every problem, at every M of the grid, under the adaptive rule and at a constant chosen from a
pilot run.
"""

import shutil
import zlib
from pathlib import Path

import jax
import numpy as np

from experiments.choosing_m.config import PRESETS, Config
from experiments.choosing_m.problems import PROBLEMS
from experiments.choosing_m.statistics import RULES, headline
from experiments.choosing_m.train import at_fixed, by_rules, least_error
from experiments.common import cli, pieces, progress, results
from nce_jax import magnification, training

COMPUTING = [
    *(Path(__file__).with_name(f"{name}.py") for name in ("problems", "tables", "train")),
    *(
        path
        for room in (magnification, training)
        for path in sorted(Path(room.__file__).parent.glob("*.py"))
    ),
]
"""What the pieces of an interrupted run depend on: another rule must not take up where this one
stopped."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    names = (*config.designed_on, *config.fresh)
    folder = pieces.folder("choosing_m", config, COMPUTING)
    found = {name: _kept(folder, config, name, key) for name in progress.track(names, "problems")}
    shutil.rmtree(folder)  # it served an interrupted run
    arrays = _arrays(config, found)
    failed = {field: np.argwhere(~np.isfinite(arrays[field])) for field in ("grid", *RULES)}
    return results.Result(arrays, headline(arrays), failed)


def _kept(folder: Path, config: Config, name: str, key: jax.Array) -> dict[str, np.ndarray]:
    """What all runs of a problem found, in two pieces: the grid and the rules."""
    problem, own = PROBLEMS[name](), jax.random.fold_in(key, zlib.crc32(name.encode()))
    file = "".join(filter(str.isalnum, name))

    def grid():
        return {
            "grid": at_fixed(problem, config, own),
            "reference": least_error(problem, config, own),
        }

    fixed = pieces.kept(folder / f"{file}-grid.npz", grid)
    ruled = pieces.kept(
        folder / f"{file}-rules.npz", lambda: by_rules(problem, config, own)._asdict()
    )
    jax.clear_caches()
    return {**fixed, **ruled}


def _arrays(config: Config, found: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Of all problems; errors in excess of the least."""
    runs, names = list(found.values()), list(found)
    excess = {
        field: np.stack([run[field] - run["reference"] for run in runs])
        for field in ("grid", *RULES)
    }
    paths = {
        f"path: {name}": np.quantile(run["path"], (0.1, 0.5, 0.9), axis=0)
        for name, run in found.items()
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
