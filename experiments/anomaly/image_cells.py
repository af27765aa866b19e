"""Cells of the images: a digit held out and a seed, for the simple scores and the latent model."""

from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from experiments.anomaly import baselines, cells, images, latent_model
from experiments.anomaly.config import Config, ImageSettings, LatentSettings, ModelSettings

Cells = dict[str, dict[str, np.ndarray]]
SHARED = ("../common/latent_model", "../common/latent_priors")


def simple_cells(config: Config, digits: Iterable[int], seeds: Sequence[int]) -> tuple[Cells, Path]:
    """Areas of the simple scores, and terms that do not depend on the latent model."""
    settings = cells.part(config, ImageSettings)

    def run(digit: int, seed: int):
        part = images.split(settings, _images(config.images), digit, seed)
        return baselines.simple_cell(settings, part, seed)

    modules = ("baselines", "images", "detectors")
    return cells.compute("simple", settings, modules, _grid(digits, seeds, run))


def latent_cells(config: Config, digits: Iterable[int], seeds: Sequence[int]) -> tuple[Cells, Path]:
    """All terms of the score: those of the latent model, and those of the simple cells."""
    settings, of_latent = cells.part(config, ImageSettings), cells.part(config, LatentSettings)
    digits = tuple(digits)

    def run(digit: int, seed: int):
        part = images.split(settings, _images(config.images), digit, seed)
        return latent_model.scores_of(of_latent, part, seed)

    modules = ("latent_model", "images", "scores", "baselines", *SHARED)
    whole = cells.part(config, ModelSettings)
    done, folder = cells.compute("latent", whole, modules, _grid(digits, seeds, run))
    simple, _ = simple_cells(config, digits, seeds)
    return {name: simple[name] | cell for name, cell in done.items()}, folder


def by_digit(values: np.ndarray, num_seeds: int) -> np.ndarray:
    """Cells (digit and seed, ...) -> (digit, seed, ...)."""
    return values.reshape(-1, num_seeds, *values.shape[1:])


def _grid(digits: Iterable[int], seeds: Sequence[int], run) -> dict:
    return {f"{digit}-{seed}": partial(run, digit, seed) for digit in digits for seed in seeds}


@cache
def _images(name: str) -> images.Images:
    return images.load(name)
