"""Results of the images as arrays: what the validation digits choose, then the digits reported."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from experiments.anomaly import baselines, latent_model, statistics
from experiments.anomaly.cells import part
from experiments.anomaly.config import Config, LatentSettings
from experiments.anomaly.image_cells import by_digit, latent_cells, simple_cells
from experiments.anomaly.scores import RULES
from experiments.common.over_seeds import cell_seeds

Arrays = dict[str, np.ndarray]


def of_images(config: Config) -> tuple[Arrays, list[Path]]:
    """Areas of the simple scores and of the latent model, by digit and seed.

    The rules of combination are fixed on the validation digits before any other digit is scored.
    """
    arrays, folders = of_grid(config)
    best = arrays["grid_areas"][statistics.best_setting(arrays["grid_areas"])]
    chosen = {name: statistics.best_rule(best, bases) for name, bases in statistics.BLOCKS.items()}
    of_latent, of_simple = (
        cell_seeds(config.seed, count) for count in (config.latent_seeds, config.simple_seeds)
    )
    scored, folder = latent_cells(config, config.digits, of_latent)
    simple, simple_folder = simple_cells(config, config.simple_digits, of_simple)
    names = [prior.name for prior in latent_model.priors(part(config, LatentSettings))]
    simple_areas = np.array([cell["areas"] for cell in simple.values()])
    arrays |= {
        "digits": np.array(config.digits),
        "validation": np.array(config.validation),
        "priors": np.array([*names, latent_model.NEIGHBOR]),
        "rules": np.array([rule.name for rule in RULES]),
        "chosen": np.array(list(chosen.values())),
        "rule_areas": best,
        "simple_scores": np.array(baselines.SCORES),
        "simple_digits": np.array(config.simple_digits),
        "simple_areas": by_digit(simple_areas, config.simple_seeds),
    }
    # Of the other rules on the digits reported nothing is chosen: they show what a choice is worth.
    areas = statistics.latent_areas(list(scored.values()), chosen)
    arrays |= {name: by_digit(values, config.latent_seeds) for name, values in areas.items()}
    return arrays, [*folders, folder, simple_folder]


def of_grid(config: Config) -> tuple[Arrays, list[Path]]:
    """Areas by setting, validation digit, rule and prior, with fewer steps and one seed."""
    settings = list(itertools.product(config.grid_sigmas, config.grid_nz))
    areas, folders = [], []
    for sigma, nz in settings:
        short = dataclasses.replace(config, sigma=sigma, nz=nz, latent_steps=config.grid_steps)
        done, folder = latent_cells(short, config.validation, cell_seeds(config.seed, 1))
        areas.append(statistics.rule_areas(list(done.values())))
        folders.append(folder)
    return {"grid": np.array(settings), "grid_areas": np.array(areas)}, folders
