"""Scores anomalies in tables and in images.

Run it with `python -m experiments.anomaly.run --preset cpu`.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import jax
import numpy as np

from experiments.anomaly import baselines, cells, images, latent_model, statistics, tables
from experiments.anomaly.config import (
    PRESETS,
    Config,
    ImageSettings,
    LatentSettings,
    ModelSettings,
    TableSettings,
)
from experiments.common import cli, results
from experiments.common.datasets.adbench import load_table, table_names

SHARED = ("../common/latent_model", "../common/latent_priors")
Arrays = dict[str, np.ndarray]
Done = dict[str, Arrays]


def of_tables(config: Config) -> tuple[Arrays, Path]:
    """Areas by table, seed and method, and what the tables are."""
    settings = cells.part(config, TableSettings)
    names = table_names() if config.tables is None else list(config.tables)

    def run(name: str) -> Arrays:
        table = load_table(name)
        shape = [*table.x.shape, int(table.labels.sum())]
        return {"areas": tables.table_areas(settings, table), "shape": np.array(shape)}

    done, folder = cells.compute(
        "tables", settings, ("tables", "detectors"), {name: partial(run, name) for name in names}
    )
    arrays = {
        "tables": np.array(names, dtype=str),
        "table_methods": np.array(tables.METHODS),
        "table_shapes": np.array([done[name]["shape"] for name in names]).reshape(-1, 3),
        "table_areas": np.array([done[name]["areas"] for name in names]).reshape(
            -1, config.table_seeds, len(tables.METHODS)
        ),
    }
    return arrays, folder


def of_images(config: Config) -> tuple[Arrays, list[Path]]:
    """Areas of the simple scores and of the latent model, by digit and seed.

    The rule of combination is fixed on the validation digits before any other digit is scored.
    """
    settings, of_latent = cells.part(config, ImageSettings), cells.part(config, LatentSettings)
    data = cache(lambda: images.load(config.images))

    def latent_cell(digit: int, seed: int) -> Arrays:
        part = images.split(settings, data(), digit, seed)
        return latent_model.scores_of(of_latent, part, seed)

    def simple_cell(digit: int, seed: int) -> Arrays:
        part = images.split(settings, data(), digit, seed)
        return {"areas": baselines.simple_areas(settings, part, seed)}

    modules = ("latent_model", "images", *SHARED)
    of_digits = partial(cells.compute, "latent", cells.part(config, ModelSettings), modules)
    validation, folder = of_digits(_grid(config.validation, config.latent_seeds, latent_cell))
    rule_areas = statistics.rule_areas(list(validation.values()))
    rule = statistics.best_rule(rule_areas)
    scored, _ = of_digits(_grid(config.latent_digits, config.latent_seeds, latent_cell))
    simple, simple_folder = cells.compute(
        "simple",
        settings,
        ("baselines", "images", "detectors"),
        _grid(config.simple_digits, config.simple_seeds, simple_cell),
    )
    arrays = {
        "digits": np.array(config.digits),
        "validation": np.array(config.validation),
        "priors": np.array([prior.name for prior in latent_model.priors(of_latent)]),
        "rule": np.array(rule),
        "rule_areas": rule_areas,
        "simple_scores": np.array(baselines.SCORES),
        "simple_areas": _spread(
            np.array([cell["areas"] for cell in simple.values()]),
            (config.simple_digits, tuple(range(10))),
            config.simple_seeds,
        ),
    }
    for name, values in statistics.latent_areas(list(scored.values()), rule).items():
        arrays[name] = _spread(values, (config.latent_digits, config.digits), config.latent_seeds)
    arrays["validation_reconstruction"] = _by_digit(
        statistics.latent_areas(list(validation.values()), rule)["reconstruction"],
        config.latent_seeds,
    )
    return arrays, [folder, simple_folder]


def _grid(
    digits: tuple[int, ...], num_seeds: int, run: Callable[[int, int], Arrays]
) -> dict[str, Callable[[], Arrays]]:
    return {
        f"{digit}-{seed}": partial(run, digit, seed)
        for digit in digits
        for seed in range(num_seeds)
    }


def _spread(
    values: np.ndarray, digits: tuple[tuple[int, ...], tuple[int, ...]], num_seeds: int
) -> np.ndarray:
    """Cells of some digits -> (digit, seed, ...) of all digits; NaN where there is no cell."""
    some, every = digits
    computed = _by_digit(values, num_seeds)
    spread = np.full((len(every), *computed.shape[1:]), np.nan)
    spread[[every.index(digit) for digit in some]] = computed
    return spread


def _by_digit(values: np.ndarray, num_seeds: int) -> np.ndarray:
    """Cells (digit and seed, ...) -> (digit, seed, ...)."""
    return values.reshape(-1, num_seeds, *values.shape[1:])


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Areas under precision-recall curves, by table or digit, seed and method."""
    del key  # every cell makes its own from its seed
    arrays, folder = of_tables(config)
    more, folders = of_images(config)
    arrays |= more
    kept = () if config.keep_pieces else (folder, *folders)
    return results.Result(arrays, statistics.headline(arrays), pieces=kept)


if __name__ == "__main__":
    cli.main("anomaly", PRESETS, experiment)
