"""Draws the stored results: `python -m experiments.latent_digits.plot --preset cpu`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.image_features import SIDE
from experiments.common.results import Stored
from experiments.latent_digits import statistics

COLUMNS = 8


def draw(stored: Stored) -> dict[str, Figure]:
    """Samples with test images, and distances by row."""
    return {
        "latent_digits_samples": samples(stored.arrays),
        "latent_digits_distances": distances(stored.arrays),
    }


def samples(arrays: dict[str, np.ndarray]) -> Figure:
    """Annealed samples of the first seed, with the other coordinates at their mean and drawn."""
    rows = arrays["methods"].tolist()
    titles = {f"{name}: ": name for name in statistics.BASELINES}
    pictures = {
        title: [arrays[f"{key}{kind}"] for kind in ("pictures", "pictures_drawn")]
        for key, title in titles.items()
    }
    for row, name in enumerate(rows):
        pictures[name] = [
            arrays[f"annealed: {kind}"][row, 0] for kind in ("pictures", "pictures_drawn")
        ]
    count = len(pictures)
    figure, axes = plt.subplots(2, count, figsize=(2.1 * count, 2.6), squeeze=False)
    for column, (name, pair) in enumerate(pictures.items()):
        for row, images in enumerate(pair):
            axes[row, column].imshow(_sheet(images), cmap="gray", vmin=0, vmax=1)
            axes[row, column].set(xticks=[], yticks=[])
        axes[0, column].set_title(name, size=9)
    axes[0, 0].set_ylabel("others at mean", size=8)
    axes[1, 0].set_ylabel("others drawn", size=8)
    return figure


def _sheet(images: np.ndarray) -> np.ndarray:
    """Images (n, 784) side by side, in whole rows."""
    images = np.asarray(images, np.float32)[: len(images) // COLUMNS * COLUMNS]
    grid = images.reshape(-1, COLUMNS, SIDE, SIDE).transpose(0, 2, 1, 3)
    return grid.reshape(-1, COLUMNS * SIDE)


def distances(arrays: dict[str, np.ndarray]) -> Figure:
    """Frechet distance of every way to sample, by row, with those of the baselines."""
    names = arrays["methods"].tolist()
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    colors = dict(
        zip(statistics.WAYS, (plotting.BLUE, plotting.ORANGE, plotting.BLACK), strict=True)
    )
    for index, (way, color) in enumerate(colors.items()):
        values = arrays[f"{way}: frechet_drawn"][..., 0]
        for row, seeds in enumerate(values):
            places = np.full(len(seeds), row + 0.2 * (index - 1))
            axes.plot(places, seeds, "o", color=color, label=None if row else way)
    for name, style in zip(statistics.BASELINES, ("-", "--", ":"), strict=True):
        level = arrays[f"{name}: frechet_drawn"][0]
        axes.axhline(level, linestyle=style, color=plotting.BLACK, linewidth=1, label=name)
    axes.set_xticks(np.arange(len(names)), names, size=8)
    axes.set(ylabel="Frechet distance to test images", ylim=(0, None))
    axes.legend(fontsize=8, ncols=2)
    return figure


if __name__ == "__main__":
    plotting.main("latent_digits", draw)
