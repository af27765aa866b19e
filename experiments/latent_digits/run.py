"""Trains energies of one and of K stages in coordinates of images, and samples them.

Run it with `python -m experiments.latent_digits.run --preset cpu`.
"""

import dataclasses
from functools import cache, partial

import jax
import numpy as np

from experiments.common import cli, pieces, progress, results
from experiments.common.gray_images import gray_images
from experiments.common.over_seeds import cell_seeds
from experiments.latent_digits import cells, statistics
from experiments.latent_digits.config import PRESETS, CellSettings, Config
from experiments.latent_digits.space import make_space
from experiments.latent_digits.train import methods


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays of the baselines, and those of all methods with axes (method, seed, ...)."""
    key_space, key_judge = jax.random.split(key)
    settings = CellSettings(
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(CellSettings)}
    )
    # Cells do not depend on which others are asked for.
    identity = dataclasses.replace(config, methods=None, num_seeds=0, keep_pieces=False)
    folder = pieces.folder("latent_digits", identity, cells.SOURCES)
    # Made where a cell needs them: not at all, if every cell is stored.
    images = cache(lambda: gray_images(config.images))
    space = cache(lambda: make_space(settings, key_space, images()))
    judge = cache(lambda: cells.make_judge(config, key_judge, images()))
    rows = methods(config)

    def method_cell(name: str, seed: int) -> dict[str, np.ndarray]:
        number = cell_seeds(config.seed, config.num_seeds)[seed]
        return cells.method_cell(settings, rows[name], judge(), space(), number)

    def baselines() -> dict[str, np.ndarray]:
        known = cells.baselines(config, judge(), space(), images().test_labels)
        return known | {"accuracy": np.array(judge().accuracy)}

    grid = [(name, seed) for name in rows for seed in range(config.num_seeds)]
    done = {}
    for name, seed in progress.track(grid, "latent_digits"):
        compute = partial(method_cell, name, seed)
        label = f"{name}-{seed}".replace(" ", "").replace(",", "-").replace("=", "")
        done[name, seed] = pieces.load_or_compute(folder / f"{label}.npz", compute)
    arrays = pieces.load_or_compute(folder / "baselines.npz", baselines)
    arrays |= {"methods": np.array(list(rows))}
    arrays |= {"width": np.array(config.width), "dim": np.array(config.dim)}
    arrays |= statistics.stacked(done, list(rows), config.num_seeds)
    kept = () if config.keep_pieces else (folder,)
    return results.Result(arrays, statistics.headline(arrays), pieces=kept)


if __name__ == "__main__":
    cli.main("latent_digits", PRESETS, experiment)
