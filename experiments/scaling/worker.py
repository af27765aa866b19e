"""One layout of devices: `python -m experiments.scaling.worker`, started by `run.py`, alone or as
several processes.
"""

import json
from pathlib import Path

import jax
import numpy as np
import tyro

from experiments.common import processes, results
from experiments.scaling import measures
from experiments.scaling.config import Config
from experiments.scaling.steps import outcome
from nce_jax import training


def agreement(config: Config) -> dict[str, np.ndarray]:
    """What every step gives on all devices there are, by "dtype/pair: part"."""
    found = {}
    for dtype in config.dtypes:
        with jax.enable_x64(dtype == "float64"):
            parts = outcome(config, training.make_mesh(), dtype, config.seed)
            found |= {f"{dtype}/{name}": value for name, value in parts.items()}
    return found


def main(settings: Path, output: Path, measure: bool = False) -> None:
    """Compute one layout.

    Args:
        settings: the experiment's config as JSON.
        output: file for the arrays, written by the first process.
        measure: count and time a larger step and a sweep over one device and more, instead of
          comparing.
    """
    processes.join()
    # JSON has lists for tuples; each serves.
    config = Config(**json.loads(settings.read_text()))
    arrays = measures.measure(config) if measure else agreement(config)
    if jax.process_index() == 0:
        with results.atomic(output) as temporary:
            np.savez(temporary, **arrays)


if __name__ == "__main__":
    tyro.cli(main)
