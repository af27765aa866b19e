"""Trains generators and priors of their latent variables, and compares what the priors draw.

Run it with `python -m experiments.latent_energy.run --preset cpu`.
"""

from pathlib import Path

import jax
import numpy as np

from experiments.common import cli, results
from experiments.common.over_seeds import cell_seeds
from experiments.common.settings import check_methods
from experiments.latent_energy import cells, joint, statistics
from experiments.latent_energy.config import PRESETS, Config, SetSettings, part


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Distances, log ratios and pictures by set, method and seed."""
    del key  # every cell makes its own from its seed
    seeds = cell_seeds(config.seed, config.num_seeds)
    known = [prior.name for prior in joint.all_methods(config)]
    check_methods(config.joint_methods, known, "joint_methods")
    arrays: dict[str, np.ndarray] = {"sets": np.array(config.sets, dtype=str)}
    folders: list[Path] = []
    settings = part(config, SetSettings)
    for name in config.sets:
        rows, real, folder = cells.set_rows(settings, name, seeds)
        arrays |= statistics.collect(name, rows, real)
        folders.append(folder)
    arrays["joint_sets"] = np.array(config.joint_sets, dtype=str)
    for name in config.joint_sets:
        rows, real, folder = joint.set_rows(config, name, seeds)
        arrays |= statistics.collect(f"{name}, joint", rows, real)
        folders.append(folder)
    kept = () if config.keep_pieces else tuple(dict.fromkeys(folders))
    return results.Result(arrays, statistics.headline(arrays), pieces=kept)


if __name__ == "__main__":
    cli.main("latent_energy", PRESETS, experiment)
