"""Scores anomalies in tables and in images.

Run it with `python -m experiments.anomaly.run --preset cpu`.
"""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from experiments.anomaly import cells, statistics, tables
from experiments.anomaly.config import PRESETS, Config, TableSettings
from experiments.anomaly.image_arrays import Arrays, of_images
from experiments.common import cli, results
from experiments.common.datasets.adbench import load_table, table_digest, table_names


def of_tables(config: Config) -> tuple[Arrays, Path]:
    """Areas by table, seed and method, and what the tables are."""
    settings = cells.part(config, TableSettings)
    names = table_names() if config.tables is None else list(config.tables)

    def run(name: str) -> Arrays:
        table = load_table(name)
        shape = [*table.x.shape, int(table.labels.sum())]
        return {"areas": tables.table_areas(settings, table), "shape": np.array(shape)}

    # A file of other content is another cell: settings and code do not know of it.
    keys = {name: f"{name}-{table_digest(name)[:16]}" for name in names}
    todo = {key: partial(run, name) for name, key in keys.items()}
    done, folder = cells.compute("tables", settings, ("tables", "detectors"), todo)
    arrays = {
        "tables": np.array(names, dtype=str),
        "table_methods": np.array(tables.METHODS),
        "table_shapes": np.array([done[keys[name]]["shape"] for name in names]).reshape(-1, 3),
        "table_areas": np.array([done[keys[name]]["areas"] for name in names]).reshape(
            -1, config.table_seeds, len(tables.METHODS)
        ),
    }
    return arrays, folder


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
