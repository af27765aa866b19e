"""Runs every method in every dimension; an interrupted run computes only the missing cells."""

from pathlib import Path

import jax
import numpy as np

from experiments.common import cli, pieces, progress, results, settings
from experiments.mutual_information import problem
from experiments.mutual_information.config import PRESETS, Config
from experiments.mutual_information.methods import OURS, PLUG_IN, Cell, cell, methods
from experiments.mutual_information.statistics import headline, is_flagged, is_run

COMPUTING = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("problem", "stages", "natural_gradient", "descent", "measures", "methods")
]


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_lengths(config, "dims", "published_stages", "num_seeds", "num_coverage_seeds")
    named = list(methods(config, 1))
    runs = [
        (row, column, seed)
        for seed in range(max(*config.num_seeds, *config.num_coverage_seeds))
        for column in range(len(config.dims))
        for row, name in enumerate(named)
        if seed
        < (config.num_coverage_seeds if name in (OURS, PLUG_IN) else config.num_seeds)[column]
    ]
    folder = pieces.folder("mutual_information", config, COMPUTING)
    cells = {
        (row, column, seed): _stored_cell(folder, config, named[row], column, seed, key)
        for row, column, seed in progress.track(runs, "cells")
    }
    shape = len(named), len(config.dims), max(*config.num_seeds, *config.num_coverage_seeds)
    arrays = {
        name: _table([getattr(stored, name) for stored in cells.values()], list(cells), shape)
        for name in Cell._fields
    }
    arrays |= {
        "methods": np.array(named),
        "dims": np.array(config.dims),
        "truth": np.array(
            [problem.mutual_information(dim, config.correlation) for dim in config.dims]
        ),
    }
    failed = {
        name: np.argwhere((is_flagged(arrays) & is_run(arrays))[row])
        for row, name in enumerate(named)
    }
    return results.Result(arrays, headline(arrays), failed, (folder,))


def _stored_cell(
    folder: Path, config: Config, name: str, column: int, seed: int, key: jax.Array
) -> Cell:
    """Returns the cell of an interrupted run, or computes a new one."""
    path = folder / f"{name.replace(' ', '')}-{config.dims[column]}-{seed}.npz"
    key_cell = jax.random.fold_in(key, 1000 * column + seed)
    return Cell(
        **pieces.load_or_compute(
            path, lambda: cell(config, name, config.dims[column], key_cell)._asdict()
        )
    )


def _table(values: list, indices: list[tuple[int, ...]], shape: tuple[int, ...]) -> np.ndarray:
    """Values by (method, dimension, seed) and, where there are several, by record.

    Records are padded with NaN.
    """
    parts = [np.atleast_1d(np.asarray(value, np.float64)) for value in values]
    table = np.full((*shape, max(part.size for part in parts)), np.nan)
    for index, part in zip(indices, parts, strict=True):
        table[*index, : part.size] = part
    return table if np.ndim(values[0]) else table[..., 0]


if __name__ == "__main__":
    cli.main("mutual_information", PRESETS, experiment)
