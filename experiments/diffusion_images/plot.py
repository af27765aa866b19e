"""Draws the stored results: `python -m experiments.diffusion_images.plot --preset gpu`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.diffusion_images.statistics import BASELINES, kinds, names

COLUMNS = 10
"""Number of images of a method that are shown."""
TITLES = {"sampler": "sampler of few steps", "student": "one-step student"}


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Distances against updates, and samples of all methods."""
    return {
        "diffusion_images": _distances(stored.arrays),
        "diffusion_images_samples": _samples(stored.arrays),
    }


def _distances(arrays) -> Figure:
    shown = kinds(arrays)
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4.5 * len(shown), 4), sharey=True, squeeze=False
    )
    for axis, kind in zip(axes[0], shown, strict=True):
        _curves(axis, arrays, kind)
        for name, style in zip(BASELINES, ("-.", ":"), strict=True):
            axis.axhline(arrays[f"{name}_frechet"], color="0.4", lw=1, linestyle=style)
        axis.set(title=TITLES[kind], xlabel="updates", yscale="log")
        axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("squared Frechet distance")
    figure.suptitle("mean over seeds (dash-dotted and dotted: teacher, many and few steps)")
    return figure


def _curves(axis: Axes, arrays, kind: str) -> None:
    for method, runs in zip(names(arrays, kind), arrays[f"{kind}_frechet"], strict=True):
        updates = arrays[f"{kind}_updates"]
        axis.plot(updates, runs.mean(axis=0), marker="o", label=method)


def _samples(arrays) -> Figure:
    """A row of samples for every baseline and, of the first seed, every method."""
    rows = {label: arrays[f"{name}_pictures"] for name, label in BASELINES.items()}
    for kind in kinds(arrays):
        rows |= dict(zip(names(arrays, kind), arrays[f"{kind}_pictures"][:, 0], strict=True))
    figure, axes = plt.subplots(len(rows), 1, figsize=(7, 0.6 * len(rows) + 0.4))
    for axis, (label, pictures) in zip(axes, rows.items(), strict=True):
        axis.imshow(np.concatenate(list(pictures[:COLUMNS]), axis=1))
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
    return figure


if __name__ == "__main__":
    plotting.main("diffusion_images", draw)
