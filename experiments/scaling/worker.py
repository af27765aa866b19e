"""Computes one layout of devices, as one or several processes that `run.py` starts.

The command is `python -m experiments.scaling.worker`.
"""

from pathlib import Path

import jax
import numpy as np
import tyro

from experiments.common import processes
from experiments.common.endings import one_line
from experiments.scaling import measures
from experiments.scaling.config import Config
from experiments.scaling.steps import outcome
from nce_jax import training
from nce_jax._archives import write_arrays
from nce_jax._disk import read_json


def agreement(config: Config) -> dict[str, np.ndarray]:
    """Results of every step on all devices, by "dtype/pair: part"."""
    arrays = {}
    for dtype in config.dtypes:
        with jax.enable_x64(dtype == "float64"):
            parts = outcome(config, training.make_mesh(), dtype, config.seed)
            arrays |= {f"{dtype}/{name}": value for name, value in parts.items()}
    return arrays


def main(settings: Path, output: Path, measure: bool = False) -> None:
    """Compute one layout.

    Args:
        settings: the experiment's config as JSON.
        output: file for the arrays, written by the first process.
        measure: measure the work and time of a larger step and a sweep instead of the agreement.
    """
    processes.join()
    # Lists replace tuples in JSON, which makes no difference here.
    config = Config(**read_json(settings))
    arrays = measures.measure(config) if measure else agreement(config)
    if jax.process_index() == 0:
        write_arrays(output, arrays)


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
