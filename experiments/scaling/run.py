"""Runs every layout of devices in programs of its own, since devices are fixed at program start."""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from experiments.common import cli, processes, results
from experiments.scaling.config import PRESETS, Config
from experiments.scaling.statistics import differences, headline
from nce_jax._archives import read_arrays

SETTINGS = "settings.json"


def experiment(config: Config, key: jax.Array) -> results.Result:
    del key  # the programs make their own key from config.seed
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / SETTINGS).write_text(json.dumps(dataclasses.asdict(config)))
        arrays_by_layout = {
            layout: _arrays(layout, Path(folder)) for layout in ("1x1", *config.layouts)
        }
        cost = _arrays(f"1x{max(config.num_devices)}", Path(folder), "--measure")
    arrays = differences(arrays_by_layout) | cost | {"num_devices": np.array(config.num_devices)}
    return results.Result(arrays, headline(arrays))


def _arrays(layout: str, folder: Path, *options: str) -> dict[str, np.ndarray]:
    num_processes, num_devices = map(int, layout.split("x"))
    print(f"  {layout} {' '.join(options)}", file=sys.stderr, flush=True)
    settings, output = str(folder / SETTINGS), folder / "arrays.npz"
    command = [
        "experiments.scaling.worker",
        "--settings",
        settings,
        "--output",
        str(output),
        *options,
    ]
    processes.launch(command, num_processes, num_devices)
    return read_arrays(output)


if __name__ == "__main__":
    cli.main("scaling", PRESETS, experiment)
